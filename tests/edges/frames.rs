//! Messages that are no frame, and WebSocket frames that are none: each closes its connection with the right code, and
//! what is merely unusual works.

use sectorbus::limits::{FRAME_BYTES_MAX, FRAME_DEPTH_MAX, MESSAGE_BYTES_MAX};
use sectorbus::protocol::{ClientFrame, Codec, Hello, ServerFrame};

use crate::bystander::Bystander;
use crate::raw::{BINARY, CLOSE, CONTINUATION, PING, Raw, Seen, TEXT, frame, frame_with, header};
use crate::serving::{Server, serve, serve_with};

const FIN: u8 = 0x80;

/// Sends the bytes on a connection of its own, once before `hello` and once with state; both must be closed with `code`.
async fn closes_with(server: &Server, what: &str, codec: Codec, bytes: &[u8], code: (u16, &str)) {
    let mut early = server.opened("intruder", codec).await;
    early.write(bytes).await;
    assert_closed(&mut early, &format!("{what}, before hello"), code).await;
    let mut live = server.joined("intruder", codec).await;
    live.raw.write(bytes).await;
    assert_closed(&mut live.raw, what, code).await;
}

async fn assert_closed(raw: &mut Raw, what: &str, (code, name): (u16, &str)) {
    let all = raw.until_the_end().await;
    match &all[..] {
        [.., Seen::Close { code: seen, reason }, Seen::End] => {
            assert_eq!(*seen, code, "{what}: {reason}");
            assert!(reason == name || reason.starts_with(&format!("{name}: ")), "{what}: {reason}");
        }
        _ => panic!("{what}: not closed in order: {:?}", all.last()),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn undecodable_json_is_closed_as_bad_frame() {
    let server = serve().await;
    let mut bystander = Bystander::at(&server).await;
    let deep = format!("{{\"hello\":{{\"x\":{}{}}}}}", "[".repeat(FRAME_DEPTH_MAX), "]".repeat(FRAME_DEPTH_MAX));
    let messages = [
        "",
        " ",
        "{",
        "{}",
        "[]",
        "null",
        "7",
        "\"hello\"",
        "hello",
        "{\"ping\":{\"t\":1}} {}",
        "{\"ping\":{\"t\":1},\"bye\":{}}",
        "{\"hello\":5}",
        "{\"hello\":[]}",
        "{\"ping\":{\"t\":9007199254740993}}",
        "{\"nobody\":{\"t\":-9007199254740993}}",
        "{\"hello\":{\"token\":\"\\ud800\"}}",
        &deep,
    ];
    for message in messages {
        let bytes = frame(TEXT, message.as_bytes());
        closes_with(&server, message, Codec::Json, &bytes, (4000, "bad_frame")).await;
    }
    bystander.noticed_nothing().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn undecodable_msgpack_is_closed_as_bad_frame() {
    let server = serve().await;
    let mut bystander = Bystander::at(&server).await;
    let deep = [&[0x81, 0xa1, b'x'][..], &[0x91; FRAME_DEPTH_MAX + 1], &[0xc0]].concat();
    let messages: [(&str, &[u8]); 14] = [
        ("nothing", b""),
        ("a type that does not exist", &[0xc1]),
        ("nil", &[0xc0]),
        ("an array", &[0x90]),
        ("an empty map", &[0x80]),
        ("two frames in one map", &[0x82, 0xa3, b'b', b'y', b'e', 0x80, 0xa1, b'x', 0x80]),
        ("two frames in one message", &[0x81, 0xa3, b'b', b'y', b'e', 0x80, 0x81, 0xa3, b'b', b'y', b'e', 0x80]),
        ("a key that is no text", &[0x81, 0x01, 0x80]),
        ("fields that are no map", &[0x81, 0xa3, b'b', b'y', b'e', 0x01]),
        ("a bin", &[0x81, 0xa3, b'b', b'y', b'e', 0x81, 0xa1, b'x', 0xc4, 0x01, 0x00]),
        ("an ext", &[0x81, 0xa3, b'b', b'y', b'e', 0x81, 0xa1, b'x', 0xd4, 0x01, 0x00]),
        ("a map of 4 billion that is not there", &[0xdf, 0xff, 0xff, 0xff, 0xff]),
        ("a text that is not UTF-8", &[0x81, 0xa2, 0xff, 0xfe, 0x80]),
        ("too deep", &deep),
    ];
    for (what, message) in messages {
        let bytes = frame(BINARY, message);
        closes_with(&server, what, Codec::Msgpack, &bytes, (4000, "bad_frame")).await;
    }
    bystander.noticed_nothing().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_of_the_other_codecs_kind_is_closed_as_wrong_kind() {
    let server = serve().await;
    let mut bystander = Bystander::at(&server).await;
    for (codec, opcode) in [(Codec::Msgpack, TEXT), (Codec::Json, BINARY)] {
        let hello = ClientFrame::Hello(Hello::default()).encode(codec);
        closes_with(&server, "a good hello", codec, &frame(opcode, &hello), (1003, "wrong_kind")).await;
        closes_with(&server, "nothing", codec, &frame(opcode, b""), (1003, "wrong_kind")).await;
    }
    bystander.noticed_nothing().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_much_is_closed_as_too_large_before_it_is_read() {
    let server = serve().await;
    let mut bystander = Bystander::at(&server).await;
    let half = vec![b' '; MESSAGE_BYTES_MAX / 2 + 1];
    let halves = [frame_with(TEXT, true, &half), frame_with(FIN | CONTINUATION, true, &half)].concat();
    let sent = [
        ("one byte too many", frame(TEXT, &vec![b' '; FRAME_BYTES_MAX + 1])),
        ("fragments that are too much together", halves),
        ("a megabyte of one message", frame(TEXT, &vec![b' '; 1 << 20])),
        ("a header that promises a terabyte", [header(FIN | TEXT, true, 1 << 40), vec![0; 4]].concat()),
        ("a header that promises 2^63 - 1", [header(FIN | TEXT, true, (1 << 63) - 1), vec![0; 4]].concat()),
    ];
    for (what, bytes) in &sent {
        closes_with(&server, what, Codec::Json, bytes, (1009, "frame_too_large")).await;
        bystander.noticed_nothing().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_smaller_frame_limit_of_the_operator_is_kept_and_told() {
    let server = serve_with(|config| config.frame_bytes_max = 600).await;
    let mut speaking = server.joined("ann", Codec::Json).await;
    assert_eq!(speaking.welcome.as_ref().map(|welcome| welcome.limits.frame_bytes), Some(600));
    let ping =
        |len: usize| frame(TEXT, format!("{{\"ping\":{{\"t\":1,\"x\":\"{}\"}}}}", " ".repeat(len - 23)).as_bytes());
    speaking.raw.write(&ping(600)).await;
    speaking.until(|frame| matches!(frame, ServerFrame::Pong(_)).then_some(())).await;
    speaking.raw.write(&ping(601)).await;
    assert_closed(&mut speaking.raw, "one byte over the setting", (1009, "frame_too_large")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_websocket_frame_is_closed_as_violation() {
    let server = serve().await;
    let mut bystander = Bystander::at(&server).await;
    let bye = b"{\"bye\":{}}";
    let sent = [
        ("not masked", frame_with(FIN | TEXT, false, bye)),
        ("reserved bit 1", frame_with(FIN | 0x40 | TEXT, true, bye)),
        ("reserved bit 2", frame_with(FIN | 0x20 | TEXT, true, bye)),
        ("reserved bit 3", frame_with(FIN | 0x10 | TEXT, true, bye)),
        ("a data opcode that does not exist", frame_with(FIN | 0x3, true, bye)),
        ("a control opcode that does not exist", frame_with(FIN | 0xb, true, b"")),
        ("a ping of 126 bytes", frame(PING, &[0; 126])),
        ("a ping in fragments", frame_with(PING, true, b"x")),
        ("a continuation of nothing", frame(CONTINUATION, bye)),
        ("a message within a message", [frame_with(TEXT, true, b"{"), frame(TEXT, bye)].concat()),
        ("text that is not UTF-8", frame(TEXT, &[b'{', 0xff, 0xfe])),
        ("a close frame of one byte", frame(CLOSE, &[3])),
    ];
    for (what, bytes) in &sent {
        closes_with(&server, what, Codec::Json, bytes, (1002, "websocket_violation")).await;
    }
    bystander.noticed_nothing().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_megabyte_of_garbage_costs_only_its_own_connection() {
    let server = serve().await;
    let mut bystander = Bystander::at(&server).await;
    for seed in 1..=8_u64 {
        // xorshift64: garbage, the same in every run.
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let garbage: Vec<u8> = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        })
        .take(1 << 20)
        .collect();
        let mut live = server.joined("intruder", Codec::Msgpack).await;
        live.raw.write(&garbage).await;
        let (code, reason) = live.raw.closed().await;
        assert!([1002, 1009, 1003, 4000].contains(&code), "{code} {reason}");
        bystander.noticed_nothing().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fragments_pings_and_single_bytes_are_as_good_as_whole_frames() {
    let server = serve().await;
    let mut raw = server.opened("ann", Codec::Json).await;
    let hello = ClientFrame::Hello(Hello::default()).encode(Codec::Json);
    let (first, rest) = hello.split_at(3);
    let (second, third) = rest.split_at(5);
    let mut bytes = frame_with(TEXT, true, first);
    bytes.extend(frame(PING, b"between"));
    bytes.extend(frame_with(CONTINUATION, true, second));
    bytes.extend(frame_with(FIN | CONTINUATION, true, third));
    for byte in bytes {
        raw.write(&[byte]).await;
    }
    assert_eq!(raw.seen().await, Seen::Pong(b"between".to_vec()));
    let Seen::Message { payload, .. } = raw.seen().await else { panic!("no message") };
    assert!(payload.starts_with(b"{\"welcome\""), "{}", String::from_utf8_lossy(&payload));
    let full = [b'p'; 125];
    raw.write(&frame(PING, &full)).await;
    loop {
        match raw.seen().await {
            Seen::Pong(payload) => break assert_eq!(payload, full),
            Seen::Message { .. } => {}
            over => panic!("{over:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_close_frame_is_answered_with_one() {
    let server = serve().await;
    // None, normal, one of an application, one that must not be sent.
    for payload in [&b""[..], &1000_u16.to_be_bytes(), b"\x0f\xa0going", &1005_u16.to_be_bytes()] {
        let mut early = server.opened("ann", Codec::Json).await;
        early.write(&frame(CLOSE, payload)).await;
        let all = early.until_the_end().await;
        assert!(matches!(&all[..], [Seen::Close { .. }, Seen::End]), "{all:?}");
        let mut live = server.joined("ann", Codec::Json).await;
        live.raw.write(&frame(CLOSE, payload)).await;
        let all = live.raw.until_the_end().await;
        assert!(matches!(&all[..], [.., Seen::Close { .. }, Seen::End]), "{all:?}");
    }
}
