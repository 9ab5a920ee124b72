//! How connections end that did nothing wrong, or only by being slow, silent or too many.

use std::time::Duration;

use sectorbus::ids::PlayerId;
use sectorbus::log::{Attach, Log};
use sectorbus::protocol::{Change, ChangeBody, ClientFrame, Codec, Hello, ServerFrame};
use sectorbus::value::{Field, Value};
use tokio::io::AsyncReadExt;

use crate::bystander::Bystander;
use crate::raw::{PING, PONG, SOON, Seen, frame};
use crate::serving::{Speaking, serve, serve_with};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bye_is_closed_as_normal_and_the_player_is_gone_at_once() {
    let server = serve().await;
    let mut watcher = server.joined("watcher", Codec::Json).await;
    let mut ann = server.joined("ann", Codec::Json).await;
    let alias = watcher
        .until(|frame| {
            let ServerFrame::Delta(delta) = frame else { return None };
            delta.changes.iter().find(|change| shows(change, Field::PLAYER, "ann")).map(|change| change.entity)
        })
        .await;
    ann.send(&ClientFrame::Bye {}).await;
    assert_eq!(ann.raw.closed().await, (1000, "normal".to_owned()));
    watcher
        .until(|frame| {
            let ServerFrame::Delta(delta) = frame else { return None };
            let gone = |change: &Change| change.entity == alias && change.body == ChangeBody::Removed;
            delta.changes.iter().any(gone).then_some(())
        })
        .await;
}

fn shows(change: &Change, field: Field, text: &str) -> bool {
    let ChangeBody::Set(set) = &change.body else { return false };
    set.iter().any(|(set, value)| *set == field && value.as_ref().and_then(Value::as_text) == Some(text))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_connection_of_the_same_session_supersedes_the_older() {
    let server = serve().await;
    let mut bystander = Bystander::at(&server).await;
    let mut old = server.joined("ann", Codec::Json).await;
    let resume = old.welcome.as_ref().map(|welcome| welcome.resume.clone());
    let mut newer = server.joined_with("ann", Codec::Msgpack, Hello { resume, ..Hello::default() }).await;
    assert_eq!(old.raw.closed().await, (4005, "superseded".to_owned()));
    assert_eq!(old.welcome.map(|w| w.session), newer.welcome.as_ref().map(|w| w.session.clone()));
    newer.still_serves().await;
    bystander.noticed_nothing().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_fifth_session_of_a_player_closes_the_oldest_only() {
    let server = serve().await;
    let mut sessions = Vec::new();
    for _ in 0..4 {
        sessions.push(server.joined("ann", Codec::Json).await);
    }
    for session in &mut sessions {
        session.still_serves().await;
    }
    sessions.push(server.joined("ann", Codec::Json).await);
    let mut oldest = sessions.remove(0);
    assert_eq!(oldest.raw.closed().await, (4005, "superseded".to_owned()));
    for session in &mut sessions {
        session.still_serves().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_connection_is_pinged_and_then_closed() {
    let server = serve_with(|config| config.heartbeat = Duration::from_millis(400)).await;
    let mut bystander = Bystander::at(&server).await;
    let mut silent = server.joined("ann", Codec::Json).await;
    let all = silent.raw.until_the_end().await;
    let ends = matches!(&all[..], [.., Seen::Ping, Seen::Close { code: 4007, .. }, Seen::End]);
    assert!(ends, "{all:?}");
    // One that only answers pings stays.
    let mut answering = server.joined("ann", Codec::Json).await;
    for _ in 0..4 {
        loop {
            match answering.raw.seen().await {
                Seen::Ping => break,
                Seen::Message { .. } => {}
                over => panic!("{over:?}"),
            }
        }
        answering.raw.write(&frame(PONG, b"")).await;
    }
    answering.still_serves().await;
    bystander.noticed_nothing().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_does_not_read_is_closed_as_too_slow() {
    let server = serve().await;
    let mut bystander = Bystander::at(&server).await;
    let mut ann = server.joined("ann", Codec::Json).await;
    // Pongs are critical: they pile up behind a client that asks and does not listen. 5 MB are more than the buffers
    // of two sockets and the outbox.
    for _ in 0..40 {
        ann.raw.write(&frame(PING, &[b'p'; 125]).repeat(1_000)).await;
    }
    bystander.noticed_nothing().await;
    assert_eq!(ann.raw.closed().await, (4006, "too_slow".to_owned()));
    bystander.noticed_nothing().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_sector_says_when_it_is_asked_again_and_lets_in_when_there_is_room() {
    // The sector's own warps and ports count: as many more as one ship.
    let probe = serve().await;
    let first = probe.joined("probe", Codec::Json).await;
    let full = first.snapshot.as_ref().map(|snapshot| snapshot.entities.len()).expect("a first state");
    let server = serve_with(|config| config.entities_per_room_max = full).await;
    let mut ann = server.joined("ann", Codec::Json).await;
    let mut bob = server.said_hello("bob", Codec::Json, Hello::default()).await;
    let notice = bob.until(|frame| if let ServerFrame::RetryAfter(notice) = frame { Some(notice) } else { None }).await;
    assert!(notice.ms > 0);
    ann.still_serves().await;
    ann.send(&ClientFrame::Bye {}).await;
    assert_eq!(ann.raw.closed().await.0, 1000);
    let welcome = bob.welcome().await;
    assert_eq!(welcome.player, PlayerId::new("bob").expect("a name"));
    bob.snapshot().await;
    bob.still_serves().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_draining_node_says_leaving_and_closes_as_draining() {
    let server = serve().await;
    let mut players = Vec::new();
    for name in ["ann", "bob", "cy"] {
        players.push(server.joined(name, Codec::Json).await);
    }
    let (drained, ()) = tokio::join!(tokio::time::timeout(SOON, server.node.drain()), async {
        for player in &mut players {
            assert_left(player).await;
        }
    });
    drained.expect("the drain ends");
}

async fn assert_left(player: &mut Speaking) {
    let leaving =
        player.until(|frame| if let ServerFrame::Leaving(leaving) = frame { Some(leaving) } else { None }).await;
    assert!(leaving.reconnect_after_ms <= 10_000);
    assert_eq!(player.next().await, Err(Seen::Close { code: 1001, reason: "draining".into() }));
    assert_eq!(player.raw.seen().await, Seen::End);
}

/// A killed node says nothing; its clients see the connection end at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_nodes_connections_end() {
    let server = serve().await;
    let mut ann = server.joined("ann", Codec::Json).await;
    server.node.kill();
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(SOON, ann.raw.stream.read_to_end(&mut rest)).await;
    assert!(ended.is_ok(), "the socket is closed");
}

/// Another connection took the session over and died before it joined: nobody else would say that the player is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_superseded_session_whose_heir_never_comes_is_shown_as_link_dead() {
    let server = serve_with(|config| config.grace = Duration::from_millis(200)).await;
    let mut watcher = server.joined("watcher", Codec::Json).await;
    let mut ann = server.joined("ann", Codec::Json).await;
    let welcome = ann.welcome.take().expect("welcomed");
    let heir = Attach {
        player: welcome.player,
        session: welcome.session,
        incarnation: server.node.core().me(),
        counter: 1 << 50,
        replaces: None,
        max: 4,
        start: server.node.core().rules.universe.start(),
        new_actor: false,
    };
    server.region.handle().attach(heir).await.expect("answered").expect("attached");
    assert_eq!(ann.raw.closed().await, (4005, "superseded".to_owned()));
    watcher
        .until(|frame| {
            let ServerFrame::Delta(delta) = frame else { return None };
            delta.changes.iter().any(|change| shows(change, Field::STATUS, "link_dead")).then_some(())
        })
        .await;
}
