//! Jumps between regions: carries each step that one side has taken to redis-nexus's register, and what the register says to
//! the other side. Every step may be repeated and none is remembered here: whoever leads next goes on.
//! A jump that nobody took is cancelled when the region that was left asks for it, and only if redis-nexus is the one that it
//! was offered to; if it is not, the other region decides, by taking the player in.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use sectorbus::ids::{RegionName, RoomId};
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

/// For ever.
pub(crate) async fn run<L: Log + Bridge + Hub>(link: &Link<L>) {
    let is_wanted = |(other, _): &(RegionName, _)| {
        let class = |from, to| link.rules.class_of(What::Jumps, None, from, to);
        class(&link.region, other).or_else(|| class(other, &link.region)).is_some()
    };
    if !link.others.iter().any(is_wanted) {
        return std::future::pending().await;
    }
    let (mut pace, mut told_at) = (Pace::default(), None::<Instant>);
    loop {
        if told_at.is_none_or(|at| at.elapsed() >= REGIONS_TOLD_EVERY) {
            until_answered(|| link.log.set_regions(&link.others)).await;
            told_at = Some(Instant::now());
        }
        carry_out(link, &mut pace).await;
        carry_in(link, &mut pace).await;
        tell_homes(link).await;
        tokio::time::sleep(if pace.end_round() { LOOK_AGAIN_AFTER } else { LOOK_EVERY }).await;
    }
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
        for out in &page {
            let jump = (&out.offer.name, &link.region);
            if pace.is_due(link, Direction::Up, jump, out.offer.body.len()) {
                offer(link, out).await;
            }
        }
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
    let stands = until_answered(|| link.hub.offer(jump.clone(), &out.hub)).await?;
    let stands = match stands {
        JumpStands { state: HubJumpState::Offered, is_sure: true } if offered.wants_cancel => {
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
    if let Some(fate) = fate_of(stands.state) {
        until_answered(|| link.log.tell_fate(&name, fate)).await?;
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
        for due in &page {
            if due.jump.to == link.region {
                let jump = (&due.jump.name, &due.jump.from);
                if pace.is_due(link, Direction::Down, jump, due.jump.body.len()) {
                    take(link, due).await;
                }
            } else if due.stands.state.is_over() {
                let (name, fate) = (&due.jump.name, fate_of(due.stands.state)?);
                until_answered(|| link.log.tell_fate(name, fate)).await?;
                until_answered(|| link.hub.close_jump(name, &link.region)).await?;
            }
        }
        skip += page.len();
        if page.len() < JUMPS_AT_ONCE {
            return Some(());
        }
    }
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
    if state == HubJumpState::Taken {
        let jump = JumpIn { name: name.clone(), from: from.clone(), body: body.clone() };
        if until_answered(|| link.log.bring_jump(jump.clone())).await? {
            state = step(link, name, JumpStep::Arrive).await?.state;
        }
    }
    if state.is_over() {
        until_answered(|| link.hub.close_jump(name, &link.region)).await?;
    }
    Some(())
}

/// Whoever asks first has a player whom nobody has seen.
async fn tell_homes<L: Log + Bridge + Hub>(link: &Link<L>) -> Option<()> {
    for player in until_answered(|| link.log.homes_asked(JUMPS_AT_ONCE)).await? {
        let home = until_answered(|| link.hub.home_of(&player, &link.region)).await?;
        until_answered(|| link.log.tell_home(&player, &home)).await?;
    }
    Some(())
}
