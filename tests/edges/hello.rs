//! Before `hello`, and `hello` itself: what must come first, in time, and what may be corrected.

use std::time::Duration;

use sectorbus::protocol::{Codec, ErrorCode, ServerFrame};
use sectorbus_tests::cluster::token;

use tokio::time::Instant;

use crate::bystander::Bystander;
use crate::raw::{PING, Raw, Seen, TEXT, frame};
use crate::serving::{Speaking, serve, serve_with};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn anything_before_hello_is_closed_as_hello_first() {
    let server = serve().await;
    let mut bystander = Bystander::at(&server).await;
    let messages = [
        r#"{"act":{"seq":1,"action":{"status":{"status":"away"}}}}"#,
        r#"{"act":{"seq":1,"action":{"warp":{}}}}"#,
        r#"{"act":{}}"#,
        r#"{"resync":{}}"#,
        r#"{"ping":{"t":1}}"#,
        r#"{"ping":{"t":"x"}}"#,
        r#"{"bye":{}}"#,
        r#"{"goodbye":{}}"#,
        r#"{"welcome":{}}"#,
    ];
    for message in messages {
        let mut raw = server.opened("ann", Codec::Json).await;
        raw.text(message).await;
        let closed = raw.closed().await;
        assert_eq!(closed, (4001, "hello_first".to_owned()), "{message}");
    }
    bystander.noticed_nothing().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_hello_is_closed_and_pings_do_not_buy_time() {
    let server = serve_with(|config| config.hello_within = Duration::from_millis(400)).await;
    let mut silent = server.opened("ann", Codec::Json).await;
    assert_eq!(silent.closed().await, (4002, "hello_late".to_owned()));
    let mut pinging = server.opened("ann", Codec::Json).await;
    let (mut pongs, mut times) = (0, tokio::time::interval(Duration::from_millis(25)));
    let closed = loop {
        times.tick().await;
        pinging.write(&frame(PING, b"still here")).await;
        match pinging.seen().await {
            Seen::Pong(_) => pongs += 1,
            over => break over,
        }
    };
    assert_eq!(closed, Seen::Close { code: 4002, reason: "hello_late".into() });
    assert!(pongs > 0, "pings are answered before hello");
    // A message that never ends is no hello either.
    let mut endless = server.opened("ann", Codec::Json).await;
    endless.write(&frame(TEXT, b"{\"hello\":{}}")[..8]).await;
    assert_eq!(endless.closed().await.0, 4002);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_hello_may_be_corrected() {
    let server = serve().await;
    let long = "x".repeat(65);
    let many = vec!["\"f\""; 33].join(",");
    let refused = [
        r#"{"hello":{"features":"none"}}"#.to_owned(),
        r#"{"hello":{"token":5}}"#.to_owned(),
        format!(r#"{{"hello":{{"token":"{}"}}}}"#, "x".repeat(4097)),
        format!(r#"{{"hello":{{"resume":"{}"}}}}"#, "x".repeat(513)),
        format!(r#"{{"hello":{{"device":"{long}"}}}}"#),
        format!(r#"{{"hello":{{"features":["{long}"]}}}}"#),
        format!(r#"{{"hello":{{"features":[{many}]}}}}"#),
        r#"{"hello":{"cursor":"1-2"}}"#.to_owned(),
        r#"{"hello":{"cursor":"x","sector":"1"}}"#.to_owned(),
        r#"{"hello":{"cursor":"1-2","sector":"a b"}}"#.to_owned(),
        r#"{"hello":{"actor":0,"first_seq":1}}"#.to_owned(),
        r#"{"hello":{"actor":1}}"#.to_owned(),
        r#"{"hello":{"actor":1,"first_seq":0}}"#.to_owned(),
        r#"{"hello":{"actor":-1,"first_seq":1}}"#.to_owned(),
        r#"{"hello":{"first_seq":2}}"#.to_owned(),
    ];
    for messages in refused.chunks(8) {
        let raw = server.opened("ann", Codec::Json).await;
        let mut speaking = Speaking { raw, codec: Codec::Json, welcome: None, snapshot: None };
        for message in messages {
            speaking.raw.text(message).await;
            let error = speaking.error().await;
            assert_eq!((error.code, error.retry, error.seq), (ErrorCode::InvalidField, false, None), "{message}");
            assert!(error.detail.starts_with("hello: "), "{}", error.detail);
        }
        speaking.raw.text(r#"{"hello":{}}"#).await;
        let welcome = speaking.welcome().await;
        assert_eq!(welcome.player.as_str(), "ann");
        speaking.snapshot().await;
        speaking.raw.text(r#"{"hello":{}}"#).await;
        assert_eq!(speaking.error().await.code, ErrorCode::HelloAgain);
        speaking.still_serves().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_fields_features_and_a_foreign_resume_token_are_no_error() {
    let server = serve().await;
    let bob = server.joined("bob", Codec::Json).await;
    let foreign = bob.welcome.as_ref().expect("welcomed").resume.reveal().to_owned();
    for resume in [foreign, "not one of ours".to_owned()] {
        let raw = server.opened("ann", Codec::Json).await;
        let mut speaking = Speaking { raw, codec: Codec::Json, welcome: None, snapshot: None };
        let hello = serde_json::json!({ "hello": {
            "features": ["teleport"], "colour": [1, { "deep": null }], "resume": resume, "cursor": "5-9", "sector": "999",
            "actor": null, "device": "Zoë's 📱" } });
        speaking.raw.text(&hello.to_string()).await;
        let welcome = speaking.welcome().await;
        assert_eq!((welcome.player.as_str(), welcome.recovered), ("ann", false));
        assert_eq!(welcome.features, Vec::<String>::new());
        assert_ne!(Some(&welcome.session), bob.welcome.as_ref().map(|w| &w.session));
        speaking.snapshot().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_between_hello_and_the_first_state_is_to_be_sent_again() {
    let server = serve().await;
    let mut raw = server.opened("ann", Codec::Json).await;
    let status = r#"{"act":{"seq":1,"action":{"status":{"status":"away"}}}}"#;
    let burst = [r#"{"hello":{}}"#, status, r#"{"resync":{}}"#].map(|text| frame(TEXT, text.as_bytes())).concat();
    raw.write(&burst).await;
    let mut speaking = Speaking { raw, codec: Codec::Json, welcome: None, snapshot: None };
    let error = speaking.error().await;
    assert_eq!((error.code, error.retry, error.seq.map(|seq| seq.0)), (ErrorCode::NotInSector, true, Some(1)));
    let error = speaking.error().await;
    assert_eq!((error.code, error.retry, error.seq), (ErrorCode::NotInSector, true, None));
    speaking.snapshot().await;
    speaking.raw.text(status).await;
    speaking.until(|frame| matches!(frame, ServerFrame::Ack(ack) if ack.seq.0 == 1).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hello_while_the_log_is_away_waits_with_a_notice_and_its_pings_are_answered() {
    let server = serve().await;
    let mut raw = server.opened("ann", Codec::Json).await;
    let away = Duration::from_secs(3);
    let back_at = Instant::now() + away;
    server.region.unavailable(away);
    raw.text(r#"{"hello":{}}"#).await;
    let mut speaking = Speaking { raw, codec: Codec::Json, welcome: None, snapshot: None };
    speaking.until(|frame| matches!(frame, ServerFrame::Unavailable(_)).then_some(())).await;
    speaking.still_serves().await;
    speaking.raw.text(r#"{"resync":{}}"#).await;
    assert_eq!(speaking.error().await.code, ErrorCode::NotInSector);
    assert!(Instant::now() < back_at, "answered only when the log was back");
    speaking.welcome().await;
    speaking.snapshot().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_any_token_hello_is_closed_as_bad_token() {
    let server = serve().await;
    let mut raw = Raw::connect(server.address, "/ws", &[("Sec-WebSocket-Protocol", "sectorbus.v1.json")])
        .await
        .expect("upgraded");
    raw.text(r#"{"hello":{}}"#).await;
    assert_eq!(raw.closed().await, (4003, "bad_token: missing".to_owned()));
    let mut raw = Raw::connect(server.address, "/ws", &[("Sec-WebSocket-Protocol", "sectorbus.v1.json")])
        .await
        .expect("upgraded");
    raw.text(&format!(r#"{{"hello":{{"token":"{}"}}}}"#, token("ann"))).await;
    let mut speaking = Speaking { raw, codec: Codec::Json, welcome: None, snapshot: None };
    assert_eq!(speaking.welcome().await.player.as_str(), "ann");
}
