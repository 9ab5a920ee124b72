//! What goes on in a universe while something is done to it: players who talk, posts into rooms that nobody watches. Remembers
//! all that was answered, and holds the regions to it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use sectorbus::ids::{PlayerId, RegionName, RoomId};
use sectorbus::protocol::FeedPlaceReason;
use sectorbus_tests::mirrored::{Feeds, Posted, Verdict};
use sectorbus_tests::universe::Universe;
use sectorbus_tests::wire::{Player, PlayerOptions};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Ten times what anything here takes on a quiet machine.
pub(crate) const SOON: Duration = Duration::from_secs(60);
const JUDGE_AGAIN_AFTER: Duration = Duration::from_millis(100);
/// Below what a session may have unanswered.
const UNANSWERED_MAX: usize = 20;

pub(crate) fn room(text: &str) -> RoomId {
    text.parse().expect("a room")
}

/// One who speaks in each region, then one who only listens in the first.
pub(crate) struct Talk {
    pub(crate) players: Vec<Player>,
    authors: Vec<&'static str>,
    /// By each author.
    pub(crate) said: usize,
}

impl Talk {
    pub(crate) async fn start(universe: &Universe) -> Result<Self> {
        let authors = vec!["ann", "bob", "cid"];
        let mut players = Vec::new();
        let members = universe.members.iter().chain(universe.members.first());
        for (name, member) in authors.iter().copied().chain(["eve"]).zip(members) {
            let options = PlayerOptions { feeds: true, ..PlayerOptions::default() };
            let player = Player::start(name, &member.region.addresses(), options);
            player.settled(SOON).await?;
            // What is said before a feed begins is its history.
            let begins = |of| player.until(SOON, "its feeds", move |told| told.client.heard.cursors.contains_key(&of));
            begins(RoomId::Global).await?;
            players.push(player);
        }
        Ok(Self { players, authors, said: 0 })
    }

    /// Everybody who speaks says one more thing.
    pub(crate) async fn round(&mut self) -> Result<()> {
        for (player, author) in self.players.iter().zip(&self.authors) {
            player.say(RoomId::Global, &format!("{author} {}", self.said));
        }
        self.said += 1;
        for player in &self.players {
            let few = |told: &sectorbus_tests::wire::Told| told.client.heard.saying.len() < UNANSWERED_MAX;
            player.until(SOON, "an answer to what was said", few).await?;
        }
        Ok(())
    }

    /// What one player heard of an author, in that order.
    pub(crate) fn heard(&self, player: usize, author: usize) -> Vec<String> {
        let told = self.players[player].told();
        let texts = told.client.heard.texts(&RoomId::Global);
        texts.into_iter().filter(|text| text.starts_with(self.authors[author])).map(str::to_owned).collect()
    }

    /// Waits until one player has heard all that an author said so far.
    pub(crate) async fn has_heard(&self, player: usize, author: usize) -> Result<()> {
        let (name, count) = (self.authors[author], self.said);
        let what = format!("{count} things of {name}");
        let is_all = |told: &sectorbus_tests::wire::Told| {
            let texts = told.client.heard.texts(&RoomId::Global);
            texts.into_iter().filter(|text| text.starts_with(name)).count() >= count
        };
        self.players[player].until(SOON, &what, is_all).await
    }

    /// Waits until everybody has heard everything.
    pub(crate) async fn all_have_heard(&self) -> Result<()> {
        for player in 0..self.players.len() {
            for author in 0..self.authors.len() {
                self.has_heard(player, author).await?;
            }
        }
        Ok(())
    }

    /// Everything was heard once and in the order of its author, in one order per region, and nothing was passed over.
    pub(crate) fn assert_kept(&self) {
        for (player, name) in self.players.iter().map(|player| &player.name).enumerate() {
            for (author, of) in self.authors.iter().enumerate() {
                let all: Vec<String> = (0..self.said).map(|number| format!("{of} {number}")).collect();
                assert_eq!(self.heard(player, author), all, "{name} of {of}");
            }
            let told = self.players[player].told();
            assert_eq!(told.client.broken, Vec::<String>::new(), "{name}");
            let gaps = told.client.heard.places.iter().filter(|place| place.why == FeedPlaceReason::Gap).count();
            assert_eq!(gaps, 0, "{name}");
        }
        let order = |player: usize| -> Vec<String> {
            let told = self.players[player].told();
            told.client.heard.texts(&RoomId::Global).into_iter().map(str::to_owned).collect()
        };
        assert_eq!(order(0), order(self.players.len() - 1), "two of one region");
    }
}

/// Posts in every region, one after the other in each of its rooms, until it is stopped.
pub(crate) struct Posting {
    stop: CancellationToken,
    posting: JoinSet<Result<(RegionName, RoomId, PlayerId, u64)>>,
    feeds: Vec<Arc<Feeds>>,
}

impl Posting {
    pub(crate) async fn start(universe: &Universe, rooms: &[RoomId], every: Duration) -> Result<Self> {
        let (stop, mut posting, mut feeds) = (CancellationToken::new(), JoinSet::new(), Vec::new());
        for member in &universe.members {
            let of_one = Arc::new(universe.feeds(member.name).await?);
            for room in rooms {
                posting.spawn(post(of_one.clone(), room.clone(), every, stop.clone()));
            }
            feeds.push(of_one);
        }
        Ok(Self { stop, posting, feeds })
    }

    /// All that was posted, and the regions' feeds.
    pub(crate) async fn stop(mut self) -> Result<Settling> {
        self.stop.cancel();
        let mut posted = Posted::default();
        while let Some(ended) = self.posting.join_next().await {
            let (region, room, author, number) = ended??;
            ensure!(number > 0, "nothing was posted in {room} of {region}");
            posted.upto(&region, &room, &author, number);
        }
        Ok(Settling { posted, feeds: self.feeds })
    }
}

async fn post(
    feeds: Arc<Feeds>,
    room: RoomId,
    every: Duration,
    stop: CancellationToken,
) -> Result<(RegionName, RoomId, PlayerId, u64)> {
    let (author, mut number) = (PlayerId::new(&format!("poster-{}", feeds.region))?, 0);
    let mut ticks = tokio::time::interval(every);
    while !stop.is_cancelled() {
        ticks.tick().await;
        number += 1;
        feeds.post(&room, &author, number, b"anything").await?;
    }
    Ok((feeds.region.clone(), room, author, number))
}

/// What was posted, while it arrives.
pub(crate) struct Settling {
    pub(crate) posted: Posted,
    pub(crate) feeds: Vec<Arc<Feeds>>,
}

impl Settling {
    /// Waits until each region has everything, and holds it to once and in order.
    pub(crate) async fn all_arrived(&self, is_ordered: bool) -> Result<()> {
        let deadline = Instant::now() + SOON;
        for feeds in &self.feeds {
            let mut verdict = self.posted.judge(feeds).await?;
            while verdict.lost > 0 {
                ensure!(Instant::now() < deadline, "{}: {verdict} of {}", feeds.region, self.posted.total());
                tokio::time::sleep(JUDGE_AGAIN_AFTER).await;
                verdict = self.posted.judge(feeds).await?;
            }
            let allowed = Verdict { disordered: if is_ordered { 0 } else { verdict.disordered }, ..Verdict::default() };
            ensure!(verdict == allowed, "{}: {verdict} of {}", feeds.region, self.posted.total());
        }
        Ok(())
    }
}

/// Everything is everywhere; then a nexus that begins with nothing but what is stored looks through all of it again, carries what is
/// said next, and repeats nothing of what was said before.
pub(crate) async fn settled(universe: &mut Universe, talk: &mut Talk, settling: &Settling) -> Result<()> {
    talk.all_have_heard().await?;
    settling.all_arrived(true).await?;
    for mut nexus in std::mem::take(&mut universe.nexuses) {
        nexus.kill9()?;
    }
    universe.start_nexus("").await?;
    talk.round().await?;
    talk.all_have_heard().await?;
    settling.all_arrived(true).await?;
    talk.assert_kept();
    Ok(())
}
