//! Everything that is wrong with a frame but leaves it a frame: answered with `error`, and the connection goes on.

use sectorbus::action::{Action, Status};
use sectorbus::protocol::{ClientFrame, Codec, ErrorCode, ServerFrame};

use crate::bystander::Bystander;
use crate::raw::{BINARY, Seen, frame};
use crate::serving::serve;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_frame_is_answered_and_the_connection_goes_on() {
    let server = serve().await;
    let mut bystander = Bystander::at(&server).await;
    use ErrorCode::{HelloAgain, InvalidField, UnknownAction, UnknownFrame};
    let refused: [(&str, ErrorCode, Option<u64>); 18] = [
        (r#"{"goodbye":{}}"#, UnknownFrame, None),
        (r#"{"":{}}"#, UnknownFrame, None),
        (r#"{"welcome":{}}"#, UnknownFrame, None),
        (r#"{"hello":{}}"#, HelloAgain, None),
        (r#"{"act":{}}"#, InvalidField, None),
        (r#"{"act":{"seq":3}}"#, InvalidField, Some(3)),
        (r#"{"act":{"seq":0,"action":{"move":{"to":"1"}}}}"#, InvalidField, None),
        (r#"{"act":{"seq":-1,"action":{"move":{"to":"1"}}}}"#, InvalidField, None),
        (r#"{"act":{"seq":1.5,"action":{"move":{"to":"1"}}}}"#, InvalidField, None),
        (r#"{"act":{"seq":3,"action":{"warp":{}}}}"#, UnknownAction, Some(3)),
        (r#"{"act":{"seq":3,"action":{"move":{}}}}"#, InvalidField, Some(3)),
        (r#"{"act":{"seq":3,"action":{"move":{"to":7}}}}"#, InvalidField, Some(3)),
        (r#"{"act":{"seq":3,"action":{"move":{"to":"../etc"}}}}"#, InvalidField, Some(3)),
        (r#"{"act":{"seq":3,"action":{"status":{"status":"link_dead"}}}}"#, InvalidField, Some(3)),
        (r#"{"act":{"seq":3,"action":{}}}"#, InvalidField, Some(3)),
        (r#"{"act":{"seq":3,"action":"move"}}"#, InvalidField, Some(3)),
        (r#"{"ping":{}}"#, InvalidField, None),
        (r#"{"ping":{"t":-1}}"#, InvalidField, None),
    ];
    for some in refused.chunks(9) {
        let mut speaking = server.joined("ann", Codec::Json).await;
        for (message, code, seq) in some {
            speaking.raw.text(message).await;
            let error = speaking.error().await;
            assert_eq!((error.code, error.retry, error.seq.map(|seq| seq.0)), (*code, false, *seq), "{message}");
            assert!(!error.detail.is_empty(), "{message}");
            speaking.still_serves().await;
        }
        speaking.act(1, Action::Status { status: Status::Busy }).await;
        speaking.until(|frame| matches!(frame, ServerFrame::Ack(ack) if ack.seq.0 == 1).then_some(())).await;
    }
    bystander.noticed_nothing().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_in_msgpack() {
    let server = serve().await;
    let mut speaking = server.joined("ann", Codec::Msgpack).await;
    let refused: [(&[u8], ErrorCode); 4] = [
        (b"\x81\xa3abc\x80", ErrorCode::UnknownFrame),
        (b"\x81\xa4ping\x80", ErrorCode::InvalidField),
        (b"\x81\xa4ping\x81\xa1t\xa1x", ErrorCode::InvalidField),
        (b"\x81\xa3act\x82\xa3seq\x03\xa6action\x81\xa1x\x80", ErrorCode::UnknownAction),
    ];
    for (message, code) in refused {
        speaking.raw.write(&frame(BINARY, message)).await;
        assert_eq!(speaking.error().await.code, code, "{message:02x?}");
    }
    speaking.still_serves().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resync_is_answered_once_in_its_time() {
    let server = serve().await;
    let mut speaking = server.joined("ann", Codec::Json).await;
    speaking.send(&ClientFrame::Resync {}).await;
    let snapshot = speaking.snapshot().await;
    assert_eq!(snapshot.reason, sectorbus::protocol::SnapshotReason::Resync);
    speaking.send(&ClientFrame::Resync {}).await;
    let error = speaking.error().await;
    assert_eq!((error.code, error.retry), (ErrorCode::ResyncTooOften, true));
    // "To be sent again later": it is answered in the end, and before the errors close the connection.
    let every = speaking.welcome.as_ref().map(|welcome| welcome.limits.resync_every_ms).expect("welcomed");
    let mut again = tokio::time::interval(std::time::Duration::from_millis(u64::from(every) / 2));
    let answered = loop {
        again.tick().await;
        speaking.send(&ClientFrame::Resync {}).await;
        let answer = speaking.until(|frame| match frame {
            ServerFrame::Error(error) => Some(Err(error.code)),
            ServerFrame::Snapshot(snapshot) => Some(Ok(snapshot.reason)),
            _ => None,
        });
        if let Ok(reason) = answer.await {
            break reason;
        }
    };
    assert_eq!(answered, sectorbus::protocol::SnapshotReason::Resync);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_errors_in_ten_seconds_close_the_connection_and_nine_do_not() {
    let server = serve().await;
    let mut bystander = Bystander::at(&server).await;
    let mut speaking = server.joined("ann", Codec::Json).await;
    for _ in 0..9 {
        speaking.raw.text(r#"{"goodbye":{}}"#).await;
        assert_eq!(speaking.error().await.code, ErrorCode::UnknownFrame);
    }
    speaking.still_serves().await;
    speaking.raw.text(r#"{"goodbye":{}}"#).await;
    assert_eq!(speaking.error().await.code, ErrorCode::UnknownFrame, "the tenth is answered too");
    let closed = speaking.next().await;
    assert_eq!(closed, Err(Seen::Close { code: 4004, reason: "too_many_errors".into() }));
    assert_eq!(speaking.raw.seen().await, Seen::End);
    // Before hello the same.
    let mut raw = server.opened("ann", Codec::Json).await;
    for _ in 0..10 {
        raw.text(r#"{"hello":{"features":5}}"#).await;
    }
    assert_eq!(raw.closed().await, (4004, "too_many_errors".to_owned()));
    bystander.noticed_nothing().await;
}
