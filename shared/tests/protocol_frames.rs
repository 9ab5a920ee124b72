//! Frames survive both codecs; no bytes a peer may send make decoding panic or reserve memory; every limit holds.

use std::collections::BTreeMap;

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use sectorbus::action::{Action, Answer, Facts, RejectCode, Status};
use sectorbus::ids::{ActorId, Alias, EntryId, PlayerId, SectorId, Seq, SessionId};
use sectorbus::limits::{FRAME_BYTES_MAX, FRAME_DEPTH_MAX, INT_ABS_MAX, TEXT_BYTES_MAX};
use sectorbus::protocol::{
    Ack, Act, ActorMarks, BadFrame, Change, ChangeBody, ClientFrame, CloseCode, Codec, Consequence,
    DeltaFrame, EntityFields, ErrorCode, ErrorFrame, FieldChanges, Fields, Hello, Leaving, Limits,
    Moved, OwnChange, OwnerChange, Ping, Pong, Reject, RetryAfter, Secret, SeqAnswer, ServerFrame,
    Slot, Snapshot, SnapshotReason, Source, Unavailable, Welcome, encode_delta,
};
use sectorbus::value::{Field, Value};

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![0..300_u64, 0..=INT_ABS_MAX as u64]
}

fn name() -> impl Strategy<Value = String> {
    "[A-Za-z0-9_-]{1,64}"
}

fn sector() -> impl Strategy<Value = SectorId> {
    name().prop_map(|name| SectorId::new(&name).unwrap())
}

fn seq() -> impl Strategy<Value = Seq> {
    number().prop_map(|n| Seq(n.max(1)))
}

fn entry_id() -> impl Strategy<Value = EntryId> {
    (number(), number()).prop_map(|(epoch, version)| EntryId::new(epoch, version))
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        (-INT_ABS_MAX..=INT_ABS_MAX).prop_map(Value::from),
        (-200..70_000_i64).prop_map(Value::from),
        ".{0,40}".prop_map(|text| Value::from(text.as_str())),
    ]
}

/// Known fields and ones of a newer server.
fn field() -> impl Strategy<Value = Field> {
    (1..=255_u8).prop_map(Field)
}

fn fields() -> impl Strategy<Value = Fields> {
    btree_map(field(), value(), 0..6)
}

fn changes(fewest: usize) -> impl Strategy<Value = FieldChanges> {
    btree_map(field(), proptest::option::of(value()), fewest..6)
        .prop_map(|set| set.into_iter().collect::<Vec<_>>())
        .prop_shuffle()
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        sector().prop_map(|to| Action::Move { to }),
        Just(Action::Status {
            status: Status::Busy
        }),
    ]
}

fn hello() -> impl Strategy<Value = ClientFrame> {
    let text = || proptest::option::of(".{0,20}".prop_map(String::from));
    let cursor = proptest::option::of((entry_id(), sector()));
    let actor = proptest::option::of((1..=u32::MAX, seq()));
    (text(), text(), text(), vec(name(), 0..4), cursor, actor).prop_map(
        |(token, resume, device, features, cursor, actor)| {
            ClientFrame::Hello(Hello {
                token: token.map(Secret::from),
                features,
                resume: resume.map(Secret::from),
                cursor: cursor.as_ref().map(|(cursor, _)| *cursor),
                sector: cursor.map(|(_, sector)| sector),
                actor: actor.map(|(actor, _)| ActorId(actor)),
                first_seq: actor.map(|(_, seq)| seq),
                device: device.map(|text| text.chars().take(16).collect()),
            })
        },
    )
}

fn client_frame() -> impl Strategy<Value = ClientFrame> {
    prop_oneof![
        hello(),
        (seq(), action()).prop_map(|(seq, action)| ClientFrame::Act(Act { seq, action })),
        Just(ClientFrame::Resync {}),
        number().prop_map(|t| ClientFrame::Ping(Ping { t })),
        Just(ClientFrame::Bye {}),
    ]
}

fn facts() -> impl Strategy<Value = Facts> {
    btree_map(".{0,10}".prop_map(String::from), value(), 0..3)
}

fn reject_code() -> impl Strategy<Value = RejectCode> {
    prop_oneof![
        Just(RejectCode::CoolingDown),
        Just(RejectCode::UnknownActor)
    ]
}

fn marks() -> impl Strategy<Value = Vec<ActorMarks>> {
    let answer = prop_oneof![
        Just(Answer::Ack),
        (reject_code(), facts()).prop_map(|(code, facts)| Answer::Reject { code, facts }),
    ];
    let answers = vec(
        (seq(), answer).prop_map(|(seq, answer)| SeqAnswer { seq, answer }),
        0..4,
    );
    let one =
        (any::<u32>(), seq(), any::<u128>(), answers).prop_map(|(actor, high, bitmap, answers)| {
            ActorMarks {
                actor: ActorId(actor),
                high,
                bitmap,
                answers,
            }
        });
    vec(one, 0..3)
}

fn snapshot() -> impl Strategy<Value = Snapshot> {
    let entity = (any::<u32>(), fields()).prop_map(|(alias, fields)| EntityFields {
        entity: Alias(alias),
        fields,
    });
    let parts = (
        0..3_u8,
        sector(),
        entry_id(),
        any::<u32>(),
        vec(entity, 0..5),
        fields(),
        marks(),
    );
    parts.prop_map(|(room, sector, id, sum, entities, own, marks)| Snapshot {
        room: Slot(room),
        sector,
        id,
        owner: "n1".into(),
        sum,
        entities,
        own,
        own_sum: sum.rotate_left(7),
        marks,
        reason: SnapshotReason::Gap,
    })
}

fn change() -> impl Strategy<Value = Change> {
    let body = prop_oneof![
        changes(1).prop_map(ChangeBody::Set),
        Just(ChangeBody::Removed)
    ];
    (any::<u32>(), body).prop_map(|(alias, body)| Change {
        entity: Alias(alias),
        body,
    })
}

fn delta() -> impl Strategy<Value = DeltaFrame> {
    let versions = prop_oneof![
        number().prop_map(|to| (to.max(1) - 1, to.max(1))),
        (number(), number()).prop_map(|(a, b)| (a.min(b), a.max(b).max(a.min(b) + 1))),
    ];
    let versions = versions.prop_filter("within range", |(_, to)| *to <= INT_ABS_MAX as u64);
    (0..3_u8, versions, any::<u32>(), vec(change(), 0..20)).prop_map(
        |(room, (from, to), sum, changes)| DeltaFrame {
            room: Slot(room),
            from,
            to,
            sum,
            changes,
        },
    )
}

fn welcome() -> impl Strategy<Value = Welcome> {
    (
        name(),
        name(),
        number(),
        any::<bool>(),
        marks(),
        vec(name(), 0..3),
    )
        .prop_map(
            |(session, player, now_ms, recovered, pending, features)| Welcome {
                session: SessionId::new(&session).unwrap(),
                resume: Secret::from("r"),
                player: PlayerId::new(&player).unwrap(),
                actor: ActorId(3),
                features,
                now_ms,
                node: "n1".into(),
                heartbeat_ms: 20_000,
                resume_window_ms: 60_000,
                recovered,
                source: Source::Log,
                limits: Limits::V1,
                fields: Welcome::field_names(),
                pending,
            },
        )
}

fn server_frame() -> impl Strategy<Value = ServerFrame> {
    prop_oneof![
        welcome().prop_map(|frame| ServerFrame::Welcome(Box::new(frame))),
        snapshot().prop_map(|frame| ServerFrame::Snapshot(Box::new(frame))),
        delta().prop_map(ServerFrame::Delta),
        (number(), any::<u32>(), changes(0))
            .prop_map(|(to, sum, set)| ServerFrame::Own(OwnChange { to, sum, set })),
        (seq(), number()).prop_map(|(seq, version)| ServerFrame::Ack(Ack { seq, version })),
        (seq(), reject_code(), facts(), number()).prop_map(|(seq, code, facts, version)| {
            ServerFrame::Reject(Reject {
                seq,
                code,
                facts,
                version,
            })
        }),
        (proptest::option::of(seq()), number())
            .prop_map(|(seq, ms)| ServerFrame::RetryAfter(RetryAfter { seq, ms })),
        number().prop_map(|ms| ServerFrame::Unavailable(Unavailable { retry_after_ms: ms })),
        (sector(), sector(), snapshot()).prop_map(|(from, to, snapshot)| {
            ServerFrame::Moved(Box::new(Moved { from, to, snapshot }))
        }),
        (name(), number(), number()).prop_map(|(node, epoch, version)| {
            ServerFrame::Owner(OwnerChange {
                room: Slot::SECTOR,
                node,
                epoch,
                version,
            })
        }),
        (number(), number()).prop_map(|(t, now_ms)| ServerFrame::Pong(Pong { t, now_ms })),
        ".{0,40}".prop_map(|detail| {
            ServerFrame::Error(ErrorFrame::new(ErrorCode::InvalidField, detail))
        }),
        number().prop_map(|ms| ServerFrame::Leaving(Leaving {
            reconnect_after_ms: ms
        })),
    ]
}

proptest! {
    #[test]
    fn client_frames_survive_both_codecs(frame in client_frame()) {
        for codec in Codec::ALL {
            prop_assert_eq!(ClientFrame::decode(codec, &frame.encode(codec)), Ok(frame.clone()));
        }
    }

    #[test]
    fn server_frames_survive_both_codecs(frame in server_frame()) {
        for codec in Codec::ALL {
            prop_assert_eq!(ServerFrame::decode(codec, &frame.encode(codec)), Ok(frame.clone()));
        }
    }

    #[test]
    fn no_bytes_make_decoding_panic(bytes in vec(any::<u8>(), 0..200)) {
        for codec in Codec::ALL {
            let _ = ClientFrame::decode(codec, &bytes);
            let _ = ServerFrame::decode(codec, &bytes);
        }
    }

    /// Random bytes rarely get past the first check: damaged frames get further.
    #[test]
    fn no_damaged_frame_makes_decoding_panic(
        client in client_frame(),
        server in server_frame(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        for codec in Codec::ALL {
            for bytes in [client.encode(codec), server.encode(codec)] {
                let mut bytes = bytes.to_vec();
                for (at, byte) in &damage {
                    let at = at.index(bytes.len());
                    bytes[at] = *byte;
                }
                let _ = ClientFrame::decode(codec, &bytes);
                let _ = ServerFrame::decode(codec, &bytes);
            }
        }
    }

    #[test]
    fn a_frame_cut_short_or_with_a_tail_is_refused(
        client in client_frame(),
        server in server_frame(),
        at in any::<prop::sample::Index>(),
        tail in "[a-z0-9{\\[\"]{1,3}",
    ) {
        for codec in Codec::ALL {
            let whole = client.encode(codec);
            prop_assert!(ClientFrame::decode(codec, &whole[..at.index(whole.len())]).is_err());
            prop_assert!(ClientFrame::decode(codec, &[&whole, tail.as_bytes()].concat()).is_err());
            let whole = server.encode(codec);
            prop_assert!(ServerFrame::decode(codec, &whole[..at.index(whole.len())]).is_err());
            prop_assert!(ServerFrame::decode(codec, &[&whole, tail.as_bytes()].concat()).is_err());
        }
    }
}

fn two_fields(alias: u32, to: u64, x: i64, y: i64) -> DeltaFrame {
    let set = vec![
        (Field::X, Some(Value::Int(x))),
        (Field::Y, Some(Value::Int(y))),
    ];
    let change = Change {
        entity: Alias(alias),
        body: ChangeBody::Set(set),
    };
    DeltaFrame {
        room: Slot::SECTOR,
        from: to - 1,
        to,
        sum: u32::MAX,
        changes: vec![change],
    }
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
    let nothing = Change {
        entity: Alias(9),
        body: ChangeBody::Set(vec![]),
    };
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
    [
        json(text),
        ClientFrame::decode(Codec::Msgpack, &as_msgpack(text)),
    ]
}

#[test]
fn unknown_fields_are_ignored() {
    let text =
        r#"{"act":{"new":{"deep":[1.5,null,true]},"seq":1,"action":{"move":{"to":"13","why":1}}}}"#;
    let act = Act {
        seq: Seq(1),
        action: Action::Move {
            to: SectorId::new("13").unwrap(),
        },
    };
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
        (
            r#"{"act":{"seq":7,"action":{"fly":{"to":"1"}}}}"#,
            ErrorCode::UnknownAction,
            Some(7),
            "move",
        ),
        (
            r#"{"act":{"seq":7,"action":{"move":{"to":"a b"}}}}"#,
            ErrorCode::InvalidField,
            Some(7),
            "A-Z",
        ),
        (
            r#"{"act":{"seq":7,"action":{"move":{}}}}"#,
            ErrorCode::InvalidField,
            Some(7),
            "to",
        ),
        (
            r#"{"act":{"seq":7,"action":7}}"#,
            ErrorCode::InvalidField,
            Some(7),
            "act",
        ),
        (
            r#"{"act":{"seq":-7,"action":{"move":{"to":"1"}}}}"#,
            ErrorCode::InvalidField,
            None,
            "act",
        ),
        (
            r#"{"act":{"seq":0,"action":{"move":{"to":"1"}}}}"#,
            ErrorCode::InvalidField,
            None,
            "1 and up",
        ),
        (
            r#"{"act":{"action":{"move":{"to":"1"}}}}"#,
            ErrorCode::InvalidField,
            None,
            "seq",
        ),
        (
            r#"{"act":{"seq":7,"action":{"status":{"status":"link_dead"}}}}"#,
            ErrorCode::InvalidField,
            Some(7),
            "online",
        ),
        (
            r#"{"hello":{"token":7}}"#,
            ErrorCode::InvalidField,
            None,
            "string",
        ),
        (
            r#"{"hello":{"cursor":"1-2"}}"#,
            ErrorCode::InvalidField,
            None,
            "sector",
        ),
        (
            r#"{"hello":{"cursor":"12","sector":"1"}}"#,
            ErrorCode::InvalidField,
            None,
            "epoch",
        ),
        (
            r#"{"hello":{"actor":3}}"#,
            ErrorCode::InvalidField,
            None,
            "first_seq",
        ),
        (
            r#"{"hello":{"actor":0,"first_seq":1}}"#,
            ErrorCode::InvalidField,
            None,
            "actor",
        ),
        (
            r#"{"hello":{"first_seq":2}}"#,
            ErrorCode::InvalidField,
            None,
            "1 without actor",
        ),
        (
            &format!(r#"{{"hello":{{"device":"{long}"}}}}"#),
            ErrorCode::InvalidField,
            None,
            "64 bytes",
        ),
        (
            &format!(r#"{{"hello":{{"features":["{long}"]}}}}"#),
            ErrorCode::InvalidField,
            None,
            "64 bytes",
        ),
        (
            &format!(r#"{{"hello":{{"features":{:?}}}}}"#, ["a"; 33]),
            ErrorCode::InvalidField,
            None,
            "at most 32",
        ),
        (
            &format!(r#"{{"hello":{{"resume":"{}"}}}}"#, "r".repeat(513)),
            ErrorCode::InvalidField,
            None,
            "512",
        ),
        (
            &format!(r#"{{"hello":{{"token":"{}"}}}}"#, "t".repeat(4097)),
            ErrorCode::InvalidField,
            None,
            "4096",
        ),
        (
            r#"{"ping":{"t":"now"}}"#,
            ErrorCode::InvalidField,
            None,
            "ping",
        ),
        (r#"{"ping":{}}"#, ErrorCode::InvalidField, None, "t"),
    ];
    for (text, code, seq, says) in cases {
        for decoded in both(text) {
            let error = answered(&decoded.expect_err(text));
            assert_eq!(
                (error.code, error.seq),
                (*code, seq.map(Seq)),
                "{text}: {}",
                error.detail
            );
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
    for text in [
        "",
        " ",
        "7",
        "null",
        "[]",
        "{}",
        "{\"ping\"",
        r#""bye""#,
        r#"{"bye":null}"#,
        r#"{"bye":[]}"#,
    ] {
        closes_with(CloseCode::BadFrame, Codec::Json, text.as_bytes());
    }
    for text in [
        r#"{"bye":{},"ping":{"t":1}}"#,
        r#"{"bye":{}}{}"#,
        r#"{"ping":{"t":9007199254740992}}"#,
    ] {
        closes_with(CloseCode::BadFrame, Codec::Json, text.as_bytes());
    }
    closes_with(CloseCode::BadFrame, Codec::Json, b"{\"ping\":{\"\xff\":1}}");
    for text in [
        "7",
        "null",
        "[]",
        "{}",
        r#""bye""#,
        r#"{"bye":null}"#,
        r#"{"bye":{},"ping":{"t":1}}"#,
    ] {
        closes_with(CloseCode::BadFrame, Codec::Msgpack, &as_msgpack(text));
    }
    closes_with(
        CloseCode::BadFrame,
        Codec::Msgpack,
        &as_msgpack(r#"{"ping":{"t":9007199254740992}}"#),
    );
    closes_with(
        CloseCode::BadFrame,
        Codec::Msgpack,
        &as_msgpack(r#"{"ping":{"t":-9007199254740992}}"#),
    );
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
    assert_eq!(
        json(&format!(r#"{{"bye":{{}}}}{fill}"#)),
        Ok(ClientFrame::Bye {})
    );
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
    closes_with(
        CloseCode::BadFrame,
        Codec::Json,
        nested(FRAME_DEPTH_MAX + 1).as_bytes(),
    );
    closes_with(
        CloseCode::BadFrame,
        Codec::Msgpack,
        &as_msgpack(&nested(FRAME_DEPTH_MAX + 1)),
    );
    closes_with(CloseCode::BadFrame, Codec::Json, &[b'['; FRAME_BYTES_MAX]);
    closes_with(
        CloseCode::BadFrame,
        Codec::Msgpack,
        &[0x91; FRAME_BYTES_MAX],
    );
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
        b"\x93\x00\x00\x07",                 // nothing comes before version 0
        b"\x93\x00\x92\x05\x05\x07",         // from = to
        b"\x93\x00\x93\x05\x06\x07\x07",     // three versions
        b"\x94\x00\x05\x07\x90",             // a change without alias
        b"\x94\x00\x05\x07\x92\x01\x05",     // a field without value
        b"\x94\x00\x05\x07\x93\x01\x00\x05", // field 0
        b"\x94\x00\x05\x07\x95\x01\x05\x01\x05\x02", // a field twice
        b"\x94\x00\x05\x07\x93\x01\x05\xc3", // a bool
        b"\x93\xcd\x01\x00\x05\x07",         // slot 256
    ];
    for bytes in bad {
        assert!(
            ServerFrame::decode(Codec::Msgpack, bytes).is_err(),
            "{bytes:x?}"
        );
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
        assert!(
            ServerFrame::decode(Codec::Json, text.as_bytes()).is_err(),
            "{text}"
        );
    }
}

#[test]
fn a_text_value_beyond_its_limit_is_refused() {
    for (bytes, fits) in [(TEXT_BYTES_MAX, true), (TEXT_BYTES_MAX + 1, false)] {
        let text = Value::from("x".repeat(bytes).as_str());
        let own = OwnChange {
            to: 1,
            sum: 0,
            set: vec![(Field::NAME, Some(text.clone()))],
        };
        let mut delta = two_fields(1, 5, 1, 2);
        delta.changes[0].body = ChangeBody::Set(vec![(Field::NAME, Some(text))]);
        for frame in [ServerFrame::Own(own), ServerFrame::Delta(delta)] {
            for codec in Codec::ALL {
                assert_eq!(
                    ServerFrame::decode(codec, &frame.encode(codec)).is_ok(),
                    fits
                );
            }
        }
    }
}

#[test]
fn tokens_are_hidden_from_logs() {
    let hello = Hello {
        token: Some("top-secret".into()),
        ..Hello::default()
    };
    assert!(!format!("{hello:?}").contains("top-secret"));
    let refused = json(r#"{"hello":{"token":"top-secret","actor":0}}"#).unwrap_err();
    assert!(!refused.to_string().contains("top-secret"));
}

#[test]
fn every_action_is_known_by_name() {
    // An action that decoding knows is never called unknown: each wrong field is blamed on the field.
    let names: BTreeMap<&str, &str> = [("move", "to"), ("status", "status")].into();
    for (action, field) in names {
        let text = format!(r#"{{"act":{{"seq":1,"action":{{"{action}":{{"{field}":7}}}}}}}}"#);
        for decoded in both(&text) {
            assert_eq!(
                answered(&decoded.unwrap_err()).code,
                ErrorCode::InvalidField,
                "{text}"
            );
        }
    }
}
