//! Logs down: the copies that redis-nexus has of other regions' logs go into this region, where nodes read them. Says to the
//! region which teams have their home elsewhere.

use std::time::Duration;

use sectorbus::ids::{FeedId, RoomId};
use sectorbus::limits::HEADS_AT_ONCE;
use sectorbus::log::{Bridge, Hub, Log, MirrorAt, Mirrors, Source};

use sectorbus::metrics::Direction;

use crate::link::{Link, until_answered};
use crate::logs::{Copying, Origin, Progress};
use crate::queue::{Carried, Carriers, Carry};
use crate::rules::Class;

const NEWS_AT_ONCE: usize = 1_000;
/// How long news are waited for at once.
const WAIT: Duration = Duration::from_secs(1);

pub(crate) struct LogsDown<'l, L> {
    link: &'l Link<L>,
    carriers: Carriers<Source, ()>,
}

/// For ever.
pub(crate) async fn run<L: Log + Bridge + Hub + Mirrors>(link: &Link<L>) {
    let down = LogsDown { link, carriers: Carriers::new(()) };
    tokio::join!(down.carriers.run(&down), down.watch());
}

impl<L: Log + Bridge + Hub + Mirrors> LogsDown<'_, L> {
    /// Whoever begins to lead, or to carry because a server is another one, compares all copies: that finds what either
    /// side has lost.
    async fn watch(&self) {
        let mut after = self.look_through().await.unwrap_or_default();
        loop {
            let Some(news) = until_answered(|| self.link.hub.log_news(after, NEWS_AT_ONCE, WAIT)).await else {
                // Unreadable news name copies that are found all the same.
                tokio::time::sleep(WAIT).await;
                after = self.look_through().await.unwrap_or(after);
                continue;
            };
            let Some((first, last)) = news.first().zip(news.last()) else {
                continue;
            };
            if first.prev != after {
                after = self.look_through().await.unwrap_or(after);
                continue;
            }
            after = last.at;
            news.into_iter().for_each(|news| self.add(news.source));
        }
    }

    fn class_of(&self, source: &Source) -> Option<Class> {
        let Link { region, rules, .. } = self.link;
        rules.class_of_log(&source.room, &source.region, region)
    }

    fn add(&self, source: Source) {
        if let Some(class) = self.class_of(&source) {
            self.carriers.add(source, class);
        }
    }

    /// Every copy that differs; answers which news that includes.
    async fn look_through(&self) -> Option<FeedId> {
        let (upto, sources) = until_answered(|| self.link.hub.log_sources()).await?;
        let wanted: Vec<Source> = sources.into_iter().filter(|source| self.class_of(source).is_some()).collect();
        for some in wanted.chunks(HEADS_AT_ONCE) {
            self.say_homes(some).await;
            let there = until_answered(|| self.link.hub.mirror_standings(MirrorAt::Hub, some)).await?;
            let here = until_answered(|| self.link.log.mirror_standings(MirrorAt::Region, some)).await?;
            for (source, (there, here)) in some.iter().zip(there.into_iter().zip(here)) {
                if there.map(|there| there.last) != here.map(|here| here.last) {
                    self.add(source.clone());
                }
            }
        }
        Some(upto)
    }

    /// Of teams that this region does not know yet to have their home elsewhere, or not any more.
    async fn say_homes(&self, some: &[Source]) -> Option<()> {
        let teams = some.iter().filter(|source| matches!(source.room, RoomId::Team(_)));
        let (rooms, of): (Vec<_>, Vec<_>) = teams.map(|source| (source.room.clone(), source)).unzip();
        let heads = until_answered(|| self.link.log.heads(&rooms)).await?;
        for (source, heads) in of.into_iter().zip(heads) {
            if let (RoomId::Team(team), None, None) = (&source.room, heads.log, heads.home) {
                until_answered(|| self.link.log.set_team_home(team, &source.region)).await?;
            }
        }
        Some(())
    }

    /// A page of a copy. `None`: it cannot be read.
    async fn carry_log(&self, source: &Source) -> Option<Carried> {
        let (log, of) = (&*self.link.log, std::slice::from_ref(source));
        if matches!(source.room, RoomId::Team(_)) {
            // Before its first copy: nobody here is to make a team that there is.
            let here = until_answered(|| log.mirror_standings(MirrorAt::Region, of)).await?;
            if here.first().is_none_or(Option::is_none) {
                self.say_homes(of).await?;
            }
        }
        let copying = Copying {
            of: source,
            from: Origin::Hub(&*self.link.hub),
            to: log,
            at: MirrorAt::Region,
            tally: self.link.tally(Direction::Down),
        };
        // Where redis-nexus has less than was read of it, the leader of the region's link brings it again.
        Some(if copying.step(false).await? == Progress::Part { Carried::Part } else { Carried::All })
    }
}

impl<L: Log + Bridge + Hub + Mirrors> Carry<Source> for LogsDown<'_, L> {
    async fn carry(&self, what: &Source) -> Carried {
        // What cannot be read is left until it changes.
        self.carry_log(what).await.unwrap_or(Carried::All)
    }
}
