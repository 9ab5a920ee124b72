//! What a reader that is slow, stops, or is shown another room gets.

use tokio::net::TcpStream;

use super::*;

async fn pair() -> (Arc<PlayerSocket>, TcpStream) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let (ours, theirs) = tokio::join!(listener.accept(), TcpStream::connect(address));
    (Arc::new(ours.expect("accepted").0.into()), theirs.expect("connected"))
}

#[test]
fn headers_fit_every_length() {
    for len in [0, 125, 126, 65_535, 65_536] {
        let frame = framed(Lane::State(Slot::SECTOR), Codec::Msgpack, &vec![7; len]);
        assert_eq!(unframed(frame.bytes), Some((2, Bytes::from(vec![7; len]))), "{len}");
    }
}

#[tokio::test]
async fn a_reader_that_stops_loses_state_and_keeps_answers() {
    let (ours, theirs) = pair().await;
    let outbox = Outbox::new(Sink::Socket(ours));
    let state = framed(Lane::State(Slot::SECTOR), Codec::Msgpack, &[0; 10_000]);
    let ack = framed(Lane::Critical, Codec::Msgpack, b"ack");
    let mut handed = Handed::Taken;
    for _ in 0..10_000 {
        handed = outbox.send(&[ack.clone(), state.clone()]);
        if handed != Handed::Taken {
            break;
        }
    }
    assert_eq!(handed, Handed::StateDropped);
    assert!(outbox.waiting.lock().frames.iter().any(|f| f.lane == Lane::Critical));
    assert!(outbox.waiting.lock().state_bytes[0] <= STATE_BACKLOG_BYTES_MAX);
    // Another room's lane is its own: what it sends waits, and what it drops is told to it alone.
    let team = framed(Lane::State(Slot::TEAM), Codec::Msgpack, &[0; 10_000]);
    assert_eq!(outbox.send(std::slice::from_ref(&team)), Handed::Taken);
    while outbox.send(std::slice::from_ref(&team)) == Handed::Taken {}
    assert_eq!(outbox.send(std::slice::from_ref(&ack)), Handed::Taken);
    assert_eq!(outbox.send(&[framed(Lane::State(Slot::GLOBAL), Codec::Msgpack, b"one")]), Handed::Taken);
    drop(theirs);
}

#[tokio::test]
async fn a_reader_that_stops_is_offered_items_again_when_it_has_read() {
    let (ours, mut theirs) = pair().await;
    let outbox = Outbox::new(Sink::Socket(ours));
    let item = framed(Lane::Feed, Codec::Msgpack, &[7; 10_000]);
    let mut taken = 0;
    while outbox.offer(&item) == Offered::Taken {
        taken += 1;
        assert!(taken < 10_000, "never full");
    }
    assert!(outbox.waiting.lock().feed_bytes <= FEED_BACKLOG_BYTES_MAX);
    let (mut read, mut buffer) = (0, vec![0; 1 << 16]);
    while read < taken * item.bytes.len() {
        read += tokio::io::AsyncReadExt::read(&mut theirs, &mut buffer).await.expect("readable");
        let drained = outbox.drain();
        assert!(!drained.state_dropped);
        if drained.feeds_wait {
            break;
        }
    }
    assert_eq!(outbox.offer(&item), Offered::Taken);
    assert!(!outbox.drain().feeds_wait, "said once");
}

#[tokio::test]
async fn a_reader_that_stops_for_long_is_too_slow() {
    let (ours, _theirs) = pair().await;
    let outbox = Outbox::new(Sink::Socket(ours));
    let ack = framed(Lane::Critical, Codec::Msgpack, &[0; 50_000]);
    let mut sent = 0;
    while outbox.send(std::slice::from_ref(&ack)) != Handed::Closed {
        sent += 1;
        assert!(sent < 10_000, "never too slow");
    }
    assert!(outbox.is_too_slow());
}

#[tokio::test]
async fn a_room_that_was_left_sends_nothing_once_a_later_one_has_begun() {
    let (frames_tx, mut frames_rx) = mpsc::unbounded_channel();
    let outbox = Outbox::new(Sink::Channel(frames_tx));
    let frame = framed(Lane::State(Slot::SECTOR), Codec::Msgpack, b"state");
    assert!(outbox.begin_visit(Slot::SECTOR, 1));
    assert_eq!(outbox.send_in(Slot::SECTOR, 1, std::slice::from_ref(&frame)), Handed::Taken);
    // Before it is shown, a later room may answer.
    assert_eq!(outbox.send_in(Slot::SECTOR, 2, std::slice::from_ref(&frame)), Handed::Taken);
    assert_eq!(outbox.send_in(Slot::SECTOR, 1, std::slice::from_ref(&frame)), Handed::Taken);
    assert!(outbox.begin_visit(Slot::SECTOR, 2));
    assert_eq!(outbox.send_in(Slot::SECTOR, 1, std::slice::from_ref(&frame)), Handed::Over);
    assert!(!outbox.begin_visit(Slot::SECTOR, 1), "it was left");
    assert_eq!(outbox.send_in(Slot::SECTOR, 2, std::slice::from_ref(&frame)), Handed::Taken);
    assert_eq!(outbox.send_in(Slot::TEAM, 0, std::slice::from_ref(&frame)), Handed::Taken);
    let sent = std::iter::from_fn(|| frames_rx.try_recv().ok()).count();
    assert_eq!(sent, 5);
}

#[test]
fn nothing_but_the_close_comes_after_the_last_frame() {
    let (frames_tx, mut frames_rx) = mpsc::unbounded_channel();
    let outbox = Outbox::new(Sink::Channel(frames_tx));
    let item = framed(Lane::Feed, Codec::Msgpack, b"item");
    let last = framed(Lane::Critical, Codec::Msgpack, b"elsewhere");
    assert_eq!(outbox.offer(&item), Offered::Taken);
    outbox.send_last(&last);
    assert_eq!(outbox.offer(&item), Offered::Closed);
    outbox.send_last(&item);
    assert_eq!(outbox.send_in(Slot::TEAM, 1, std::slice::from_ref(&item)), Handed::Closed);
    let close = close_frame(4013, "elsewhere");
    outbox.close_with(close.clone());
    let mut written = Vec::new();
    while let Ok(bytes) = frames_rx.try_recv() {
        written.push(bytes);
    }
    assert_eq!(written, [item.bytes, last.bytes, close]);
}
