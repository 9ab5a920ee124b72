//! Jumps between regions: carries each step that one side has taken to redis-nexus's register, and what the register says to
//! the other side. Every step may be repeated and none is remembered here: whoever leads next goes on.
//! A jump that nobody took is cancelled when the region that was left asks for it, and only if redis-nexus is the one that it
//! was offered to; if it is not, the other region decides, by taking the player in.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use tokio::time::Instant;

use sectorbus::beyond::Beyond;
use sectorbus::ids::{Hop, PlayerId, RegionName, RoomId};
use sectorbus::limits::JUMPS_AT_ONCE;
use sectorbus::log::{
    Bridge, Hub, HubJump, HubJumpState, JumpDue, JumpFate, JumpIn, JumpName, JumpOut, JumpStands, JumpStep, Log, Source,
};
use sectorbus::metrics::Direction;

use crate::lag::{InHand, Since};
use crate::link::{Link, until_answered};
use crate::rules::What;

const LOOK_EVERY: Duration = Duration::from_millis(200);
/// While somebody is on the way.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(25);
/// A jump that is older waits for something: it is looked at less often.
const QUICK_FOR: Duration = Duration::from_secs(5);
const SLOW_AGAIN_AFTER: Duration = Duration::from_millis(500);
/// The region may have lost which regions there are.
const REGIONS_TOLD_EVERY: Duration = Duration::from_secs(10);
const CARRIED_AT_ONCE: usize = 32;
/// Before more of the day's jumps are opened again.
const OPENED_WAIT_FOR: Duration = Duration::from_secs(5);

/// A region that does not say by then whom it has is taken not to have them.
const FELLOWS_ASKED_FOR: Duration = Duration::from_millis(500);

/// For ever. `region_is`: the region's replication id.
pub(crate) async fn run<L: Log + Bridge + Hub>(link: &Link<L>, region_is: &str) {
    let is_wanted = |(other, _): &(RegionName, _)| {
        let class = |from, to| link.rules.class_of(What::Jumps, None, from, to);
        class(&link.region, other).or_else(|| class(other, &link.region)).is_some()
    };
    if !link.others.iter().any(is_wanted) {
        return std::future::pending().await;
    }
    tokio::join!(carry(link), look_through(link, region_is), tell_homes(link));
}

async fn carry<L: Log + Bridge + Hub>(link: &Link<L>) {
    let (mut pace, mut told_at) = (Pace::default(), None::<Instant>);
    loop {
        if told_at.is_none_or(|at| at.elapsed() >= REGIONS_TOLD_EVERY) {
            until_answered(|| link.log.set_regions(&link.others)).await;
            told_at = Some(Instant::now());
        }
        carry_out(link, &mut pace).await;
        carry_in(link, &mut pace).await;
        tokio::time::sleep(if pace.end_round() { LOOK_AGAIN_AFTER } else { LOOK_EVERY }).await;
    }
}

/// What was found of a jump that is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    /// The region knows what became of the jump.
    Known,
    /// The region had forgotten that the player left.
    Left,
    /// The region has not dealt with the jump: it is carried again.
    Opened,
}

/// A region with another replication id may have lost a tail: of each player it is told again what the last jump came to. Beside what is
/// carried meanwhile, and a few at a time: who jumps now does not wait for those of a whole day.
async fn look_through<L: Log + Bridge + Hub>(link: &Link<L>, region_is: &str) -> Option<()> {
    let region = &link.region;
    if until_answered(|| link.hub.jumps_sure_with(region)).await? == region_is {
        return Some(());
    }
    let (mut skip, mut has_forgotten) = (0, false);
    loop {
        // What is closed meanwhile comes before these: some are seen twice, none is passed over.
        let page = until_answered(|| link.hub.jumps_closed(region, skip, JUMPS_AT_ONCE)).await?;
        if page.is_empty() {
            break;
        }
        skip += page.len();
        let found = at_once(page.iter().map(|jump| tell_again(link, jump)).collect()).await;
        has_forgotten |= found.contains(&Some(Found::Left));
        if found.contains(&Some(Found::Opened)) {
            let deadline = Instant::now() + OPENED_WAIT_FOR;
            while Instant::now() < deadline && is_busy(link).await? {
                tokio::time::sleep(LOOK_AGAIN_AFTER).await;
            }
        }
    }
    if has_forgotten {
        until_answered(|| link.log.ask_to_compare()).await?;
    }
    until_answered(|| link.hub.keep_jumps_sure(region, region_is)).await
}

/// As many jumps into the region are open as are carried at once.
async fn is_busy<L: Log + Bridge + Hub>(link: &Link<L>) -> Option<bool> {
    let open = until_answered(|| link.hub.jumps_of(&link.region, 0, JUMPS_AT_ONCE)).await?;
    Some(open.iter().filter(|due| due.jump.to.region == link.region).count() >= CARRIED_AT_ONCE)
}

/// Of a jump that is over.
async fn tell_again<L: Log + Bridge + Hub>(link: &Link<L>, jump: &HubJump) -> Option<Found> {
    if jump.to.region != link.region {
        return Some(if tell_left(link, &jump.name, &jump.to).await? { Found::Left } else { Found::Known });
    }
    if until_answered(|| link.log.has_come(&jump.name)).await? {
        return Some(Found::Known);
    }
    until_answered(|| link.hub.reopen_jump(&jump.name, &link.region)).await?;
    Some(Found::Opened)
}

/// The region is told that a player is in another. True: it had forgotten that they left, so rooms there may still have them. It is
/// true again when this is repeated: the leader before may have ended before it asked the rooms.
async fn tell_left<L: Log + Bridge + Hub>(link: &Link<L>, name: &JumpName, to: &Beyond) -> Option<bool> {
    let at = until_answered(|| link.log.at(&name.player)).await?;
    until_answered(|| link.log.left_for(&name.player, to, name.hop)).await?;
    let is_known = until_answered(|| link.log.tell_fate(name, JumpFate::Arrived)).await?.is_some();
    Some(!is_known && at.is_none_or(|at| at.hop <= name.hop))
}

/// In any order; one that waits for an answer holds up no other.
async fn at_once<F: Future>(all: Vec<F>) -> Vec<F::Output> {
    stream::iter(all).buffer_unordered(CARRIED_AT_ONCE).collect().await
}

/// When each jump was seen first, and looked at last; it waits until it is over.
#[derive(Default)]
struct Pace {
    seen: BTreeMap<JumpName, Seen>,
    round: BTreeMap<JumpName, bool>,
}

struct Seen {
    first: Instant,
    last: Instant,
    _waits: InHand,
}

impl Pace {
    fn is_due<L>(
        &mut self,
        link: &Link<L>,
        direction: Direction,
        jump: (&JumpName, &RegionName),
        bytes: usize,
    ) -> bool {
        let (name, from) = jump;
        let now = Instant::now();
        let seen = self.seen.entry(name.clone()).or_insert_with(|| {
            link.meters.mirrored(direction, What::Jumps, 1, bytes);
            let source = Source { region: from.clone(), room: RoomId::Player(name.player.clone()) };
            let waits = link.sight.lag.waits(direction, What::Jumps, &source, 1, Since::Seen(now));
            Seen { first: now, last: now, _waits: waits }
        });
        let is_quick = now - seen.first < QUICK_FOR;
        let is_due = is_quick || now - seen.last >= SLOW_AGAIN_AFTER;
        if is_due {
            seen.last = now;
        }
        self.round.insert(name.clone(), is_quick);
        is_due
    }

    /// Forgets what is over. True: somebody is on the way.
    fn end_round(&mut self) -> bool {
        let round = std::mem::take(&mut self.round);
        self.seen.retain(|name, _| round.contains_key(name));
        round.into_values().any(|is_quick| is_quick)
    }
}

/// Out of this region.
async fn carry_out<L: Log + Bridge + Hub>(link: &Link<L>, pace: &mut Pace) -> Option<()> {
    // Asked before the jumps are listed: one that is marked with an older name than it is offered under is not sure, never
    // the reverse.
    let hub = until_answered(|| link.hub.hub_name()).await?;
    let mut skip = 0;
    loop {
        let page = until_answered(|| link.log.jumps_out(&hub, skip, JUMPS_AT_ONCE)).await?;
        let mut is_due =
            |out: &&JumpOut| pace.is_due(link, Direction::Up, (&out.offer.name, &link.region), out.offer.body.len());
        at_once(page.iter().filter(|out| is_due(out)).map(|out| offer(link, out)).collect()).await;
        skip += page.len();
        if page.len() < JUMPS_AT_ONCE {
            return Some(());
        }
    }
}

async fn offer<L: Log + Bridge + Hub>(link: &Link<L>, out: &JumpOut) -> Option<()> {
    let offered = &out.offer;
    let (name, from) = (offered.name.clone(), link.region.clone());
    let jump = HubJump { name: name.clone(), from, to: offered.to.clone(), body: offered.body.clone() };
    let (to, stands) = until_answered(|| link.hub.offer(jump.clone(), &out.hub)).await?;
    let stands = match stands {
        // Whatever the register says: one of which the region has heard more is not cancelled.
        JumpStands { state: HubJumpState::Offered, is_sure: true }
            if offered.wants_cancel && out.fate == JumpFate::Waiting =>
        {
            step(link, &name, JumpStep::Cancel).await?
        }
        JumpStands { state: HubJumpState::Offered, is_sure: false } => {
            // Whatever redis-nexus lost, the region itself knows whether it has restored the player.
            match until_answered(|| link.log.tell_fate(&name, JumpFate::Asked)).await? {
                Some(JumpFate::Asked | JumpFate::Taken) => step(link, &name, JumpStep::Ask).await?,
                Some(JumpFate::Arrived) => step(link, &name, JumpStep::Arrive).await?,
                Some(JumpFate::Cancelled) => step(link, &name, JumpStep::Restored).await?,
                Some(JumpFate::Waiting) | None => stands,
            }
        }
        stands => stands,
    };
    match fate_of(stands.state) {
        // It may lead elsewhere than this offer says: whoever offers it hears that they have arrived, not where.
        Some(JumpFate::Arrived) => drop(tell_left(link, &name, &to).await?),
        Some(fate) => drop(until_answered(|| link.log.tell_fate(&name, fate)).await?),
        None => {}
    }
    Some(())
}

/// `None`: nothing that the region does not know.
fn fate_of(state: HubJumpState) -> Option<JumpFate> {
    match state {
        HubJumpState::Offered => None,
        HubJumpState::Asked => Some(JumpFate::Asked),
        HubJumpState::Taken => Some(JumpFate::Taken),
        HubJumpState::Arrived => Some(JumpFate::Arrived),
        HubJumpState::Cancelled => Some(JumpFate::Cancelled),
    }
}

async fn step<L: Log + Bridge + Hub>(link: &Link<L>, name: &JumpName, step: JumpStep) -> Option<JumpStands> {
    until_answered(|| link.hub.step(name, step)).await?
}

/// Into this region; and out of it, where the register is over: the region is told, whoever led when it was.
async fn carry_in<L: Log + Bridge + Hub>(link: &Link<L>, pace: &mut Pace) -> Option<()> {
    let mut skip = 0;
    loop {
        let page = until_answered(|| link.hub.jumps_of(&link.region, skip, JUMPS_AT_ONCE)).await?;
        let mut is_due = |due: &&JumpDue| {
            let HubJump { name, from, to, body } = &due.jump;
            match to.region == link.region {
                true => pace.is_due(link, Direction::Down, (name, from), body.len()),
                false => due.stands.state.is_over(),
            }
        };
        at_once(page.iter().filter(|due| is_due(due)).map(|due| go_on_with(link, due)).collect()).await;
        skip += page.len();
        if page.len() < JUMPS_AT_ONCE {
            return Some(());
        }
    }
}

async fn go_on_with<L: Log + Bridge + Hub>(link: &Link<L>, due: &JumpDue) -> Option<()> {
    if due.jump.to.region == link.region { take(link, due).await } else { hear_the_end(link, due).await }
}

async fn hear_the_end<L: Log + Bridge + Hub>(link: &Link<L>, due: &JumpDue) -> Option<()> {
    let HubJump { name, to, .. } = &due.jump;
    if due.stands.state == HubJumpState::Arrived {
        // The departure may have gone with a tail before anybody here heard what came of it.
        if tell_left(link, name, to).await? {
            until_answered(|| link.log.ask_to_compare()).await?;
        }
    } else {
        until_answered(|| link.log.tell_fate(name, JumpFate::Cancelled)).await?;
    }
    until_answered(|| link.hub.close_jump(name, &link.region)).await
}

async fn take<L: Log + Bridge + Hub>(link: &Link<L>, due: &JumpDue) -> Option<()> {
    let HubJump { name, from, body, .. } = &due.jump;
    let mut state = due.stands.state;
    if state == HubJumpState::Offered {
        // Whom no rule lets in is restored where they were, as if this region were away. Later states go on to their end.
        link.rules.class_of(What::Jumps, None, from, &link.region)?;
    }
    if matches!(state, HubJumpState::Offered | HubJumpState::Asked) {
        state = step(link, name, JumpStep::Take).await?.state;
    }
    if matches!(state, HubJumpState::Taken | HubJumpState::Arrived) {
        let jump = JumpIn { name: name.clone(), from: from.clone(), body: body.clone() };
        if !until_answered(|| link.log.bring_jump(jump.clone())).await? {
            return Some(());
        }
        state = step(link, name, JumpStep::Arrive).await?.state;
    }
    if state.is_over() {
        until_answered(|| link.hub.close_jump(name, &link.region)).await?;
    }
    Some(())
}

/// Which other region has a player, as those say that answer in time: redis-nexus may have forgotten, or the regions were joined
/// when they had players already.
async fn had_elsewhere<L: Log>(link: &Link<L>, player: &PlayerId) -> Option<RegionName> {
    let asked = at_once(link.fellows.iter().map(|fellow| hop_there(fellow, player)).collect()).await;
    asked.into_iter().flatten().max().map(|(_, region)| region)
}

async fn hop_there<L: Log>((region, log): &(RegionName, Arc<L>), player: &PlayerId) -> Option<(Hop, RegionName)> {
    let at = tokio::time::timeout(FELLOWS_ASKED_FOR, log.at(player)).await.ok()?.ok()??;
    (at.hop > Hop(0)).then(|| (at.hop, region.clone()))
}

/// For ever. Whoever asks first has a player whom nobody has seen.
async fn tell_homes<L: Log + Bridge + Hub>(link: &Link<L>) {
    loop {
        let asked = until_answered(|| link.log.homes_asked(JUMPS_AT_ONCE)).await.unwrap_or_default();
        at_once(asked.iter().map(|player| tell_home(link, player)).collect()).await;
        tokio::time::sleep(if asked.len() == JUMPS_AT_ONCE { LOOK_AGAIN_AFTER } else { LOOK_EVERY }).await;
    }
}

async fn tell_home<L: Log + Bridge + Hub>(link: &Link<L>, player: &PlayerId) -> Option<()> {
    let home = match until_answered(|| link.hub.home_of(player, None)).await? {
        Some(home) => home,
        None => {
            let asking = had_elsewhere(link, player).await.unwrap_or_else(|| link.region.clone());
            until_answered(|| link.hub.home_of(player, Some(&asking))).await??
        }
    };
    until_answered(|| link.log.tell_home(player, &home)).await
}
