//! What is not a frame is refused, with what is wrong and what is accepted; every limit holds; what is small stays small.

#![allow(clippy::unwrap_used, reason = "helpers are not in #[test] functions")]

use sectorbus::action::Action;
use sectorbus::ids::{Alias, SectorId, Seq};
use sectorbus::limits::{FRAME_BYTES_MAX, FRAME_DEPTH_MAX, TEXT_BYTES_MAX};
use sectorbus::protocol::{
    Act, BadFrame, Change, ChangeBody, ClientFrame, CloseCode, Codec, Consequence, DeltaFrame, ErrorCode, ErrorFrame,
    Hello, OwnChange, ServerFrame, Slot, encode_delta,
};
use sectorbus::value::{Field, Value};

fn two_fields(alias: u32, to: u64, x: i64, y: i64) -> DeltaFrame {
    let set = vec![(Field::X, Some(Value::Int(x))), (Field::Y, Some(Value::Int(y)))];
    let change = Change { entity: Alias(alias), body: ChangeBody::Set(set) };
    DeltaFrame { room: Slot::SECTOR, from: to - 1, to, sum: u32::MAX, changes: vec![change] }
}

#[test]
fn a_two_field_change_is_at_most_24_bytes() {
    let largest = two_fields(65_535, u64::from(u32::MAX), 65_535, 65_535);
    assert_eq!(encode_delta(Codec::Msgpack, &largest).len(), 24);
    let usual = two_fields(40, 900, 100, 90);
    assert!(encode_delta(Codec::Msgpack, &usual).len() <= 17);
}

#[test]
fn a_change_that_says_nothing_is_not_sent() {
    let nothing = Change { entity: Alias(9), body: ChangeBody::Set(vec![]) };
    let mut delta = two_fields(1, 5, 1, 2);
    let without = delta.clone();
    delta.changes.push(nothing);
    for codec in Codec::ALL {
        assert_eq!(encode_delta(codec, &delta), encode_delta(codec, &without));
    }
}

fn json(text: &str) -> Result<ClientFrame, BadFrame> {
    ClientFrame::decode(Codec::Json, text.as_bytes())
}

/// The same frame as msgpack, through a neutral value.
fn as_msgpack(text: &str) -> Vec<u8> {
    rmp_serde::to_vec_named(&serde_json::from_str::<serde_json::Value>(text).unwrap()).unwrap()
}

fn both(text: &str) -> [Result<ClientFrame, BadFrame>; 2] {
    [json(text), ClientFrame::decode(Codec::Msgpack, &as_msgpack(text))]
}

#[test]
fn unknown_fields_are_ignored() {
    let text = r#"{"act":{"new":{"deep":[1.5,null,true]},"seq":1,"action":{"move":{"to":"13","why":1}}}}"#;
    let act = Act { seq: Seq(1), action: Action::Move { to: SectorId::new("13").unwrap() } };
    for decoded in both(text) {
        assert_eq!(decoded, Ok(ClientFrame::Act(act.clone())));
    }
    for decoded in both(r#"{"resync":{"new":1}}"#) {
        assert_eq!(decoded, Ok(ClientFrame::Resync {}));
    }
}

fn answered(bad: &BadFrame) -> ErrorFrame {
    match bad.consequence() {
        Consequence::Answer(error) => error,
        Consequence::Close(code) => panic!("closed with {code:?}: {bad}"),
    }
}

#[test]
fn what_is_readable_but_wrong_is_answered_and_says_what_is_accepted() {
    let long = "x".repeat(65);
    let cases: &[(&str, ErrorCode, Option<u64>, &str)] = &[
        (r#"{"dance":{}}"#, ErrorCode::UnknownFrame, None, "hello"),
        (r#"{"welcome":{}}"#, ErrorCode::UnknownFrame, None, "hello"),
        (r#"{"act":{"seq":7,"action":{"fly":{"to":"1"}}}}"#, ErrorCode::UnknownAction, Some(7), "move"),
        (r#"{"act":{"seq":7,"action":{"move":{"to":"a b"}}}}"#, ErrorCode::InvalidField, Some(7), "A-Z"),
        (r#"{"act":{"seq":7,"action":{"move":{}}}}"#, ErrorCode::InvalidField, Some(7), "to"),
        (r#"{"act":{"seq":7,"action":7}}"#, ErrorCode::InvalidField, Some(7), "act"),
        (r#"{"act":{"seq":-7,"action":{"move":{"to":"1"}}}}"#, ErrorCode::InvalidField, None, "act"),
        (r#"{"act":{"seq":0,"action":{"move":{"to":"1"}}}}"#, ErrorCode::InvalidField, None, "1 and up"),
        (r#"{"act":{"action":{"move":{"to":"1"}}}}"#, ErrorCode::InvalidField, None, "seq"),
        (r#"{"act":{"seq":7,"action":{"status":{"status":"link_dead"}}}}"#, ErrorCode::InvalidField, Some(7), "online"),
        (r#"{"hello":{"token":7}}"#, ErrorCode::InvalidField, None, "string"),
        (r#"{"hello":{"cursor":"1-2"}}"#, ErrorCode::InvalidField, None, "sector"),
        (r#"{"hello":{"cursor":"12","sector":"1"}}"#, ErrorCode::InvalidField, None, "epoch"),
        (r#"{"hello":{"acked":"1-2"}}"#, ErrorCode::InvalidField, None, "acked: only with cursor"),
        (r#"{"hello":{"actor":3}}"#, ErrorCode::InvalidField, None, "first_seq"),
        (r#"{"hello":{"actor":0,"first_seq":1}}"#, ErrorCode::InvalidField, None, "actor"),
        (r#"{"hello":{"first_seq":2}}"#, ErrorCode::InvalidField, None, "1 without actor"),
        (&format!(r#"{{"hello":{{"device":"{long}"}}}}"#), ErrorCode::InvalidField, None, "64 bytes"),
        (&format!(r#"{{"hello":{{"features":["{long}"]}}}}"#), ErrorCode::InvalidField, None, "64 bytes"),
        (&format!(r#"{{"hello":{{"features":{:?}}}}}"#, ["a"; 33]), ErrorCode::InvalidField, None, "at most 32"),
        (&format!(r#"{{"hello":{{"resume":"{}"}}}}"#, "r".repeat(513)), ErrorCode::InvalidField, None, "512"),
        (&format!(r#"{{"hello":{{"token":"{}"}}}}"#, "t".repeat(4097)), ErrorCode::InvalidField, None, "4096"),
        (r#"{"ping":{"t":"now"}}"#, ErrorCode::InvalidField, None, "ping"),
        (r#"{"ping":{}}"#, ErrorCode::InvalidField, None, "t"),
    ];
    for (text, code, seq, says) in cases {
        for decoded in both(text) {
            let error = answered(&decoded.expect_err(text));
            assert_eq!((error.code, error.seq), (*code, seq.map(Seq)), "{text}: {}", error.detail);
            assert!(error.detail.contains(says), "{text}: {}", error.detail);
            assert!(error.detail.len() < 400, "{text}");
        }
    }
}

#[test]
fn a_duplicate_field_is_refused() {
    let error = json(r#"{"ping":{"t":1,"t":2}}"#).unwrap_err();
    assert_eq!(answered(&error).code, ErrorCode::InvalidField);
}

fn closes_with(code: CloseCode, codec: Codec, message: &[u8]) {
    let bad = ClientFrame::decode(codec, message).expect_err("not a frame");
    assert_eq!(bad.consequence(), Consequence::Close(code), "{bad}");
}

#[test]
fn what_is_no_frame_at_all_closes() {
    for text in ["", " ", "7", "null", "[]", "{}", "{\"ping\"", r#""bye""#, r#"{"bye":null}"#, r#"{"bye":[]}"#] {
        closes_with(CloseCode::BadFrame, Codec::Json, text.as_bytes());
    }
    for text in [r#"{"bye":{},"ping":{"t":1}}"#, r#"{"bye":{}}{}"#, r#"{"ping":{"t":9007199254740992}}"#] {
        closes_with(CloseCode::BadFrame, Codec::Json, text.as_bytes());
    }
    closes_with(CloseCode::BadFrame, Codec::Json, b"{\"ping\":{\"\xff\":1}}");
    for text in ["7", "null", "[]", "{}", r#""bye""#, r#"{"bye":null}"#, r#"{"bye":{},"ping":{"t":1}}"#] {
        closes_with(CloseCode::BadFrame, Codec::Msgpack, &as_msgpack(text));
    }
    closes_with(CloseCode::BadFrame, Codec::Msgpack, &as_msgpack(r#"{"ping":{"t":9007199254740992}}"#));
    closes_with(CloseCode::BadFrame, Codec::Msgpack, &as_msgpack(r#"{"ping":{"t":-9007199254740992}}"#));
    // The variant by its number, bytes for a text, an extension, text that is not UTF-8, the reserved byte.
    for bytes in [
        &b"\x81\x03\x81\xa1t\x01"[..],
        b"\x81\xc4\x03bye\x80",
        b"\x81\xa3bye\xd4\x01\x00",
        b"\x81\xa1\xff\x80",
        b"\xc1",
    ] {
        closes_with(CloseCode::BadFrame, Codec::Msgpack, bytes);
    }
}

#[test]
fn too_large_a_frame_closes_before_it_is_read() {
    let frame = vec![b' '; FRAME_BYTES_MAX + 1];
    for codec in Codec::ALL {
        closes_with(CloseCode::FrameTooLarge, codec, &frame);
    }
    let fill = " ".repeat(FRAME_BYTES_MAX - br#"{"bye":{}}"#.len());
    assert_eq!(json(&format!(r#"{{"bye":{{}}}}{fill}"#)), Ok(ClientFrame::Bye {}));
}

#[test]
fn deep_nesting_is_refused() {
    let nested = |depth: usize| {
        // The frame's own two maps come on top.
        let (open, close) = ("[".repeat(depth - 2), "]".repeat(depth - 2));
        format!(r#"{{"bye":{{"new":{open}{close}}}}}"#)
    };
    for decoded in both(&nested(FRAME_DEPTH_MAX)) {
        assert_eq!(decoded, Ok(ClientFrame::Bye {}));
    }
    closes_with(CloseCode::BadFrame, Codec::Json, nested(FRAME_DEPTH_MAX + 1).as_bytes());
    closes_with(CloseCode::BadFrame, Codec::Msgpack, &as_msgpack(&nested(FRAME_DEPTH_MAX + 1)));
    closes_with(CloseCode::BadFrame, Codec::Json, &[b'['; FRAME_BYTES_MAX]);
    closes_with(CloseCode::BadFrame, Codec::Msgpack, &[0x91; FRAME_BYTES_MAX]);
    // Brackets inside a string nest nothing.
    let text = format!(r#"{{"bye":{{"new":"\"{}"}}}}"#, "[".repeat(100));
    assert_eq!(json(&text), Ok(ClientFrame::Bye {}));
}

#[test]
fn a_length_that_lies_is_refused() {
    for bytes in [
        &b"\xdd\xff\xff\xff\xff"[..],
        b"\xdf\xff\xff\xff\xff",
        b"\xdb\xff\xff\xff\xff",
        b"\x81\xa3bye\xdf\x80\x00\x00\x00",
    ] {
        closes_with(CloseCode::BadFrame, Codec::Msgpack, bytes);
        assert!(ServerFrame::decode(Codec::Msgpack, bytes).is_err());
    }
}

#[test]
fn a_delta_out_of_shape_is_refused() {
    let good = encode_delta(Codec::Msgpack, &two_fields(1, 5, 1, 2));
    assert!(ServerFrame::decode(Codec::Msgpack, &good).is_ok());
    let bad: &[&[u8]] = &[
        b"\x90",
        b"\x92\x00\x05",
        b"\x93\x00\x00\x07",                         // nothing comes before version 0
        b"\x93\x00\x92\x05\x05\x07",                 // from = to
        b"\x93\x00\x93\x05\x06\x07\x07",             // three versions
        b"\x94\x00\x05\x07\x90",                     // a change without alias
        b"\x94\x00\x05\x07\x92\x01\x05",             // a field without value
        b"\x94\x00\x05\x07\x93\x01\x00\x05",         // field 0
        b"\x94\x00\x05\x07\x95\x01\x05\x01\x05\x02", // a field twice
        b"\x94\x00\x05\x07\x93\x01\x05\xc3",         // a bool
        b"\x93\xcd\x01\x00\x05\x07",                 // slot 256
    ];
    for bytes in bad {
        assert!(ServerFrame::decode(Codec::Msgpack, bytes).is_err(), "{bytes:x?}");
    }
    let as_map = as_msgpack(r#"{"delta":{"room":0,"from":4,"to":5,"sum":1,"changes":[]}}"#);
    assert!(ServerFrame::decode(Codec::Msgpack, &as_map).is_err());
    for text in [
        r#"{"delta":{"room":0,"from":4,"to":5,"sum":1,"changes":[{"entity":1}]}}"#,
        r#"{"delta":{"room":0,"from":4,"to":5,"sum":1,"changes":[{"entity":1,"set":{}}]}}"#,
        r#"{"delta":{"room":0,"from":4,"to":5,"sum":1,"changes":[{"entity":1,"set":{"x":1},"removed":true}]}}"#,
        r#"{"delta":{"room":0,"from":4,"to":5,"sum":1,"changes":[{"entity":1,"set":{"speed":1}}]}}"#,
        r#"{"delta":{"room":0,"from":5,"to":5,"sum":1,"changes":[]}}"#,
    ] {
        assert!(ServerFrame::decode(Codec::Json, text.as_bytes()).is_err(), "{text}");
    }
}

#[test]
fn a_text_value_beyond_its_limit_is_refused() {
    for (bytes, fits) in [(TEXT_BYTES_MAX, true), (TEXT_BYTES_MAX + 1, false)] {
        let text = Value::from("x".repeat(bytes).as_str());
        let own = OwnChange { to: 1, sum: 0, set: vec![(Field::NAME, Some(text.clone()))] };
        let mut delta = two_fields(1, 5, 1, 2);
        delta.changes[0].body = ChangeBody::Set(vec![(Field::NAME, Some(text))]);
        for frame in [ServerFrame::Own(own), ServerFrame::Delta(delta)] {
            for codec in Codec::ALL {
                assert_eq!(ServerFrame::decode(codec, &frame.encode(codec)).is_ok(), fits);
            }
        }
    }
}

#[test]
fn tokens_are_hidden_from_logs() {
    let hello = Hello { token: Some("top-secret".into()), ..Hello::default() };
    assert!(!format!("{hello:?}").contains("top-secret"));
    let refused = json(r#"{"hello":{"token":"top-secret","actor":0}}"#).unwrap_err();
    assert!(!refused.to_string().contains("top-secret"));
}

#[test]
fn a_value_in_a_wrong_place_is_not_repeated() {
    // It may be a token. Quotes and backslashes in it do not end it early.
    for value in ["top-secret", r#"a \" top-secret"#, r#"top-secret \\"#] {
        for text in [
            format!(r#"{{"hello":"{value}"}}"#),
            format!(r#"{{"hello":{{"features":"{value}"}}}}"#),
            format!(r#"{{"hello":{{"actor":"{value}"}}}}"#),
            format!(r#""{value}""#),
        ] {
            for decoded in both(&text) {
                let said = decoded.unwrap_err().to_string();
                assert!(!said.contains("top-secret"), "{text}: {said}");
            }
        }
    }
}

#[test]
fn every_action_is_known_by_name() {
    // An action that decoding knows is never called unknown: each wrong field is blamed on the field.
    for (action, field) in [("move", "to"), ("status", "status"), ("attack", "target")] {
        let text = format!(r#"{{"act":{{"seq":1,"action":{{"{action}":{{"{field}":true}}}}}}}}"#);
        for decoded in both(&text) {
            assert_eq!(answered(&decoded.unwrap_err()).code, ErrorCode::InvalidField, "{text}");
        }
    }
}

#[test]
fn a_request_that_is_refused_is_named_by_its_number_if_that_can_be_read() {
    for (text, n) in [
        (r#"{"history":{"n":5,"of":"global","limit":0}}"#, Some(5)),
        (r#"{"say":{"n":6,"to":"galaxy:1","text":"hi"}}"#, Some(6)),
        (r#"{"say":{"n":7,"to":"global"}}"#, Some(7)),
        (r#"{"say":{"n":"x","to":"global","text":"hi"}}"#, None),
        (r#"{"say":{"to":"global","text":"hi"}}"#, None),
        (r#"{"prefer":{"n":8,"kind":"weather","wanted":false}}"#, Some(8)),
        (r#"{"prefer":{"n":0,"kind":"team","wanted":false}}"#, Some(0)),
    ] {
        for decoded in both(text) {
            let Consequence::Answer(error) = decoded.unwrap_err().consequence() else { panic!("{text} closes") };
            assert_eq!((error.code, error.n), (ErrorCode::InvalidField, n), "{text}");
        }
    }
}
