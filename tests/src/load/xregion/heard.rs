//! Things said by sessions in one region and heard by sessions in the other, over real sockets on both sides.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use parking_lot::Mutex;
use sectorbus::ids::RoomId;
use sectorbus::protocol::{Codec, ServerFrame};
use sectorbus::said::Said;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::pair::Pair;
use super::{Outcome, XregionArgs};
use crate::cluster::{JWT_SECRET, secret};
use crate::load::chat::speak;
use crate::load::listening::is_delta;
use crate::load::pace::{Latencies, Pace};
use crate::load::player::Player;
use crate::load::progress::Progress;
use crate::load::wire::{Arrived, Sender, Wire};
use crate::mirrored::Verdict;

/// After the last word, for its last delivery.
const LAST_WITHIN: Duration = Duration::from_secs(60);

/// What the listeners heard.
struct Heard {
    /// When each thing was due to be said, by its number.
    due: Mutex<Vec<Instant>>,
    trips: Mutex<Latencies>,
    verdict: Mutex<Verdict>,
}

pub(super) async fn run(args: &XregionArgs, name: &str, outcome: &mut Outcome) -> Result<()> {
    let mut pair = Pair::start(1).await?;
    pair.start_nexus().await?;
    let speakers = join(&pair, 0, "speaker", args.speakers).await?;
    let listeners = join(&pair, 1, "listener", args.listeners).await?;
    let pace = Pace {
        per_s: args.rate,
        warm_up: Duration::from_secs_f64(args.warm_up_s),
        counted: Duration::from_secs_f64(args.seconds),
    };
    let started = Instant::now();
    let heard = Arc::new(Heard {
        due: Mutex::default(),
        trips: Mutex::new(Latencies::new(started + pace.warm_up)),
        verdict: Mutex::default(),
    });
    let (stopped_tx, stopped_rx) = tokio::sync::watch::channel(None);
    let senders: Vec<Sender> = speakers.iter().map(Wire::sender).collect();
    let mut draining = JoinSet::new();
    for wire in speakers {
        draining.spawn(drain(wire));
    }
    let mut listening = JoinSet::new();
    for wire in listeners {
        listening.spawn(listen(wire, heard.clone(), stopped_rx.clone()));
    }
    let speaking = tokio::task::spawn_blocking({
        let heard = heard.clone();
        move || speak(&pace, started, &senders, &heard.due)
    });
    Progress::sleep(format!("{name}: heard"), pace.total()).await;
    let said = speaking.await??;
    ensure!(draining.try_join_next().is_none(), "a speaker lost its connection");
    stopped_tx.send_replace(Some((said, Instant::now() + LAST_WITHIN)));
    while let Some(listened) = listening.join_next().await {
        listened??;
    }
    outcome.verdict.add(*heard.verdict.lock());
    outcome.rss_bytes = outcome.rss_bytes.max(pair.nexus_rss_bytes()?);
    outcome.latencies = Some(heard.trips.lock().micros().clone());
    Ok(())
}

/// Sessions in one region that read feeds: only they may speak.
async fn join(pair: &Pair, region: usize, name: &str, count: usize) -> Result<Vec<Wire>> {
    let node = pair.regions[region].nodes.first().context("a node in each region")?;
    let mut wires = Vec::with_capacity(count);
    for n in 0..count {
        let mut player = Player::new(&format!("{name}{n}"), "1", &secret(JWT_SECRET))?;
        player.client.heard.wanted = true;
        player.connect(node.address).await?;
        while !player.client.heard.cursors.contains_key(&RoomId::Global) {
            player.next().await?;
        }
        wires.push(player.into_wire()?.wire);
    }
    Ok(wires)
}

/// Until the connection ends.
async fn drain(mut wire: Wire) {
    loop {
        match wire.next().await {
            Ok(Arrived::Message(_)) => {}
            Ok(Arrived::Ping(payload)) if wire.sender().pong(&payload).is_ok() => {}
            _ => return,
        }
    }
}

type Stopped = tokio::sync::watch::Receiver<Option<(u64, Instant)>>;

/// Takes what one session hears until it has all that was said, or time is up for it.
async fn listen(mut wire: Wire, heard: Arc<Heard>, mut stopped_rx: Stopped) -> Result<()> {
    let (mut numbers, mut last) = (HashSet::new(), None);
    let mut verdict = Verdict::default();
    loop {
        let stopped = *stopped_rx.borrow_and_update();
        if stopped.is_some_and(|(said, _)| numbers.len() as u64 >= said) {
            break;
        }
        let until = stopped.map_or_else(|| Instant::now() + LAST_WITHIN, |(_, until)| until);
        let arrived = tokio::select! {
            _ = stopped_rx.changed(), if stopped.is_none() => continue,
            arrived = wire.next() => arrived?,
            () = tokio::time::sleep_until(until), if stopped.is_some() => break,
        };
        match arrived {
            Arrived::Message(payload) if is_delta(&payload) => {}
            Arrived::Message(payload) => {
                let Ok(ServerFrame::Item(item)) = ServerFrame::decode(Codec::Msgpack, &payload) else { continue };
                let Said::Chat(chat) = &item.said else { continue };
                let number = chat.text.parse::<usize>().unwrap_or(usize::MAX);
                let Some(due) = heard.due.lock().get(number).copied() else {
                    verdict.strange += 1;
                    continue;
                };
                heard.trips.lock().answered(due);
                verdict.duplicated += u64::from(!numbers.insert(number));
                // Sockets of several speakers are read in any order: only what one says has one.
                verdict.disordered += u64::from(last.is_some_and(|last| item.id <= last));
                last = Some(item.id);
            }
            Arrived::Ping(payload) => wire.sender().pong(&payload)?,
            Arrived::Closed(code, reason) => anyhow::bail!("a listener was closed: {code} {reason}"),
            Arrived::Ended => anyhow::bail!("a listener lost its connection"),
        }
    }
    let said = heard.due.lock().len() as u64;
    verdict.lost += said - numbers.len() as u64;
    heard.verdict.lock().add(verdict);
    Ok(())
}
