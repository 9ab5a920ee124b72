//! Broken rules and sequence rules: each is a `reject` with its code and facts, asked for and answered by real frames.

use std::time::Duration;

use sectorbus::action::{Action, RejectCode, Status};
use sectorbus::ids::{EntryId, PlayerId, RoomId, SectorId, Seq};
use sectorbus::limits::{ACTORS_KEPT, DEDUPE_ANSWERS_KEPT, DEDUPE_BITMAP_BITS, INT_ABS_MAX};
use sectorbus::protocol::{Codec, Hello, Reject, ServerFrame, Source};
use sectorbus::value::{Field, Value};

use crate::bystander::Bystander;
use crate::serving::{Speaking, serve, serve_with};

/// How far above and below the highest decided seq one may be.
const WINDOW: u64 = DEDUPE_BITMAP_BITS;
/// Answers that are repeated as they were.
const KEPT: u64 = DEDUPE_ANSWERS_KEPT as u64;
const AWAY: Action = Action::Status { status: Status::Away };

/// What became of `seq`: the answer frame.
async fn answer_of(speaking: &mut Speaking, seq: u64) -> Result<u64, Reject> {
    speaking
        .until(|frame| match frame {
            ServerFrame::Ack(ack) if ack.seq == Seq(seq) => Some(Ok(ack.version)),
            ServerFrame::Reject(reject) if reject.seq == Seq(seq) => Some(Err(reject)),
            _ => None,
        })
        .await
}

async fn asked(speaking: &mut Speaking, seq: u64, action: Action) -> Result<(), RejectCode> {
    speaking.act(seq, action).await;
    answer_of(speaking, seq).await.map(drop).map_err(|reject| reject.code)
}

fn first_warp(speaking: &Speaking) -> SectorId {
    let snapshot = speaking.snapshot.as_ref().expect("a first state");
    let to = snapshot.entities.iter().find_map(|entity| entity.fields.get(&Field::TO)?.as_text()?.parse().ok());
    to.expect("a sector has warps")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broken_rules_are_rejected_with_code_and_facts() {
    let server = serve_with(|config| config.move_cool_down = Duration::from_secs(3600)).await;
    let mut bystander = Bystander::at(&server).await;
    let mut ann = server.joined("ann", Codec::Json).await;
    let here = ann.snapshot.as_ref().map(|snapshot| snapshot.sector.clone()).expect("a first state");
    let nowhere: SectorId = "nowhere".parse().expect("a name");
    assert_eq!(asked(&mut ann, 1, Action::Move { to: nowhere }).await, Err(RejectCode::NoWarp));
    assert_eq!(asked(&mut ann, 2, Action::Move { to: here.clone() }).await, Err(RejectCode::NoWarp));
    let to = first_warp(&ann);
    assert_eq!(asked(&mut ann, 3, Action::Move { to }).await, Ok(()));
    let moved = ann.until(|frame| if let ServerFrame::Moved(moved) = frame { Some(moved) } else { None }).await;
    assert_eq!(moved.from, here);
    ann.act(4, Action::Move { to: here }).await;
    let reject = answer_of(&mut ann, 4).await.expect_err("cooling down");
    assert_eq!(reject.code, RejectCode::CoolingDown);
    let ready_at = moved.snapshot.own.get(&Field::READY_AT).and_then(Value::as_int).expect("own field");
    let int = |name: &str| reject.facts.get(name).and_then(Value::as_int).expect("a fact");
    assert_eq!(int("ready_at"), ready_at);
    assert!(int("now") < ready_at && ready_at - int("now") <= 3_600_000);
    bystander.noticed_nothing().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_seq_too_far_ahead_or_behind_does_not_run() {
    let server = serve().await;
    let mut ann = server.joined("ann", Codec::Msgpack).await;
    assert_eq!(asked(&mut ann, WINDOW + 1, AWAY).await, Err(RejectCode::TooFar), "up to WINDOW are in the window");
    assert_eq!(asked(&mut ann, WINDOW, AWAY).await, Ok(()));
    assert_eq!(asked(&mut ann, 1, AWAY).await, Ok(()), "skipped, not over");
    assert_eq!(asked(&mut ann, 2 * WINDOW + 1, AWAY).await, Err(RejectCode::TooFar));
    assert_eq!(asked(&mut ann, 2 * WINDOW, AWAY).await, Ok(()));
    assert_eq!(asked(&mut ann, WINDOW - 1, AWAY).await, Err(RejectCode::TooOld));
    assert_eq!(asked(&mut ann, 1, AWAY).await, Err(RejectCode::TooOld));
    assert_eq!(asked(&mut ann, WINDOW + 1, AWAY).await, Ok(()), "too far before, in the window now");
    assert_eq!(asked(&mut ann, INT_ABS_MAX.unsigned_abs(), AWAY).await, Err(RejectCode::TooFar));
    ann.still_serves().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_known_answer_is_repeated_and_a_forgotten_one_is_already() {
    let server = serve().await;
    let mut ann = server.joined("ann", Codec::Json).await;
    let nowhere: SectorId = "nowhere".parse().expect("a name");
    assert_eq!(asked(&mut ann, 1, AWAY).await, Ok(()));
    let (rejected, acked) = (KEPT - 6, KEPT - 7);
    for seq in 2..=acked {
        assert_eq!(asked(&mut ann, seq, AWAY).await, Ok(()));
    }
    assert_eq!(asked(&mut ann, rejected, Action::Move { to: nowhere }).await, Err(RejectCode::NoWarp));
    // The same seq never runs again, whatever it says now.
    assert_eq!(asked(&mut ann, rejected, AWAY).await, Err(RejectCode::NoWarp));
    assert_eq!(asked(&mut ann, acked, AWAY).await, Ok(()));
    for seq in rejected + 1..=KEPT {
        assert_eq!(asked(&mut ann, seq, AWAY).await, Ok(()));
    }
    assert_eq!(asked(&mut ann, 1, AWAY).await, Ok(()), "the last of those that are kept");
    // The rejection is in no entry and kept apart: it takes no place from the others.
    for seq in KEPT + 1..=KEPT + 2 {
        assert_eq!(asked(&mut ann, seq, AWAY).await, Ok(()));
    }
    assert_eq!(asked(&mut ann, 1, AWAY).await, Err(RejectCode::Already), "one more than are kept");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_unanswered_actions_than_the_window_are_refused_one_by_one() {
    let server = serve().await;
    let mut ann = server.joined("ann", Codec::Msgpack).await;
    server.region.unavailable(Duration::from_secs(2));
    let burst: Vec<u8> = (1..=2 * WINDOW + 4).flat_map(|seq| ann.framed(&crate::serving::act(seq, AWAY))).collect();
    ann.raw.write(&burst).await;
    let mut refused = Vec::new();
    while refused.len() < 4 {
        refused.push(ann.error().await.seq.expect("an act's"));
    }
    assert_eq!(refused, [1, 2, 3, 4].map(|n| Seq(2 * WINDOW + n)));
    // Back again: each of the others is answered once.
    let mut answered = std::collections::BTreeMap::new();
    while answered.len() < 2 * WINDOW as usize {
        let (seq, code) = ann
            .until(|frame| match frame {
                ServerFrame::Ack(ack) => Some((ack.seq, None)),
                ServerFrame::Reject(reject) => Some((reject.seq, Some(reject.code))),
                _ => None,
            })
            .await;
        assert_eq!(answered.insert(seq, code), None, "{seq:?} is answered twice");
    }
    assert!(answered.values().all(|code| code.is_none()), "{answered:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_actor_that_was_forgotten_meanwhile_is_unknown() {
    let server = serve().await;
    let mut old = server.joined("ann", Codec::Json).await;
    assert_eq!(asked(&mut old, 1, AWAY).await, Ok(()));
    // As many more clients of this player as are known, one after the other on one session.
    let mut resume = None;
    for _ in 0..ACTORS_KEPT {
        let hello = Hello { resume: resume.take(), ..Hello::default() };
        let mut newer = server.joined_with("ann", Codec::Json, hello).await;
        assert_eq!(asked(&mut newer, 1, AWAY).await, Ok(()));
        resume = newer.welcome.map(|welcome| welcome.resume);
    }
    assert_eq!(asked(&mut old, 2, AWAY).await, Err(RejectCode::UnknownActor));
    old.still_serves().await;
    // As the page says: again, without actor, from 1.
    let resume = old.welcome.map(|welcome| welcome.resume);
    let mut fresh = server.joined_with("ann", Codec::Json, Hello { resume, ..Hello::default() }).await;
    assert_eq!(asked(&mut fresh, 1, AWAY).await, Ok(()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replaced_session_that_missed_the_news_cannot_act() {
    let server = serve().await;
    let mut old = server.joined("ann", Codec::Json).await;
    let resume = old.welcome.as_ref().map(|welcome| welcome.resume.clone());
    // The publish that would close it is lost.
    server.region.drop_publishes(&RoomId::Player(PlayerId::new("ann").expect("a name")), 1);
    let mut newer = server.joined_with("ann", Codec::Json, Hello { resume, ..Hello::default() }).await;
    assert_eq!(asked(&mut old, 1, AWAY).await, Err(RejectCode::StaleSession));
    assert_eq!(asked(&mut newer, 1, AWAY).await, Ok(()));
}

/// The log has the cursor; that what an ack named is there too is what `recovered` promises.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ack_above_the_cursor_is_kept_only_if_the_log_has_it() {
    let server = serve().await;
    let mut first = server.joined("ann", Codec::Json).await;
    let shown = first.snapshot.take().expect("a snapshot");
    assert_eq!(asked(&mut first, 1, AWAY).await, Ok(()));
    let back_with = async |acked_above: Option<u64>| {
        let acked = acked_above.map(|above| EntryId::new(shown.id.epoch, shown.id.version + above));
        let hello = Hello { cursor: Some(shown.id), sector: Some(shown.sector.clone()), acked, ..Hello::default() };
        let mut back = server.said_hello("ann", Codec::Json, hello).await;
        back.welcome().await
    };
    let (kept, lost) = ((true, Source::Replica), (false, Source::Snapshot));
    for (acked_above, expected) in [(None, kept), (Some(1), kept), (Some(1_000_000), lost)] {
        let welcome = back_with(acked_above).await;
        assert_eq!((welcome.recovered, welcome.source), expected, "{acked_above:?}");
        let head = welcome.head.filter(|head| head.epoch == shown.id.epoch && head.version > shown.id.version);
        assert_eq!(head.is_some(), welcome.recovered, "how far what follows reaches: {:?}", welcome.head);
    }
}
