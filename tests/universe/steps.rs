//! The steps of a jump, as the Redis servers of the two regions and redis-nexus show them, and what keeps a jump from going further
//! than one of them for as long as a test likes.

use anyhow::{Context, Result, ensure};
use redis::aio::MultiplexedConnection;
use sectorbus::ids::Hop;
use sectorbus_tests::proxy::Weather;
use sectorbus_tests::redis_server::RedisServer;
use sectorbus_tests::universe::{Member, Universe};
use sectorbus_tests::waiting;

use crate::traffic::SOON;

/// How far a jump has come, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Step {
    /// The region that is left says so, and redis-nexus does not know.
    Offered,
    /// Redis-nexus has a register, which nobody has taken.
    Registered,
    /// It is taken, and no node of the other region knows.
    Taken,
    /// They could know; none has looked.
    Brought,
    /// The other region has the player, and redis-nexus does not know.
    Landed,
    /// Redis-nexus knows, and the region that was left does not.
    Arrived,
    /// Its Redis knows, its nodes do not.
    Told,
    /// It has forgotten the jump and says where the player is; the client has not gone there.
    Left,
    /// The client has.
    Redeemed,
}

pub(crate) const STEPS: [Step; 9] = [
    Step::Offered,
    Step::Registered,
    Step::Taken,
    Step::Brought,
    Step::Landed,
    Step::Arrived,
    Step::Told,
    Step::Left,
    Step::Redeemed,
];

/// One jump of one player.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Trip {
    pub(crate) player: &'static str,
    pub(crate) from: &'static str,
    pub(crate) to: &'static str,
    /// That the player will have.
    pub(crate) hop: Hop,
}

impl Trip {
    fn name(&self) -> String {
        format!("{}:{}", self.player, self.hop)
    }

    /// Keeps it from going beyond a step that it has not come to.
    pub(crate) fn hold(&self, universe: &Universe, at: Step) -> Result<()> {
        let (from, to) = (universe.member(self.from), universe.member(self.to));
        match at {
            Step::Offered => universe.hub_link.set(Weather::StopsAt("{hub}:jump:ann:")),
            Step::Registered => universe.hub_link.set(Weather::StopsAt("\r\ntake\r\n")),
            Step::Taken => to.link.set(Weather::StopsAt("{jumps}:coming")),
            Step::Brought => freeze(to)?,
            Step::Landed => universe.hub_link.set(Weather::StopsAt("\r\narrive\r\n")),
            // The link looks at this before it says anything.
            Step::Arrived => from.link.set(Weather::StopsAt("{player:ann}:at")),
            Step::Told => freeze(from)?,
            // The client goes when it is sent.
            Step::Left | Step::Redeemed => {}
        }
        Ok(())
    }

    /// Lets it go on; what keeps it at the step after this stands already.
    pub(crate) async fn release(&self, universe: &mut Universe, at: Step) -> Result<()> {
        match at {
            // The next step is held by the same link.
            Step::Offered => universe.hub_link.cut(),
            Step::Registered | Step::Landed => {
                universe.hub_link.set(Weather::Fine);
                universe.hub_link.cut();
            }
            Step::Taken | Step::Arrived => {
                let link = &universe.member(if at == Step::Taken { self.to } else { self.from }).link;
                link.set(Weather::Fine);
                link.cut();
            }
            Step::Brought | Step::Told => {
                let nodes = &universe.member(if at == Step::Brought { self.to } else { self.from }).region;
                nodes.running().try_for_each(|node| node.thaw())?;
            }
            Step::Left | Step::Redeemed => {}
        }
        Ok(())
    }

    /// Waits until it has come to a step. Of [`Step::Redeemed`] only the client knows.
    pub(crate) async fn comes_to(&self, universe: &Universe, step: Step) -> Result<()> {
        let mut seen = self.look(universe).await?;
        let waiting = waiting::until_async(SOON, "it goes on", async || {
            seen = self.look(universe).await?;
            ensure!(seen.register.as_deref() != Some("cancelled"), "nobody took it for 30 s");
            Ok(match step {
                Step::Offered => seen.fate.is_some(),
                Step::Registered => seen.register.is_some(),
                Step::Taken => seen.register.as_deref() == Some("taken"),
                Step::Brought => seen.is_coming,
                Step::Landed => seen.has_come,
                Step::Arrived => seen.register.as_deref() == Some("arrived"),
                Step::Told => seen.fate.as_deref() == Some("arrived"),
                Step::Left | Step::Redeemed => seen.fate.is_none() && seen.has_left_for.as_deref() == Some(self.to),
            })
        });
        let waited = waiting.await;
        waited.with_context(|| format!("{self:?} does not come to {step:?}: {seen:?}"))
    }

    async fn look(&self, universe: &Universe) -> Result<Seen> {
        let (from, to, name) = (universe.member(self.from), universe.member(self.to), self.name());
        let [mut source, mut target, mut hub] = [
            connection(&from.region.redis).await?,
            connection(&to.region.redis).await?,
            connection(&universe.hub).await?,
        ];
        let (out, there) = (format!("sb:{}:{{jumps}}:", self.from), format!("sb:{}:{{jumps}}:", self.to));
        let at = format!("sb:{}:{{player:{}}}:at", self.from, self.player);
        let score = |set: &str| redis::cmd("ZSCORE").arg(format!("{there}{set}")).arg(&name).to_owned();
        let is_coming: Option<String> = score("coming").query_async(&mut target).await?;
        let has_come: Option<String> = score("came").query_async(&mut target).await?;
        Ok(Seen {
            fate: hget(&mut source, &format!("{out}out"), &format!("f:{name}")).await?,
            register: hget(&mut hub, &format!("sb:nexus:{{hub}}:jump:{name}"), "state").await?,
            is_coming: is_coming.is_some(),
            has_come: has_come.is_some(),
            has_left_for: hget(&mut source, &at, "region").await?,
        })
    }
}

/// What is stored of a jump.
#[derive(Debug, Clone)]
struct Seen {
    fate: Option<String>,
    register: Option<String>,
    is_coming: bool,
    has_come: bool,
    has_left_for: Option<String>,
}

async fn connection(redis: &RedisServer) -> Result<MultiplexedConnection> {
    redis.connection().await
}

pub(crate) async fn hget(connection: &mut MultiplexedConnection, key: &str, field: &str) -> Result<Option<String>> {
    Ok(redis::cmd("HGET").arg(key).arg(field).query_async(connection).await?)
}

fn freeze(member: &Member) -> Result<()> {
    member.region.running().try_for_each(|node| node.freeze())
}
