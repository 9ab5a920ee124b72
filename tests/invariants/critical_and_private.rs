//! Invariant 9: while a session lives nothing critical to it is dropped; nothing private reaches another.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use sectorbus::action::{Action, Status};
use sectorbus::ids::ActorId;
use sectorbus::limits::STATE_BACKLOG_BYTES_MAX;
use sectorbus::protocol::{ChangeBody, CloseCode, Codec, ServerFrame, Snapshot, SnapshotReason};
use sectorbus::value::{Field, Value};
use sectorbus_tests::oracle;
use sectorbus_tests::region::{Region, node_sees};
use sectorbus_tests::traffic::Mix;
use sectorbus_tests::wire::{Player, PlayerOptions, Told};

use crate::support::{self, SOON};

fn heard_bytes(told: &Told) -> usize {
    told.heard.iter().flatten().map(Bytes::len).sum()
}

/// A client that does not read while its room is busy: states are replaced by one snapshot, every ack arrives.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_gets_every_ack_and_one_snapshot_on_redis() -> Result<()> {
    const ACTS: usize = 50;
    let fast = |settings: sectorbus_tests::processes::NodeSettings| settings.with("realtime_frames_per_s", 0);
    let region = Region::start_with(&["a", "b"], fast).await?;
    let players = support::crowd_in(&region, 30, &oracle::universe().start()).await?;
    let options = PlayerOptions { codec: Codec::Json, small_pipe: true, ..PlayerOptions::default() };
    let slow = Player::start("slow", &region.addresses(), options);
    slow.settled(SOON).await?;
    let witness = PlayerOptions { codec: Codec::Json, keep_heard: true, ..PlayerOptions::default() };
    let witness = Player::start("witness", &region.addresses(), witness);
    witness.settled(SOON).await?;
    slow.stop_reading();
    let traffic = support::traffic(&players, Mix { actions_per_s: 500, moves: 0, seed: support::seed() });
    // What the witness hears, the slow one would have to: in the end far more than may wait for it.
    for step in 1..=ACTS {
        slow.act(Action::Status { status: if step % 2 == 0 { Status::Busy } else { Status::Away } });
        let enough = step * (4 * STATE_BACKLOG_BYTES_MAX / ACTS);
        witness.until(SOON, "more traffic", |told| heard_bytes(told) >= enough).await?;
    }
    traffic.stop().await;
    assert_eq!(slow.told().client.answers.len(), 0, "it did not read");
    slow.read_on();
    slow.settled(SOON).await?;
    slow.until(SOON, "a snapshot instead of what was dropped", |told| {
        told.client.snapshots.contains(&SnapshotReason::Slow)
    })
    .await?;
    assert_eq!(slow.told().connections, 1, "slow, not too slow: {:?}", slow.told().closes);
    assert_eq!(slow.told().client.acked().count(), ACTS);
    let mut all: Vec<Player> = Arc::into_inner(players).context("the traffic has ended")?;
    all.extend([slow, witness]);
    let audit = support::settled_audit(&region, &all).await?;
    assert_eq!(oracle::breaches(&audit, &all), Vec::<String>::new());
    region.passed()
}

fn contains(heard: &[Bytes], needle: &[u8]) -> bool {
    heard.iter().any(|payload| payload.windows(needle.len()).any(|window| window == needle))
}

/// Fields of others that a frame shows.
fn shown_fields(codec: Codec, payload: &Bytes) -> Vec<Field> {
    let frame = ServerFrame::decode(codec, payload).expect("a frame of the protocol");
    let of_snapshot =
        |snapshot: Snapshot| snapshot.entities.into_iter().flat_map(|entity| entity.fields.into_keys()).collect();
    match frame {
        ServerFrame::Snapshot(snapshot) => of_snapshot(*snapshot),
        ServerFrame::Moved(moved) => of_snapshot(moved.snapshot),
        ServerFrame::Delta(delta) => {
            let sets = delta.changes.into_iter().filter_map(|change| match change.body {
                ChangeBody::Set(set) => Some(set),
                ChangeBody::Removed => None,
            });
            sets.flatten().map(|(field, _)| field).collect()
        }
        _ => Vec::new(),
    }
}

/// What a frame says, without the fields that are times by their meaning and not anybody's secret: numbers that the
/// region's clock gives (epochs, actors), `now_ms`, `last_seen`, and when the listener's own drive is ready.
fn without_public_times(codec: Codec, payload: &Bytes, mine: &[Value]) -> Bytes {
    let mut frame = ServerFrame::decode(codec, payload).expect("a frame of the protocol");
    let of_snapshot = |snapshot: &mut Snapshot| {
        snapshot.id.epoch = 0;
        snapshot.marks.iter_mut().for_each(|marks| marks.actor = ActorId(0));
        snapshot.entities.iter_mut().for_each(|entity| drop(entity.fields.remove(&Field::LAST_SEEN)));
        snapshot.own.retain(|field, value| *field != Field::READY_AT || !mine.contains(value));
    };
    match &mut frame {
        ServerFrame::Welcome(welcome) => {
            (welcome.actor, welcome.now_ms) = (ActorId(0), 0);
            welcome.pending.iter_mut().for_each(|marks| marks.actor = ActorId(0));
        }
        ServerFrame::Snapshot(snapshot) => of_snapshot(snapshot),
        ServerFrame::Moved(moved) => of_snapshot(&mut moved.snapshot),
        ServerFrame::Owner(owner) => owner.epoch = 0,
        ServerFrame::Room(room) => room.id.epoch = 0,
        ServerFrame::Pong(pong) => pong.now_ms = 0,
        ServerFrame::Own(own) => {
            let is_mine = |value: &Option<Value>| value.as_ref().is_some_and(|value| mine.contains(value));
            own.set.retain(|(field, value)| *field != Field::READY_AT || !is_mine(value));
        }
        ServerFrame::Delta(delta) => {
            for change in &mut delta.changes {
                if let ChangeBody::Set(set) = &mut change.body {
                    set.retain(|(field, _)| *field != Field::LAST_SEEN);
                }
            }
        }
        _ => {}
    }
    frame.encode(codec)
}

/// Players fly in and out of each other's sight over two nodes; then every byte each of them heard is searched for what
/// only the others may know.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_hears_what_is_anothers_own_on_redis() -> Result<()> {
    const MOVES: usize = 8;
    // Shorter than a round, and set all the same: every move makes a secret.
    let region = Region::start_with(&["a", "b"], |settings| settings.with("move_cool_down_ms", 1)).await?;
    let mut nodes = region.addresses();
    let codecs = [Codec::Json, Codec::Msgpack, Codec::Json, Codec::Msgpack];
    let players = codecs.iter().enumerate().map(|(n, codec)| {
        nodes.rotate_left(1);
        let options = PlayerOptions { codec: *codec, keep_heard: true, ..PlayerOptions::default() };
        Player::start(&format!("p{n}"), &nodes, options)
    });
    let players: Vec<Player> = players.collect();
    let mut secrets: Vec<Vec<Value>> = vec![Vec::new(); players.len()];
    for player in &players {
        player.settled(SOON).await?;
    }
    for round in 0..MOVES {
        for (player, secrets) in players.iter().zip(&mut secrets) {
            // All the same way, so that they meet.
            let to = player.told().client.view.as_ref().and_then(|view| view.warps().first().cloned());
            player.act(Action::Move { to: to.context("a warp")? });
            player.until(SOON, "moved", |told| told.client.moves.len() > round).await?;
            let ready_at = player.told().client.view.as_ref().and_then(|view| view.own.get(&Field::READY_AT).cloned());
            secrets.extend(ready_at);
        }
    }
    let audit = support::settled_audit(&region, &players).await?;
    assert_eq!(oracle::breaches(&audit, &players), Vec::<String>::new());
    for (listener, codec) in players.iter().zip(codecs) {
        let heard = listener.told().heard.clone().context("heard is kept")?;
        for payload in &heard {
            let fields = shown_fields(codec, payload);
            assert!(!fields.contains(&Field::CREDITS) && !fields.contains(&Field::READY_AT), "{fields:?}");
        }
        let mine = &secrets[players.iter().position(|player| player.name == listener.name).context("a listener")?];
        let said: Vec<Bytes> = heard.iter().map(|payload| without_public_times(codec, payload, mine)).collect();
        for (other, secrets) in players.iter().zip(&secrets).filter(|(other, _)| other.name != listener.name) {
            assert_eq!(secrets.len(), MOVES, "{} has secrets: {secrets:?}", other.name);
            for secret in secrets.iter().filter_map(Value::as_int) {
                let (text, number) = (secret.to_string(), secret.to_be_bytes());
                let leaked = contains(&said, text.as_bytes()) || contains(&said, &number[2..]);
                assert!(!leaked, "{} heard when {}'s drive is ready ({secret})", listener.name, other.name);
            }
            let resume = other.told().client.resume.clone().context("a resume token")?;
            assert!(!contains(&heard, resume.reveal().as_bytes()), "{} heard {}'s token", listener.name, other.name);
        }
    }
    region.passed()
}

/// A planned leave under load: players are told, resume elsewhere, and no answer is lost on the way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_sent_away_loses_no_answer_on_redis() -> Result<()> {
    let mut region = Region::start(&["a", "b", "c"]).await?;
    let players = support::crowd(&region, 30).await?;
    let traffic = support::traffic(&players, Mix { actions_per_s: 300, moves: 5, seed: support::seed() });
    support::answered(&players, 600, SOON).await?;
    let owner = region.position(&support::owner_shown_to(&players[0]));
    let leaver = region.nodes[owner].name().to_owned();
    let on_it = players.iter().filter(|player| player.told().node == leaver).count();
    assert!(on_it > 0, "nobody is on {leaver}");
    region.nodes[owner].send_away()?;
    let status = region.nodes[owner].ended(Duration::from_secs(40)).await?;
    assert_eq!(status.code(), Some(0), "{status}");
    let answers = support::answers(&players);
    support::answered(&players, answers + 900, SOON).await?;
    traffic.stop().await;
    for node in region.nodes.iter().enumerate().filter(|(n, _)| *n != owner).map(|(_, node)| node) {
        node_sees(node, 2).await?;
    }
    let audit = support::settled_audit(&region, &players).await?;
    assert_eq!(oracle::breaches(&audit, &players), Vec::<String>::new());
    let draining = CloseCode::Draining.number();
    let sent_away = players.iter().filter(|player| player.told().sent_away > 0).count();
    let closed = players.iter().filter(|player| player.told().closes.iter().any(|(code, _)| *code == draining)).count();
    assert_eq!((sent_away, closed), (on_it, on_it), "everybody on it is told, then closed");
    for player in players.iter() {
        let told = player.told();
        let others = told.closes.iter().filter(|(code, _)| *code != draining).count();
        assert_eq!(others, 0, "{}: {:?}", player.name, told.closes);
        assert!(!told.reasons.contains(&SnapshotReason::Lost), "{}: nothing is lost", player.name);
        // A cursor of the sector before the last move proves nothing about the sector after it.
        let stayed = !told.actions.iter().any(|(_, action)| matches!(action, Action::Move { .. }));
        let recovered = told.client.welcomes.iter().skip(1).all(|welcome| welcome.recovered);
        assert!(recovered || !stayed, "{}: resumes where it was: {:?}", player.name, told.client.welcomes);
    }
    region.passed()
}
