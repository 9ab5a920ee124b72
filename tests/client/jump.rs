//! The built client jumps from one region to another and back, over real nodes, Redis servers and a nexus.

use std::collections::BTreeSet;

use anyhow::Result;
use sectorbus::ids::Hop;
use sectorbus_tests::cluster::token;
use sectorbus_tests::folder::Folder;
use sectorbus_tests::mirrored::Feeds;
use sectorbus_tests::nexuses::{NexusFile, NexusProcess};
use sectorbus_tests::redis_server::{RedisOptions, RedisServer};
use sectorbus_tests::region::Region;
use serde::Deserialize;
use serde_json::json;

use crate::script::{self, Script};

const ELSEWHERE: u16 = 4013;
const HOUR_S: i64 = 3_600;
/// Name, how far its clock is ahead, and its gate: each leads to where the other one is.
const REGIONS: [(&str, i64, &str); 2] = [("eu", 2 * HOUR_S, "1 us:3"), ("us", 0, "3 eu:1")];
const JUMPS: [&str; 2] = ["us:3", "eu:1"];
/// Asked for while the player is on the way, per jump.
const STATUSES: usize = 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_in_msgpack_jumps_to_another_region_and_back_on_redis() -> Result<()> {
    jumps_and_plays_on("msgpack").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_in_json_jumps_to_another_region_and_back_on_redis() -> Result<()> {
    jumps_and_plays_on("json").await
}

/// What `jump.mjs` was told.
#[derive(Debug, Deserialize)]
struct Told {
    /// Every promise that was kept: the action's seq, and `ack` or a reject code.
    answers: Vec<(u64, String)>,
    /// With the sector.
    regions: Vec<(String, Option<String>)>,
    drops: Vec<u16>,
    /// Names of nodes.
    reconnects: Vec<String>,
    /// At every state.
    sessions: BTreeSet<String>,
    actors: BTreeSet<u64>,
    sectors: Vec<String>,
    /// Kind of event, room, code.
    observed: Vec<(String, String, Option<String>)>,
    hop_before: u64,
    hop: u64,
    verified: bool,
    pending: usize,
    left: String,
}

async fn jumps_and_plays_on(codec: &str) -> Result<()> {
    if !script::node_js_is_there() {
        return Ok(());
    }
    let mut regions = Vec::new();
    for (name, clock_ahead_s, gate) in REGIONS {
        let mut region = Region::on_redis(RedisOptions { clock_ahead_s, ..RedisOptions::default() }).await?;
        let settings = region.settings(&format!("{name}-1")).with("region", name).with("gates", gate);
        region.add(settings).await?;
        Feeds::connect(&region.redis.url(), name, "test").await?.bridged().await?;
        regions.push(region);
    }
    let hub = RedisServer::start(RedisOptions::default()).await?;
    let tables = REGIONS.iter().zip(&regions).map(|((name, ..), region)| {
        let (redis, address) = (region.redis.url(), region.nodes[0].address());
        format!("[[region]]\nname = \"{name}\"\nredis_url = \"{redis}\"\naddress = \"ws://{address}\"\n")
    });
    let file = NexusFile { hub: hub.url(), more: tables.collect(), ..NexusFile::default() };
    let folder = Folder::new("jump")?;
    let nexus = NexusProcess::start("x1", &file, folder.path()).await?;

    let urls = |at: usize| json!([format!("ws://{}/ws", regions[at].nodes[0].address())]);
    let play = json!({
        "urls": urls(0), "token": token("ann"), "codec": codec, "jumps": JUMPS, "statuses": STATUSES,
        "resident": { "urls": urls(1), "token": token("bob") },
    });
    let mut script = Script::start("jump.mjs", &play)?;
    let told: Told = script.next().await?;
    script.ended().await?;
    assert_is_as_promised(&told);
    anyhow::ensure!(!nexus.log_text().contains("panicked"), "{}", nexus.log_text());
    regions.into_iter().try_for_each(Region::passed)
}

fn assert_is_as_promised(told: &Told) {
    let seqs: BTreeSet<u64> = told.answers.iter().map(|(seq, _)| *seq).collect();
    assert_eq!(seqs, (1..=told.answers.len() as u64).collect(), "one answer to each action: {told:?}");
    assert!(told.answers.len() >= JUMPS.len() * (STATUSES + 2), "{told:?}");
    let refused: BTreeSet<&str> =
        told.answers.iter().map(|(_, code)| code.as_str()).filter(|code| *code != "ack").collect();
    // `already`: it ran, and only its answer was overtaken.
    assert!(refused.iter().all(|code| ["cooling_down", "already"].contains(code)), "{told:?}");

    let arrived = JUMPS.map(|to| to.split_once(':').expect("<region>:<sector>"));
    let regions = arrived.map(|(region, sector)| (region.to_owned(), Some(sector.to_owned())));
    assert_eq!(told.regions, regions, "{told:?}");
    assert_eq!(
        (told.drops.as_slice(), told.reconnects.as_slice()),
        ([ELSEWHERE; 2].as_slice(), ["us-1".to_owned(), "eu-1".to_owned()].as_slice()),
        "{told:?}"
    );
    assert_eq!((told.sessions.len(), told.actors.len()), (1, 1), "the session and the actor go on: {told:?}");
    assert_eq!(told.sectors, ["1", "3", "1"], "{told:?}");
    let hop = JUMPS.iter().fold(Hop(told.hop_before), |hop, _| hop.after_jump());
    assert_eq!(Hop(told.hop), hop, "each jump ran once: {told:?}");
    // What was observed of the region where the player is now is not observed there.
    for of in ["global@us", "global@eu"] {
        let ended = ("ended".to_owned(), of.to_owned(), Some("not_there".to_owned()));
        assert!(told.observed.contains(&("state".to_owned(), of.to_owned(), None)), "{told:?}");
        assert!(told.observed.contains(&ended), "{told:?}");
    }
    assert_eq!((told.verified, told.pending, told.left.as_str()), (true, 0, "normal"), "{told:?}");
}
