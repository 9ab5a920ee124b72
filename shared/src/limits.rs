//! Every fixed limit and period, with its unit, in one place; relations between them are proved at compile time.
//! What an operator may change is in the node's configuration and starts from these.

use std::time::Duration;

// Names and values.
pub const NAME_BYTES_MAX: usize = 64;
/// A text field's value.
pub const TEXT_BYTES_MAX: usize = 512;
/// Integers stay exact in every client language: |value| <= 2^53 - 1.
pub const INT_ABS_MAX: i64 = (1 << 53) - 1;
/// No map that clients are sent has this key: decoders of msgpack in JavaScript refuse all of a frame that has it.
pub const KEY_NOT_ACCEPTED: &str = "__proto__";
pub const ENTITIES_PER_ROOM_MAX: usize = 4_096;
pub const FIELDS_PER_ENTITY_MAX: usize = 32;

// Frames from clients.
pub const FRAME_BYTES_MAX: usize = 16 * 1024;
/// A message is one frame or several fragments of one.
pub const MESSAGE_BYTES_MAX: usize = 16 * 1024;
/// Maps and arrays within each other in one frame.
pub const FRAME_DEPTH_MAX: usize = 16;
/// A player's token, wherever it comes; a longer one is not looked at.
pub const TOKEN_BYTES_MAX: usize = 4 * 1024;
pub const RESUME_TOKEN_BYTES_MAX: usize = 512;
/// A ticket of a jump: 32 bytes in base64url.
pub const JUMP_TICKET_BYTES_MAX: usize = 43;
pub const DEVICE_BYTES_MAX: usize = 64;
/// Feature names in one `hello`.
pub const FEATURES_MAX: usize = 32;
/// A connection may ask for a snapshot (`resync`) once in this time.
pub const RESYNC_EVERY: Duration = Duration::from_secs(1);
/// A connection may live long; the session's seat, not this, ends with the resume window.
pub const RESUME_TOKEN_FOR: Duration = Duration::from_secs(24 * 3600);
/// Sessions of a player that are remembered as logged out, for as long as their resume tokens live.
pub const LOGGED_OUT_KEPT: usize = 64;
/// From the notice that a token expires until it does.
pub const EXPIRING_BEFORE: Duration = Duration::from_secs(60);
pub const HELLO_WITHIN: Duration = Duration::from_secs(10);
/// This many `error` answers within [`ERRORS_WINDOW`] close the connection.
pub const ERRORS_MAX: usize = 10;
pub const ERRORS_WINDOW: Duration = Duration::from_secs(10);

// What is taken per second: of a player, of an address. Twice as much at once: a client that resumes sends what is
// pending again.
/// Frames of one player, over all sessions on a node.
pub const FRAMES_PER_S: u32 = 100;
/// A longer frame counts as several, one per so many begun bytes.
pub const FRAME_UNIT_BYTES: usize = 1024;
/// Actions of one player and class.
pub const ACTIONS_PER_S: u32 = 20;
/// What `history` and `unread` count as: they read hundreds of items.
pub const HISTORY_UNITS: u32 = 5;
pub const UNREAD_UNITS: u32 = 10;
/// What `watch` counts as: one, and one for so many players each; each is followed and read.
pub const WATCHED_PER_UNIT: u32 = 5;
/// This many seconds with something refused, within [`VIOLATIONS_WINDOW`], close the connection.
pub const VIOLATIONS_MAX: u32 = 3;
pub const VIOLATIONS_WINDOW: Duration = Duration::from_secs(10);
/// Frames of one address, over all connections: a hundred players behind it may do their worst.
pub const ADDRESS_FRAMES_PER_S: u32 = 10_000;
pub const ADDRESS_HANDSHAKES_PER_S: u32 = 50;
/// Connections of one address that have not said hello.
pub const ADDRESS_HALF_OPEN_MAX: usize = 256;
/// Connections of all addresses that have not said hello; one more is not taken.
pub const HALF_OPEN_MAX: usize = 16_384;
/// Messages and pings before `hello`.
pub const STRANGER_FRAMES_MAX: usize = 32;
/// From a connection's first byte to the end of its request; a TLS handshake and a PROXY header included.
pub const REQUEST_WITHIN: Duration = Duration::from_secs(5);

/// The server pings a connection that was silent this long; silent twice as long, it is closed.
pub const HEARTBEAT: Duration = Duration::from_secs(20);

// Frames to clients.
/// Acks and critical frames waiting for a connection; beyond it the session is closed `too_slow` and may resume.
pub const CRITICAL_BACKLOG_BYTES_MAX: usize = 256 * 1024;
/// State frames waiting for a connection; beyond it they are replaced by one snapshot when the socket is ready.
pub const STATE_BACKLOG_BYTES_MAX: usize = 64 * 1024;
/// What the kernel may hold unsent for a connection. More waits in the outbox, where a snapshot can replace it; the
/// kernel's own choice is megabytes of states that are old when they arrive.
pub const KERNEL_UNSENT_BYTES_MAX: u32 = 16 * 1024;
pub const REALTIME_FRAMES_PER_S: u32 = 30;
/// Deltas a relay keeps in memory for resuming sessions.
pub const REPLICA_DELTAS_KEPT: usize = 512;

// Dedupe, per (player, actor).
pub const DEDUPE_BITMAP_BITS: u64 = 128;
pub const DEDUPE_ANSWERS_KEPT: usize = 16;
pub const ACTORS_KEPT: usize = 8;
pub const ACTOR_KEPT_FOR: Duration = Duration::from_secs(7 * 24 * 3600);
/// A rejection that lifts the mark this far above its logged value makes its batch an entry.
pub const REJECTIONS_UNLOGGED_MAX: u64 = 64;

// Feeds, as clients meet them.
/// Characters of what a player says, in normal form C.
pub const SAY_CHARS_MAX: usize = 500;
/// Topics that one session reads.
pub const TOPICS_PER_SESSION_MAX: usize = 50;
/// Cursors of feeds in one `hello`: of every topic and some others.
pub const HELLO_FEEDS_MAX: usize = 16 + TOPICS_PER_SESSION_MAX;
/// Items of one `page`.
pub const HISTORY_PAGE_ITEMS_MAX: usize = 100;
pub const HISTORY_PAGE_ITEMS: usize = 50;
/// Items of a room's feed that `history` goes back.
pub const HISTORY_ITEMS: usize = 200;
/// A player's own feed is kept this long.
pub const PLAYER_FEED_KEPT_FOR: Duration = Duration::from_secs(7 * 24 * 3600);
/// Items read for one `history` of what two players said to each other.
pub const HISTORY_SCAN_ITEMS_MAX: usize = 1_000;
/// Players that one thing said in a room mentions, who are told so.
pub const MENTIONS_MAX: usize = 5;
/// Players that one player blocks.
pub const BLOCKS_MAX: usize = 200;
/// Channels whose read mark is kept for a player, and as many of sectors and topics; the oldest go.
pub const MARKS_MAX: usize = 256;
/// Rooms that one thing is told to.
pub const AUDIENCE_ROOMS_MAX: usize = 1_000;
/// Sectors whose controllers one thing is told.
pub const AUDIENCE_SECTORS_MAX: usize = 64;
/// How far around a sector one thing is told.
pub const WARPS_AROUND_MAX: u32 = 10;
/// Requests of a session about feeds that wait for their turn; beyond it they are refused as too much.
pub const REQUESTS_WAITING_MAX: usize = 64;
/// Items waiting for a connection; a session with more reads on when its socket is ready.
pub const FEED_BACKLOG_BYTES_MAX: usize = 32 * 1024;

// The log.
pub const LINEAGE_EPOCHS: usize = 16;
/// Random step of an epoch, so that two branches after a lost tail cannot meet at one number.
pub const EPOCH_JITTER_EXCLUDED: u64 = 1_000;
pub const LOAD_PAGE_ENTRIES: usize = 500;
pub const INBOX_ITEMS_MAX: usize = 10_000;
pub const SEND_COMMANDS_MAX: usize = 500;
/// What an owner keeps of its chain to append again after Redis lost a tail: at least both.
pub const SUFFIX_KEPT_FOR: Duration = Duration::from_secs(5);
pub const SUFFIX_KEPT_BYTES: usize = 1024 * 1024;
/// Entries kept in a log behind its snapshot, for resuming readers.
pub const LOG_WINDOW_ENTRIES: u64 = 1_000;
/// An owner checkpoints after this many entries, or this long after the first entry since the last one.
pub const CHECKPOINT_ENTRIES: u64 = 1_000;
pub const CHECKPOINT_AFTER: Duration = Duration::from_secs(30);
pub const ONCE_KEPT_FOR: Duration = Duration::from_secs(7 * 24 * 3600);
/// Items kept in a room's feed; a reader further behind gets a gap.
pub const FEED_ITEMS_KEPT: usize = 10_000;
/// Items read from a feed at once.
pub const FEED_PAGE_ITEMS: usize = 100;
/// Names of items a relay remembers, to know those again that Redis lost and their node posted a second time.
pub const FEED_NAMES_KEPT: usize = 4_096;
/// What one feed item may carry.
pub const POST_BYTES_MAX: usize = 16 * 1024;
/// A node keeps what it posted at least this long, to post it again if Redis loses it.
pub const POSTS_KEPT_FOR: Duration = Duration::from_secs(5);
/// What a node keeps of its posts to one room; beyond it the next post waits.
pub const POSTS_KEPT_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Posts to one room waiting for their turn on a node; beyond it whoever posts waits.
pub const POSTS_WAITING_MAX: usize = 256;
/// Posts that follow from a room's entries and are not known to be in their feeds; what a feed that cannot be posted to
/// would add beyond it is not posted. More than a whole team that is put together at once leads to.
pub const POSTS_PER_ROOM_MAX: usize = 2_048;
/// Answered posts that follow from an entry are dropped by the next entry, or after this long by one of their own.
pub const POSTS_DROPPED_AFTER: Duration = Duration::from_secs(5);
pub const ENTRY_BYTES_MAX: usize = 1024 * 1024;

// The backend's door.
/// Body of a request.
pub const DOOR_BODY_BYTES_MAX: usize = 32 * 1024;
/// Edits of one request.
pub const EDITS_MAX: usize = 64;
/// Edits that a room remembers by their key: one asked for again is answered as it was.
pub const EDITS_REMEMBERED: usize = 256;
/// From an edit's arrival until the request is given up; asked again, it is the same edit.
pub const EDIT_ANSWERED_WITHIN: Duration = Duration::from_secs(5);
/// Requests of one caller to one node, twice as many at once.
pub const DOOR_REQUESTS_PER_S: u32 = 200;
/// What an audit's row keeps of a request: most are shorter.
pub const AUDIT_DETAIL_BYTES_MAX: usize = 2 * 1024;
/// Facts of one event, and characters of a fact's name.
pub const EVENT_FACTS_MAX: usize = 16;
/// Of an event as it is stored: histories of a room are read whole.
pub const EVENT_BYTES_MAX: usize = 4 * 1024;
pub const FACT_NAME_CHARS_MAX: usize = 64;
/// Requests without a right of one address, twice as many at once.
pub const DOOR_FAILURES_PER_S: u32 = 5;
/// Items of one page.
pub const DOOR_PAGE_MAX: usize = 1_000;
/// The longest that a ban or a revocation is kept.
pub const REVOKED_FOR_MAX: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// The end of a ban is kept for nodes that have read the ban.
pub const UNBAN_KEPT_FOR: Duration = Duration::from_secs(24 * 3600);
/// Items kept in the streams `events` and `audit`.
pub const EVENTS_KEPT: usize = 100_000;
/// At most about 200 MB of Redis, if all rows were as long as may be.
pub const AUDIT_KEPT: usize = 100_000;
/// Events of one [`tell`](crate::log::Log::tell), about: those of an entry are not split.
pub const TELL_EVENTS_MAX: usize = 100;
/// Entries of a room without events, until it is noted that there were none.
pub const TELL_AFTER_ENTRIES: u64 = 200;

/// A batch takes no more commands once its entry may have this many bytes. What one command adds (a player's record, at
/// most some 130 KiB with all fields, actors and answers full) and the batch's answers (some 50 KiB) fit above it.
pub const BATCH_ENTRY_BYTES: usize = 512 * 1024;
/// Commands decided in one batch.
pub const BATCH_COMMANDS_MAX: usize = 256;
/// A room with more entries per second than this lingers up to [`LINGER_MAX`] to fill a batch.
pub const LINGER_ABOVE_ENTRIES_PER_S: u32 = 50;
pub const LINGER_MAX: Duration = Duration::from_millis(10);

// Calls to workers.
/// Until a call times out.
pub const CALL_ANSWERED_WITHIN: Duration = Duration::from_secs(30);
/// After its deadline a call is still known by its name, and so is its answer.
pub const CALL_KEPT_FOR: Duration = Duration::from_secs(60);
/// Open calls of one player, over all sessions.
pub const CALLS_OPEN_MAX: usize = 4;
/// Calls of one player that are over and still known.
pub const CALLS_KEPT: usize = 16;
/// Of a call, as JSON.
pub const CALL_BODY_BYTES_MAX: usize = 4 * 1024;
/// Of an answer, as JSON.
pub const REPLY_BODY_BYTES_MAX: usize = 16 * 1024;
/// Maps and arrays within each other in what is called and answered.
pub const CALL_BODY_DEPTH_MAX: usize = 12;
/// From a conversation's last call on.
pub const CONVERSATION_KEPT_FOR: Duration = Duration::from_secs(3600);
/// Conversations of one player that may be continued.
pub const CONVERSATIONS_KEPT: usize = 16;
/// Calls kept in a callee's stream; the oldest go first.
pub const CALLS_QUEUED_MAX: usize = 10_000;
/// Read from a stream of calls or replies at once.
pub const CALLS_TAKEN_MAX: usize = 64;
/// An answer that a node took and did not deal with is another's after this.
pub const REPLY_TAKEN_AGAIN_AFTER: Duration = Duration::from_secs(2);

// Membership and ownership.
pub const BEAT_EVERY: Duration = Duration::from_millis(500);
pub const MEMBER_TTL: Duration = Duration::from_secs(2);
/// Virtual nodes of each incarnation on the ring: keeps (max - min) / mean within 15 % for 10 nodes.
pub const RING_VIRTUAL_NODES: usize = 2_000;
pub const ADOPT_AT_ONCE: usize = 16;
pub const GONE_KEPT_FOR: Duration = Duration::from_secs(3600);
pub const PARK_AFTER: Duration = Duration::from_secs(600);

// Routing and delivery.
pub const RESEND_AFTER: Duration = Duration::from_secs(1);
pub const ARRIVE_AGAIN_AFTER: Duration = Duration::from_millis(500);
/// A source keeps a departed player's record this long after the destination has it: longer than any tail that a
/// failover loses, so that the player can be announced again.
pub const TRANSFER_KEPT_FOR: Duration = Duration::from_secs(10);
/// Forgetting a finished transfer rides in the next entry; without one, an entry is made for it after this.
pub const TRANSFER_FORGOTTEN_WITHIN: Duration = Duration::from_secs(20);
/// A jump to another region that was not taken there by then is cancelled, and the player restored.
pub const JUMP_CANCELLED_AFTER: Duration = Duration::from_secs(30);
/// From the arrival in another region until a ticket is worth nothing.
pub const JUMP_TICKET_FOR: Duration = Duration::from_secs(300);
/// What became of a jump is remembered this long after all that took part have heard of it.
pub const JUMP_KEPT_FOR: Duration = Duration::from_secs(24 * 3600);
/// Jumps read at once. A jump carries a player's record.
pub const JUMPS_AT_ONCE: usize = 64;
/// Gates of one region.
pub const GATES_MAX: usize = 1_000;
/// A region that has heard where a player is at home remembers it this long.
pub const HOME_KNOWN_FOR: Duration = Duration::from_secs(60);
/// Players whose home a region asks for at the same time.
pub const HOMES_ASKED_MAX: usize = 10_000;
pub const ROOM_SILENT_AFTER: Duration = Duration::from_secs(5);
pub const HEADS_AT_ONCE: usize = 100;
pub const CANARY_EVERY: Duration = Duration::from_secs(1);
pub const CANARY_MISSING_AFTER: Duration = Duration::from_secs(2);
pub const OWN_ENTRY_HEARD_WITHIN: Duration = Duration::from_millis(200);
/// Rooms nobody on the node needs are unfollowed after this long.
pub const UNFOLLOW_AFTER: Duration = Duration::from_secs(10);

// Sessions.
pub const SESSIONS_PER_PLAYER_MAX: usize = 4;
/// From the loss of a player's last connection until link-dead is shown; 0 when the node died.
pub const GRACE: Duration = Duration::from_secs(2);
/// From the loss of a player's last connection until the player leaves the public state.
pub const RESUME_WINDOW: Duration = Duration::from_secs(60);
/// A session compares with the log what it was told in its player's channel: a single publish may vanish.
pub const PLAYER_COMPARED_EVERY: Duration = Duration::from_secs(30);
pub const LOGIN_UNCHANGED_AFTER: Duration = Duration::from_secs(2);
pub const SECRET_BYTES_MIN: usize = 32;

// Fights.
/// From the last attack of a ship or on it until it is not shown as in combat any more.
pub const COMBAT_FOR: Duration = Duration::from_secs(10);
/// Those who control a sector hear of one attacker once in this time.
pub const ALARM_EVERY: Duration = Duration::from_secs(10);
/// Players who are told of one attack.
pub const CONTROLLERS_TOLD_MAX: usize = 100;

// Rooms for people.
/// Teams that a player left one after the other and whose rosters have not heard of it.
pub const TEAMS_UNSETTLED_MAX: usize = 8;
/// Members of one team; each is an entity of its room.
pub const MEMBERS_PER_TEAM_MAX: usize = 1_000;
/// Items that are mirrored into a feed in one step.
pub const MIRROR_ITEMS_MAX: usize = 100;
/// A change of a roster that is asked of another region is given up when that region does not hear of it for so long.
pub const ROSTER_ASK_KEPT_FOR: Duration = Duration::from_secs(24 * 3600);
/// Changes of rosters for other regions that a node reads at once.
pub const ROSTERS_AT_ONCE: usize = 64;
/// Facts of a region in redis-nexus in the order they were told: who is further behind reads the latest of each.
pub const FACTS_KEPT: usize = 100_000;
/// A region says what changes for this long after a nexus was there; also how long marks are kept.
pub const BRIDGE_KEPT_FOR: Duration = Duration::from_secs(8 * 24 * 3600);
/// From the first nexus in a region until what is posted there is carried: by then all nodes have seen it.
pub const BRIDGE_BEGINS_AFTER: Duration = Duration::from_secs(3);
/// How long before it is noticed that a region's clock has stepped back it may have: nexus look every minute.
pub const BRIDGE_BEGAN_BACK: Duration = Duration::from_secs(120);
/// What changes again within this is not marked again.
pub const MARK_EVERY: Duration = Duration::from_secs(1);
/// Entries that are mirrored into a copy of a log in one step.
pub const MIRROR_ENTRIES_MAX: usize = 100;
/// Bytes of the entries of such a step, beyond its first.
pub const MIRROR_BYTES_MAX: usize = 4 * 1024 * 1024;
/// A copy has so many entries after its snapshot before it is given a later one.
pub const MIRROR_RENEWED_AFTER: u64 = CHECKPOINT_ENTRIES;
/// Rooms of other regions that a session may observe.
pub const OBSERVED_ROOMS_MAX: usize = 4;
/// News in redis-nexus: who is further behind looks through all sources.
pub const NEWS_KEPT: usize = 100_000;
/// That a player blocks somebody is there for all nodes to see for this long: each looks several times a second.
pub const EARS_TOLD_FOR: Duration = Duration::from_secs(60);
/// What a node wrote of players is kept for this long after it was answered, to be written again if Redis loses it.
pub const WRITTEN_KEPT_FOR: Duration = POSTS_KEPT_FOR;
/// Beyond so many the oldest are given up.
pub const WRITTEN_KEPT_MAX: usize = 10_000;
/// Topics of a team: an item that was posted later than this after the log was asked who is in the team waits until it was
/// asked again. The longest that who was removed may hear more of it.
pub const MEMBERSHIP_LEASE: Duration = Duration::from_secs(1);
/// A team's room remembers for this long who is no member any more: what comes later of the membership is refused by then.
pub const EX_MEMBER_KEPT_FOR: Duration = Duration::from_secs(24 * 3600);
/// Those who are no members any more that a team's room remembers; beyond it the earliest are forgotten.
pub const EX_MEMBERS_KEPT: usize = 1_000;
/// A session of which nothing was heard for this long is shown as away.
pub const IDLE_AFTER: Duration = Duration::from_secs(300);
/// Players whose presence one session may watch.
pub const WATCHED_PLAYERS_MAX: usize = 100;
/// How often nodes report their players, and at most how often `global` counts them anew.
pub const COUNT_EVERY: Duration = Duration::from_secs(10);

const _: () = assert!(AUDIT_DETAIL_BYTES_MAX * AUDIT_KEPT < 256 << 20, "what is kept for the audit fits into a Redis");
const _: () = assert!(BEAT_EVERY.as_millis() * 3 < MEMBER_TTL.as_millis(), "a lost beat must not expire a member");
const _: () = assert!(GRACE.as_millis() < RESUME_WINDOW.as_millis());
const _: () =
    assert!(REJECTIONS_UNLOGGED_MAX < DEDUPE_BITMAP_BITS, "an unlogged rejection must stay inside the bitmap");
const _: () = assert!(TRANSFER_KEPT_FOR.as_millis() < TRANSFER_FORGOTTEN_WITHIN.as_millis());
const _: () = assert!(SUFFIX_KEPT_FOR.as_millis() < TRANSFER_KEPT_FOR.as_millis(), "what an owner appends again");
const _: () = assert!(STATE_BACKLOG_BYTES_MAX < CRITICAL_BACKLOG_BYTES_MAX);
const _: () = assert!(LOG_WINDOW_ENTRIES >= LOAD_PAGE_ENTRIES as u64);
const _: () = assert!(MIRROR_RENEWED_AFTER <= LOG_WINDOW_ENTRIES, "a copy in a region is renewed from redis-nexus");
const _: () = assert!(FRAME_BYTES_MAX <= MESSAGE_BYTES_MAX);
const _: () = assert!(2 * FRAMES_PER_S as u64 > DEDUPE_BITMAP_BITS, "all that may be pending, sent again at once");
const _: () = assert!(STRANGER_FRAMES_MAX > ERRORS_MAX);
const _: () = assert!(
    TOKEN_BYTES_MAX + RESUME_TOKEN_BYTES_MAX + HELLO_FEEDS_MAX * (NAME_BYTES_MAX + 48) < FRAME_BYTES_MAX,
    "a hello with its tokens and cursors fits"
);
const _: () = assert!(BATCH_ENTRY_BYTES + 256 * 1024 <= ENTRY_BYTES_MAX, "one more command fits into a full batch");
const _: () = assert!(DOOR_BODY_BYTES_MAX * 8 <= 256 * 1024, "an edit in an entry is at most 4 times its JSON");
const _: () = assert!(BATCH_COMMANDS_MAX * 256 <= 64 * 1024, "answers of at most 200 bytes take less than 64 KiB");
const _: () = assert!(POST_BYTES_MAX < POSTS_KEPT_BYTES_MAX, "one post always fits");
const _: () = assert!(POSTS_KEPT_FOR.as_secs() < ONCE_KEPT_FOR.as_secs(), "what is posted again is the same item");
const _: () = assert!(MEMBERS_PER_TEAM_MAX <= ENTITIES_PER_ROOM_MAX);
const _: () = assert!(2 * MEMBERS_PER_TEAM_MAX <= POSTS_PER_ROOM_MAX, "a notice to the team and one to each member");
const _: () = assert!(MARK_EVERY.as_millis() < BRIDGE_BEGINS_AFTER.as_millis(), "all have seen it by then");
const _: () =
    assert!(ONCE_KEPT_FOR.as_secs() < BRIDGE_KEPT_FOR.as_secs(), "nothing is posted again that is not marked");
const _: () = assert!(CALL_BODY_DEPTH_MAX + 3 < FRAME_DEPTH_MAX, "in a frame, a body is within two maps");
const _: () = assert!(CALL_BODY_BYTES_MAX < FRAME_BYTES_MAX);
const _: () = assert!(REPLY_TAKEN_AGAIN_AFTER.as_secs() * 5 < CALL_ANSWERED_WITHIN.as_secs());
const _: () = assert!(CANARY_EVERY.as_millis() * 2 <= CANARY_MISSING_AFTER.as_millis());
