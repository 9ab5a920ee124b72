//! What is not taken: too many frames, actions, connections. Each is told when to come again; others are served.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use sectorbus::action::{Action, Status};
use sectorbus::ids::Seq;
use sectorbus::protocol::{ClientFrame, Codec, ErrorCode, Hello, Ping, ServerFrame};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::bystander::Bystander;
use crate::raw::{PING, Raw, SOON, connected_from, frame, upgrade_request};
use crate::serving::{Speaking, act, serve_with};

const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

fn status(seq: u64) -> ClientFrame {
    act(seq, Action::Status { status: if seq.is_multiple_of(2) { Status::Away } else { Status::Busy } })
}

fn ping(t: u64) -> ClientFrame {
    ClientFrame::Ping(Ping { t })
}

async fn send_at_once(player: &mut Speaking, frames: impl Iterator<Item = ClientFrame>) {
    let bytes: Vec<u8> = frames.flat_map(|sent| player.framed(&sent)).collect();
    player.raw.write(&bytes).await;
}

/// The next ack, or refusal of an action: its seq and the wait it was told.
async fn answer(player: &mut Speaking) -> Result<Seq, (Seq, Duration)> {
    player
        .until(|frame| match frame {
            ServerFrame::Ack(ack) => Some(Ok(ack.seq)),
            ServerFrame::Error(error) => {
                assert_eq!((error.code, error.retry), (ErrorCode::RateLimited, true), "{}", error.detail);
                let wait = error.retry_after_ms.map(Duration::from_millis).expect("it says when");
                Some(Err((error.seq.expect("it says which"), wait)))
            }
            _ => None,
        })
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_action_above_its_classs_limit_is_not_taken_until_it_is_sent_again_as_told() {
    let server = serve_with(|config| config.actions_per_s = 2).await;
    let mut ann = server.joined("ann", Codec::Json).await;
    send_at_once(&mut ann, (1..=5).map(status)).await;
    let (mut acked, mut refused) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        match answer(&mut ann).await {
            Ok(seq) => acked.push(seq),
            Err(refusal) => refused.push(refusal),
        }
    }
    assert_eq!(acked, [1, 2, 3, 4].map(Seq), "twice the limit at once");
    let (seq, wait) = refused[0];
    assert!(seq == Seq(5) && wait <= Duration::from_millis(501), "{seq} after {wait:?}");
    // A move is of another class.
    ann.act(6, Action::Move { to: "nowhere".parse().expect("a name") }).await;
    ann.until(|frame| matches!(frame, ServerFrame::Reject(reject) if reject.seq == Seq(6)).then_some(())).await;
    tokio::time::sleep(wait).await;
    ann.send(&status(5)).await;
    assert_eq!(answer(&mut ann).await, Ok(Seq(5)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_players_sessions_share_one_limit_of_frames_and_another_player_has_another() {
    let server = serve_with(|config| config.frames_per_s = 10).await;
    let mut bystander = Bystander::at(&server).await;
    let mut phone = server.joined("ann", Codec::Json).await;
    let mut desk = server.joined("ann", Codec::Json).await;
    send_at_once(&mut phone, (0..30).map(ping)).await;
    assert_eq!(phone.error().await.code, ErrorCode::RateLimited);
    // The phone goes on using up what the player has.
    send_at_once(&mut desk, (0..30).map(ping)).await;
    let mut pongs = 0;
    while let ServerFrame::Pong(_) = desk.next().await.expect("open") {
        pongs += 1;
    }
    assert!(pongs < 20, "{pongs} beside all that the phone sent");
    bystander.noticed_nothing().await;
}

/// Sends `flood` until it is closed.
async fn closed_for_flooding(player: &mut Speaking, flood: &[u8]) {
    let (mut reads, mut writes) = player.raw.stream.split();
    let flooding = async {
        while writes.write_all(flood).await.is_ok() {}
        std::future::pending::<()>().await;
    };
    let mut heard = Vec::new();
    let listening = async { while reads.read_buf(&mut heard).await.is_ok_and(|bytes| bytes > 0) {} };
    let ended = async {
        tokio::select! { () = flooding => {}, () = listening => {} }
    };
    tokio::time::timeout(SOON, ended).await.expect("the flood is stopped");
    let close = [&[0x88, 10, 0x0f, 0xab][..], b"flooding"].concat();
    assert!(heard.ends_with(&close), "closed as flooding: {:?}", &heard[heard.len().saturating_sub(20)..]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_goes_on_flooding_is_closed() {
    let server = serve_with(|config| config.frames_per_s = 100).await;
    let mut bystander = Bystander::at(&server).await;
    let mut ann = server.joined("ann", Codec::Json).await;
    let mut bob = server.joined("bob", Codec::Msgpack).await;
    let asking: Vec<u8> = ann.framed(&ping(1)).repeat(100);
    let pinging = frame(PING, b"").repeat(100);
    tokio::join!(closed_for_flooding(&mut ann, &asking), closed_for_flooding(&mut bob, &pinging));
    bystander.noticed_nothing().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_who_only_pings_is_closed_at_once() {
    let server = serve_with(|_| {}).await;
    let mut raw = server.opened("ann", Codec::Json).await;
    raw.write(&frame(PING, b"").repeat(40)).await;
    assert_eq!(raw.closed().await, (4011, "flooding".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_connects_too_often_gets_429_and_others_get_in() {
    let server = serve_with(|config| config.address_handshakes_per_s = 3).await;
    let request = upgrade_request("/ws", &[]);
    let mut kept = Vec::new();
    let refused = loop {
        match Raw::request_from(ELSEWHERE, server.address, &request).await {
            Ok(raw) => kept.push(raw),
            Err(refused) => break refused,
        }
        assert!(kept.len() < 1_000, "never refused");
    };
    assert!(kept.len() >= 6, "{} were let in", kept.len());
    assert_eq!((refused.status, &*refused.body), (429, "too many connections of this address"));
    assert!(refused.head.to_ascii_lowercase().contains("retry-after: 1\r\n"), "{}", refused.head);
    server.joined("ann", Codec::Json).await.still_serves().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    Raw::request_from(ELSEWHERE, server.address, &request).await.expect("let in again after the time it was told");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_with_too_many_silent_connections_gets_no_more_and_others_get_in() {
    let server = serve_with(|config| config.address_half_open_max = 5).await;
    let mut silent = Vec::new();
    for _ in 0..3 {
        silent.push(connected_from(ELSEWHERE, server.address).await);
    }
    // Those that were upgraded and say nothing count as well.
    let mut upgraded = Vec::new();
    for _ in 0..2 {
        let request = upgrade_request("/ws", &[]);
        upgraded.push(Raw::request_from(ELSEWHERE, server.address, &request).await.expect("upgraded"));
    }
    let mut one_more = connected_from(ELSEWHERE, server.address).await;
    let ended = tokio::time::timeout(SOON, one_more.read_u8()).await.expect("it is closed");
    assert!(ended.is_err(), "nothing is said");
    server.joined("ann", Codec::Json).await.still_serves().await;
    drop(silent);
    let again = async { while !is_answered(ELSEWHERE, server.address).await {} };
    tokio::time::timeout(SOON, again).await.expect("there is room when others have gone");
}

async fn is_answered(from: Ipv4Addr, to: SocketAddr) -> bool {
    let mut socket = connected_from(from, to).await;
    socket.write_all(upgrade_request("/ws", &[]).as_bytes()).await.is_ok() && socket.read_u8().await.is_ok()
}

/// Others' flood at the same address is not theirs: they are told when to say hello again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newcomer_at_a_busy_address_waits_and_is_let_in() {
    let server = serve_with(|config| config.address_frames_per_s = 2).await;
    let mut ann = server.joined("ann", Codec::Json).await;
    // The address's frames come back one by one: a slow machine may find one there.
    for _ in 0..100 {
        send_at_once(&mut ann, (1..=5).map(ping)).await;
        ann.error().await;
        let mut bob = server.said_hello("bob", Codec::Json, Hello::default()).await;
        let error = match bob.next().await.expect("not closed") {
            ServerFrame::Error(error) => error,
            _ => continue,
        };
        assert_eq!((error.code, error.retry, error.seq), (ErrorCode::RateLimited, true, None), "{}", error.detail);
        let mut wait = error.retry_after_ms;
        while let Some(ms) = wait.take() {
            tokio::time::sleep(Duration::from_millis(ms)).await;
            bob.send(&ClientFrame::Hello(Hello::default())).await;
            match bob.next().await.expect("not closed") {
                ServerFrame::Error(error) => wait = error.retry_after_ms,
                frame => assert!(matches!(frame, ServerFrame::Welcome(_)), "{frame:?}"),
            }
        }
        return;
    }
    panic!("an address above its limit never refuses a hello");
}
