//! The log on Redis: connections, and every operation of [`Log`] as one script. `keys` spells what is stored,
//! `scripts/*.lua` are the operations, `rooms`, `members`, `inboxes`, `seats`, `feeds`, `bridge`, `jumps`, `hub`, `hub_jumps`, `mirrors` and `region` call them.
//! The only place that talks to Redis. Knows nothing of what entries, snapshots and commands mean.

mod keys;
mod scripts;

mod rooms;

mod bridge;
mod calls;
mod ears;
mod facts;
mod feeds;
mod hub;
mod hub_jumps;
mod inboxes;
mod jumps;
mod members;
mod mirrors;
mod outward;
mod region;
mod revocations;
mod rosters;
mod seats;

mod pubsub;
mod touches;

mod place;

mod canary;
mod wanted;

mod answers;
mod connections;
mod errors;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use rand::Rng;

use self::calls::Groups;
use self::connections::{Connection, Pool};
use self::hub::NewsReader;
use self::inboxes::Inboxes;
use self::keys::Keys;
use self::pubsub::PubSub;
use self::touches::Touches;
use super::{
    Append, Appended, At, Attach, Attached, Beat, Beaten, CallAnswered, CallEnd, CallName, CallOpened, CallWork,
    Checkpoint, Checkpointed, Claim, Claimed, Ears, EarsChange, EarsChanged, FeedItem, Following, Heads, Leave, Log,
    LogEntry, LogResult, Named, OnceKey, OpenCall, Opened, Outward, OutwardItem, OutwardRecord, Parked, Part, Posted,
    Queued, Reclaim, Reply, ReplyId, Restore, Restored, Revocation, Revoked, Sent, SetTeam, Snapshot, TakesFrom,
    TeamAt, Tell, Unsafe, WrittenReply,
};
use crate::ids::{
    EntryId, FeedId, Generation, Hop, Incarnation, NodeName, PlayerId, RegionName, RoomId, SectorId, SessionId,
};
use crate::limits::{MEMBER_TTL, PLAYER_FEED_KEPT_FOR};
use crate::presence::Shown;

/// Until an append, claim, post or send is answered; then it is ambiguous.
const REQUEST_ANSWERS_WITHIN: Duration = Duration::from_secs(2);

/// How to reach a region's Redis.
#[derive(Clone)]
pub struct RedisConfig {
    /// `redis://[user][:password]@host[:port][/db]`, or `rediss://` for TLS; never logged.
    pub url: String,
    /// With TLS, the only authorities whose certificates are accepted, in PEM. `None`: the machine's.
    pub ca: Option<Vec<u8>>,
    pub region: RegionName,
    /// Names this process in channel names until `create_inbox` names its incarnation.
    pub node: String,
    /// Connections for appends, posts and sends, rooms spread over them; 2 to 4.
    pub command_connections: usize,
    /// Connections for followed rooms; 1 and up.
    pub pubsub_connections: usize,
    /// A member's time to live (setting `member_ttl_ms`): a beat that is not answered within half of it is tried again.
    pub member_ttl: Duration,
    /// A player's own feed is kept this long (setting `player_feed_kept_ms`).
    pub player_feed_kept: Duration,
}

impl RedisConfig {
    /// 3 command connections and 4 for pub/sub.
    pub fn new(url: impl Into<String>, region: RegionName) -> Self {
        Self {
            url: url.into(),
            ca: None,
            region,
            node: "node".to_owned(),
            command_connections: 3,
            pubsub_connections: 4,
            member_ttl: MEMBER_TTL,
            player_feed_kept: PLAYER_FEED_KEPT_FOR,
        }
    }

    /// Which server and database the URL names, as `host:port/db` or the socket's path with `/db`, without what is secret.
    pub fn place(&self) -> Result<String, ConnectError> {
        connections::read_url(&self.url, self.ca.as_deref()).map(|info| connections::place(&info))
    }
}

impl std::fmt::Debug for RedisConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisConfig")
            .field("region", &self.region)
            .field("node", &self.node)
            .field("command_connections", &self.command_connections)
            .field("pubsub_connections", &self.pubsub_connections)
            .field("member_ttl", &self.member_ttl)
            .finish_non_exhaustive()
    }
}

/// What is wrong with a [`RedisConfig`]. The URL is not repeated: it may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    #[error("the Redis URL is not redis[s]://[user][:password]@host[:port][/db]")]
    Url,
    #[error("the authority's certificate is not PEM blocks CERTIFICATE")]
    Ca,
    #[error("an authority's certificate is given for a Redis URL that is not rediss://")]
    CaWithoutTls,
    #[error("command_connections is {found}: 2 to 4 are accepted")]
    CommandConnections { found: usize },
    #[error("pubsub_connections is 0: at least 1 is needed")]
    PubsubConnections,
}

/// [`Log`] on one Redis. Dropping it ends its tasks and connections.
pub struct RedisLog {
    keys: Keys,
    region: RegionName,
    /// Appends, claims, posts, sends, heads: pipelined, each room on one of them.
    requests: Arc<Vec<Connection>>,
    /// Nothing else may delay a beat.
    beats: Connection,
    pool: Pool,
    inboxes: Inboxes,
    news: NewsReader,
    log_news: NewsReader,
    groups: Groups,
    pubsub: PubSub,
    touches: Touches,
    player_feed_kept: Duration,
    /// Incarnations whose `alive` channel is followed here: one, but for tests that play several nodes.
    alive: Mutex<BTreeSet<Incarnation>>,
}

impl std::fmt::Debug for RedisLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisLog").field("region", &self.region).finish_non_exhaustive()
    }
}

/// Which of `count` connections a channel or key uses.
fn lane_of(text: &str, count: usize) -> usize {
    let hash = xxhash_rust::xxh3::xxh3_64(text.as_bytes());
    usize::try_from(hash % count.max(1) as u64).unwrap_or(0)
}

impl RedisLog {
    /// Checks the configuration and starts connecting in the background; never waits for Redis. While Redis is away,
    /// operations answer `NotExecuted` within 100 ms (those over the pool within its connect time-out of 1 s).
    /// Must be called within a Tokio runtime.
    pub fn connect(config: RedisConfig) -> Result<Self, ConnectError> {
        if !(2..=4).contains(&config.command_connections) {
            return Err(ConnectError::CommandConnections { found: config.command_connections });
        }
        if config.pubsub_connections == 0 {
            return Err(ConnectError::PubsubConnections);
        }
        let info = connections::read_url(&config.url, config.ca.as_deref())?;
        let (pushing, plain) = (connections::pushing_client(&info)?, connections::plain_client(&info)?);
        let pool = Pool::new(&info)?;
        let keys = Keys::new(&config.region);
        let request = |_| Connection::start(pushing.clone(), "requests", REQUEST_ANSWERS_WITHIN);
        let requests = Arc::new((0..config.command_connections).map(request).collect::<Vec<_>>());
        // Two processes of one name must not hear each other's canaries.
        let identity = format!("{}~{:016x}", config.node, rand::rng().random::<u64>());
        let canaries = (0..config.pubsub_connections).map(|n| keys.canary(&identity, n)).collect();
        Ok(Self {
            touches: Touches::start(keys.touched(), requests.clone()),
            pubsub: PubSub::start(&pushing, canaries, &requests),
            beats: Connection::start(pushing, "beats", config.member_ttl / 2),
            inboxes: Inboxes::new(plain.clone()),
            news: NewsReader::new(plain.clone()),
            log_news: NewsReader::new(plain.clone()),
            groups: Groups::new(plain),
            region: config.region,
            player_feed_kept: config.player_feed_kept,
            alive: Mutex::default(),
            requests,
            pool,
            keys,
        })
    }

    /// True as soon as requests have connections, false if that takes longer than `within`.
    pub async fn is_ready_within(&self, within: Duration) -> bool {
        let deadline = tokio::time::Instant::now() + within;
        for connection in self.requests.iter().chain([&self.beats]) {
            let left = deadline.saturating_duration_since(tokio::time::Instant::now());
            if !connection.is_live_within(left).await {
                return false;
            }
        }
        true
    }

    /// The request connection of a room or inbox, by the text of its key.
    fn requests_of(&self, key: &str) -> &Connection {
        &self.requests[lane_of(key, self.requests.len())]
    }

    /// From `create_inbox` (at join, before membership) and from every beat: names the canaries after this life of the
    /// node, and follows `alive:<incarnation>`, so that peers see by SHARDNUMSUB in their beats that it lives.
    fn identify(&self, incarnation: &Incarnation) {
        if !self.alive.lock().insert(incarnation.clone()) {
            return;
        }
        self.pubsub.keep(&self.keys.alive(incarnation));
        let canary = |n| self.keys.canary(incarnation.as_str(), n);
        self.pubsub.rename_canaries((0..self.pubsub.connections()).map(canary).collect());
    }

    /// The incarnation is no more: it must not look alive.
    fn unidentify(&self, incarnation: &Incarnation) {
        if self.alive.lock().remove(incarnation) {
            self.pubsub.release(&self.keys.alive(incarnation));
        }
    }
}

impl Log for RedisLog {
    async fn open(&self) -> LogResult<Opened> {
        region::open(self).await
    }
    async fn check_safety(&self) -> LogResult<Vec<Unsafe>> {
        region::check_safety(self).await
    }
    async fn time_ms(&self) -> LogResult<u64> {
        region::time_ms(self).await
    }

    async fn beat(&self, beat: Beat) -> LogResult<Beaten> {
        members::beat(self, beat).await
    }
    async fn leave(&self, leave: Leave) -> LogResult<()> {
        members::leave(self, leave).await
    }
    async fn forget(&self, gone: &Incarnation) -> LogResult<()> {
        members::forget(self, gone).await
    }
    async fn rooms_of(&self, incarnation: &Incarnation) -> LogResult<Vec<RoomId>> {
        members::rooms_of(self, incarnation).await
    }
    async fn rooms_add(&self, incarnation: &Incarnation, rooms: &[RoomId]) -> LogResult<()> {
        members::rooms_add(self, incarnation, rooms).await
    }
    async fn rooms_remove(&self, incarnation: &Incarnation, room: &RoomId) -> LogResult<()> {
        members::rooms_remove(self, incarnation, room).await
    }

    async fn claim(&self, claim: Claim) -> LogResult<Claimed> {
        self.touching_log(claim.room.clone(), rooms::claim(self, claim)).await
    }
    async fn append(&self, append: Append) -> LogResult<Appended> {
        self.touching_log(append.room.clone(), rooms::append(self, append)).await
    }
    async fn reclaim(&self, reclaim: Reclaim) -> LogResult<Appended> {
        self.touching_log(reclaim.room.clone(), rooms::reclaim(self, reclaim)).await
    }
    async fn restore(&self, restore: Restore) -> LogResult<Restored> {
        self.touching_log(restore.room.clone(), rooms::restore(self, restore)).await
    }
    async fn checkpoint(&self, checkpoint: Checkpoint) -> LogResult<Checkpointed> {
        rooms::checkpoint(self, checkpoint).await
    }
    async fn park(&self, room: &RoomId, prev: EntryId, incarnation: &Incarnation) -> LogResult<Parked> {
        rooms::park(self, room, prev, incarnation).await
    }
    async fn heads(&self, rooms: &[RoomId]) -> LogResult<Vec<Heads>> {
        rooms::heads(self, rooms).await
    }
    async fn snapshot(&self, room: &RoomId) -> LogResult<Option<Snapshot>> {
        rooms::snapshot(self, room).await
    }
    async fn entries(&self, room: &RoomId, after: EntryId, count: usize) -> LogResult<Vec<LogEntry>> {
        rooms::entries(self, room, after, count).await
    }

    async fn create_inbox(&self, incarnation: &Incarnation) -> LogResult<()> {
        inboxes::create(self, incarnation).await
    }
    async fn send(&self, to: &Incarnation, commands: &[Bytes]) -> LogResult<Sent> {
        inboxes::send(self, to, commands).await
    }
    async fn take_inbox(
        &self,
        incarnation: &Incarnation,
        after: FeedId,
        wait: Duration,
    ) -> LogResult<Vec<(FeedId, Bytes)>> {
        self.inboxes.take(&self.keys, incarnation, after, wait).await
    }

    async fn attach(&self, attach: Attach) -> LogResult<Option<Attached>> {
        let room = RoomId::Player(attach.player.clone());
        self.touching(Part::Presence, &room, seats::attach(self, attach)).await
    }
    async fn detach(&self, player: &PlayerId, session: &SessionId, generation: Generation) -> LogResult<bool> {
        let room = RoomId::Player(player.clone());
        self.touching(Part::Presence, &room, seats::detach(self, player, session, generation)).await
    }
    async fn show(
        &self,
        player: &PlayerId,
        session: &SessionId,
        generation: Generation,
        shown: Shown,
        known: u64,
    ) -> LogResult<bool> {
        let shows = seats::show(self, player, session, generation, shown, known);
        self.touching(Part::Presence, &RoomId::Player(player.clone()), shows).await
    }
    async fn set_team(&self, player: &PlayerId, change: &SetTeam) -> LogResult<TeamAt> {
        seats::set_team(self, player, change).await
    }

    async fn team_settled(&self, player: &PlayerId, number: u64) -> LogResult<()> {
        seats::team_settled(self, player, number).await
    }
    async fn log_out(&self, player: &PlayerId, session: &SessionId) -> LogResult<()> {
        self.touching(Part::Presence, &RoomId::Player(player.clone()), seats::log_out(self, player, session)).await
    }
    async fn revoke(&self, what: &Revoked, until_ms: u64) -> LogResult<Option<u64>> {
        revocations::revoke(self, what, until_ms).await
    }
    async fn revocations(&self, after_ms: u64, count: usize) -> LogResult<Vec<Revocation>> {
        revocations::revocations(self, after_ms, count).await
    }
    async fn arrived(&self, player: &PlayerId, room: &SectorId, hop: Hop) -> LogResult<Named> {
        let arrives = seats::arrived(self, player, room, "", hop);
        self.touching(Part::Presence, &RoomId::Player(player.clone()), arrives).await
    }
    async fn at(&self, player: &PlayerId) -> LogResult<Option<At>> {
        seats::at(self, player).await
    }
    async fn ats(&self, players: &[PlayerId]) -> LogResult<Vec<Option<At>>> {
        seats::ats(self, players).await
    }

    async fn post(&self, room: &RoomId, once: &OnceKey, body: Bytes) -> LogResult<Posted> {
        self.touching(Part::Feed, room, feeds::post(self, room, once, body)).await
    }
    async fn feed(&self, room: &RoomId, after: FeedId, count: usize) -> LogResult<Vec<FeedItem>> {
        feeds::feed(self, room, after, count).await
    }

    async fn feed_before(&self, room: &RoomId, before: Option<FeedId>, count: usize) -> LogResult<Vec<FeedItem>> {
        feeds::feed_before(self, room, before, count).await
    }
    async fn posted(&self, room: &RoomId, once: &OnceKey) -> LogResult<Option<FeedId>> {
        feeds::posted(self, room, once).await
    }
    async fn ears(&self, player: &PlayerId) -> LogResult<Ears> {
        ears::ears(self, player).await
    }
    async fn change_ears(&self, player: &PlayerId, change: &EarsChange) -> LogResult<EarsChanged> {
        ears::change(self, player, change).await
    }
    async fn muted_until_ms(&self, player: &PlayerId) -> LogResult<Option<u64>> {
        ears::muted_until_ms(self, player).await
    }
    async fn takes_from(&self, player: &PlayerId, author: &PlayerId) -> LogResult<TakesFrom> {
        ears::takes_from(self, player, author).await
    }

    async fn kick(&self, player: &PlayerId, session: Option<&SessionId>) -> LogResult<()> {
        outward::kick(self, player, session).await
    }
    async fn note(&self, stream: Outward, record: OutwardRecord) -> LogResult<FeedId> {
        outward::note(self, stream, record).await
    }
    async fn noted(&self, stream: Outward, before: Option<FeedId>, count: usize) -> LogResult<Vec<OutwardItem>> {
        outward::noted(self, stream, before, count).await
    }
    async fn tell(&self, tell: Tell) -> LogResult<()> {
        outward::tell(self, &tell.room.to_string(), tell.upto, &tell.events).await
    }
    async fn told(&self, room: &RoomId) -> LogResult<Option<EntryId>> {
        outward::told(self, room).await
    }

    async fn open_call(&self, call: OpenCall) -> LogResult<CallOpened> {
        calls::open(self, call).await
    }
    async fn queue_call(&self, work: CallWork) -> LogResult<Queued> {
        calls::queue(self, work).await
    }
    async fn end_call(&self, call: &CallName, end: CallEnd) -> LogResult<Option<Reply>> {
        calls::end(self, call, end).await
    }
    async fn answer_call(&self, reply: &ReplyId, body: Bytes) -> LogResult<CallAnswered> {
        calls::answer(self, reply, body).await
    }
    async fn take_replies(&self, reader: &NodeName, wait: Duration) -> LogResult<Vec<WrittenReply>> {
        calls::take_replies(self, reader, wait).await
    }
    async fn drop_replies(&self, taken: &[FeedId]) -> LogResult<()> {
        calls::drop_replies(self, taken).await
    }

    fn follow(&self, room: &RoomId) -> Following {
        self.pubsub.follow(self.keys.channel(room))
    }
    fn suspect(&self, room: &RoomId, missed: EntryId) {
        self.pubsub.suspect(self.keys.channel(room), missed);
    }
}
