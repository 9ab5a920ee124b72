//! Formats of what the log itself stores and publishes: entry, claim and feed records, published payloads, and the
//! texts in hashes. Entries' and snapshots' insides are opaque bytes here.
//!
//! A record is `format, kind, short texts, body`; a short text is a length byte and that many bytes of ASCII. The
//! scripts of the Redis log build the same bytes. `shared/tests/golden/log_v1.hex` holds them for ever.

use std::str::FromStr;

use bytes::{BufMut, Bytes};

use super::{
    ClaimBody, EarsChange, FeedItem, Lineage, LogBody, LogEntry, Present, Push, Reply, SeatedAt, TeamAt, Touched,
};
use crate::ids::{ActorId, EntryId, FeedId, Generation, Incarnation, Nonce, RegionName, Role, SessionId, TeamId};
use crate::presence::Shown;

/// First byte of every record and payload written by this release. The next format will be 2, and readable beside it.
pub const FORMAT: u8 = 1;

const CLAIM: u8 = 1;
const BATCH: u8 = 2;
const RECEIPTS: u8 = 3;
const FEED: u8 = 4;
const ATTACHED: u8 = 5;
const PRESENT: u8 = 6;
const TEAM: u8 = 7;
const REPLIED: u8 = 8;
const EARS: u8 = 9;
const KICKED: u8 = 10;
const TOUCHED: u8 = 11;
const FAR: u8 = 12;

/// Where no name is: no name has this byte.
const NOBODY: &str = "#";
/// Of a team that an earlier release stored without.
const ROLE_OF_OLD: &str = "member";

/// Why stored or published bytes are not what they should be. The bytes themselves are not repeated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    #[error("format {found}, this release reads {FORMAT}")]
    Format { found: u8 },
    #[error("kind {found} where it does not belong")]
    Kind { found: u8 },
    #[error("it ends too early")]
    Short,
    #[error("bytes after its end")]
    Trailing,
    #[error("a text in it is not a valid {what}")]
    Text { what: &'static str },
}

// Records, as stored in streams.

/// A stream entry: the bytes given to `append`.
pub fn batch_record(entry: &[u8]) -> Vec<u8> {
    with_body(BATCH, &[], entry)
}

/// A stream entry: a change of ownership.
pub fn claim_record(claim: &ClaimBody) -> Vec<u8> {
    let texts = [
        claim.prev.to_string(),
        claim.owner.to_string(),
        claim.ring.to_string(),
        claim.nonce.incarnation.to_string(),
        claim.nonce.counter.to_string(),
    ];
    with_body(CLAIM, &texts, &[])
}

/// Never stored, only published: answers of a batch without entry.
pub fn receipts_record(receipts: &[u8]) -> Vec<u8> {
    with_body(RECEIPTS, &[], receipts)
}

/// A feed's stream item. `as_of` is an empty text in a room without log.
pub fn feed_record(prev: FeedId, as_of: Option<EntryId>, body: &[u8]) -> Vec<u8> {
    with_body(FEED, &[prev.to_string(), as_of.map(|id| id.to_string()).unwrap_or_default()], body)
}

/// Never stored, only published on the player's channel.
/// As `ears.lua` writes it.
pub fn ears_record(change: &EarsChange) -> Vec<u8> {
    let (field, value) = change.field();
    with_body(EARS, &[field, value], &[])
}

pub fn attached_record(session: &SessionId, generation: Generation, floor: Generation) -> Vec<u8> {
    with_body(ATTACHED, &[session.to_string(), generation.to_string(), floor.to_string()], &[])
}

/// Never stored, only published on the player's channel: number, last_seen_ms, room or `#`, then incarnation and status of
/// each session.
pub fn present_record(present: &Present) -> Vec<u8> {
    let room = present.room.as_ref().map_or(NOBODY, |room| room.as_str());
    let mut texts = vec![present.number.to_string(), present.last_seen_ms.to_string(), room.to_owned()];
    for (incarnation, shown) in &present.sessions {
        texts.extend([incarnation.to_string(), shown.as_str().to_owned()]);
    }
    with_body(PRESENT, &texts, &[])
}

/// Never stored like this, only published on the player's channel: number, team, role, when issued, since when, then each
/// `team=role` of those before.
pub fn team_record(team: &TeamAt) -> Vec<u8> {
    let (of, role) = named_or_nobody(team.team.as_ref());
    let mut texts = vec![team.number.to_string(), of, role, team.issued_s.to_string(), team.since_ms.to_string()];
    texts.extend(team.before.iter().map(|(team, role)| format!("{team}={role}")));
    with_body(TEAM, &texts, &[])
}

/// Never stored, only published on the player's channel; an empty text: every session.
pub fn kicked_record(session: Option<&SessionId>) -> Vec<u8> {
    with_body(KICKED, &[session.map(SessionId::to_string).unwrap_or_default()], &[])
}

/// Never stored, only published on the player's channel.
pub fn replied_record(actor: ActorId, n: u64, reply: &Reply) -> Vec<u8> {
    let texts = [actor.to_string(), n.to_string(), reply.callee.to_string(), reply.conversation.to_string()];
    with_body(REPLIED, &texts, &reply.body)
}

/// Never stored like this, only published on the region's channel of touched rooms.
pub fn touched_record(touched: &Touched) -> Vec<u8> {
    with_body(TOUCHED, &[touched.to_string()], &[])
}

/// Never stored, only published on the player's channel.
pub fn far_record(region: &RegionName) -> Vec<u8> {
    with_body(FAR, &[region.to_string()], &[])
}

/// What goes over a room's channel: `format, short id, record`. The id is the entry's, the feed item's, for receipts
/// the head they were checked against, and empty for what is of a player.
pub fn published(id: &str, record: &[u8]) -> Vec<u8> {
    let mut payload = Vec::with_capacity(2 + id.len() + record.len());
    payload.put_u8(FORMAT);
    put_short(&mut payload, id);
    payload.put_slice(record);
    payload
}

/// Reads a stream item of a log.
pub fn read_entry(id: EntryId, record: Bytes) -> Result<LogEntry, Unreadable> {
    let mut record = Reader(record);
    let body = match record.kind()? {
        CLAIM => LogBody::Claim(Box::new(record.claim()?)),
        BATCH => LogBody::Batch(record.0),
        found => return Err(Unreadable::Kind { found }),
    };
    Ok(LogEntry { id, body })
}

/// Reads a stream item of a feed.
pub fn read_feed_item(id: FeedId, record: Bytes) -> Result<FeedItem, Unreadable> {
    let mut record = Reader(record);
    match record.kind()? {
        FEED => record.feed_item(id),
        found => Err(Unreadable::Kind { found }),
    }
}

/// Reads a payload of a room's channel. Never panics, whatever the bytes.
pub fn read_published(payload: Bytes) -> Result<Push, Unreadable> {
    let mut payload = Reader(payload);
    payload.format()?;
    let id = payload.short()?;
    match payload.0.get(1).copied().ok_or(Unreadable::Short)? {
        CLAIM | BATCH => read_entry(parse(&id, "entry id")?, payload.0).map(Push::Entry),
        FEED => read_feed_item(parse(&id, "feed id")?, payload.0).map(Push::Feed),
        RECEIPTS => {
            payload.kind()?;
            Ok(Push::Receipts { at: parse(&id, "entry id")?, body: payload.0 })
        }
        ATTACHED => {
            payload.kind()?;
            let session = parse(&payload.short()?, "session")?;
            let generation = Generation(parse(&payload.short()?, "generation")?);
            let floor = Generation(parse(&payload.short()?, "generation")?);
            payload.end()?;
            Ok(Push::Attached { session, generation, floor })
        }
        EARS => {
            payload.kind()?;
            let (field, value) = (payload.short()?, payload.short()?);
            payload.end()?;
            EarsChange::read(&field, &value).map(Push::Ears).ok_or(Unreadable::Text { what: "change of ears" })
        }
        PRESENT => {
            payload.kind()?;
            payload.present().map(Push::Present)
        }
        TEAM => {
            payload.kind()?;
            let words = [payload.short()?, payload.short()?, payload.short()?, payload.short()?, payload.short()?];
            let mut before = Vec::new();
            while !payload.0.is_empty() {
                before.push(payload.short()?);
            }
            let [number, team, role, issued, since] = words;
            let before = if before.is_empty() { NOBODY.to_owned() } else { before.join(",") };
            read_team(&[number, team, role, before, issued, since].join(" ")).map(Push::Team)
        }
        KICKED => {
            payload.kind()?;
            let session = payload.short()?;
            payload.end()?;
            let session = if session.is_empty() { None } else { Some(parse(&session, "session")?) };
            Ok(Push::Kicked { session })
        }
        TOUCHED => {
            payload.kind()?;
            let touched = payload.short()?;
            if !payload.0.is_empty() {
                return Err(Unreadable::Trailing);
            }
            parse(&touched, "touched room").map(Push::Touched)
        }
        FAR => {
            payload.kind()?;
            parse(&payload.short()?, "region").map(Push::Far)
        }
        REPLIED => {
            payload.kind()?;
            let actor = ActorId(parse(&payload.short()?, "actor")?);
            let n = parse(&payload.short()?, "number")?;
            let (callee, conversation) =
                (parse(&payload.short()?, "callee")?, parse(&payload.short()?, "conversation")?);
            Ok(Push::Replied { actor, n, reply: Reply { callee, conversation, body: payload.0 } })
        }
        found => Err(Unreadable::Kind { found }),
    }
}

// Texts, as stored in hash fields.

/// `<epoch>-<version>` of each, oldest first, separated by spaces; empty for none.
pub fn lineage_text(lineage: &Lineage) -> String {
    lineage.0.iter().map(EntryId::to_string).collect::<Vec<_>>().join(" ")
}

pub fn read_lineage(text: &str) -> Result<Lineage, Unreadable> {
    text.split_ascii_whitespace().map(|id| parse(id, "entry id")).collect::<Result<_, _>>().map(Lineage)
}

/// `<incarnation> <counter>`.
pub fn nonce_text(nonce: &Nonce) -> String {
    format!("{} {}", nonce.incarnation, nonce.counter)
}

pub fn read_nonce(text: &str) -> Result<Nonce, Unreadable> {
    let (incarnation, counter) = text.split_once(' ').ok_or(Unreadable::Short)?;
    Ok(Nonce { incarnation: parse(incarnation, "incarnation")?, counter: parse(counter, "counter")? })
}

/// `<generation> <incarnation> <counter> <actor or 0>` of a session, as `attach.lua` writes it; the last two are its own.
pub fn read_seat(text: &str) -> Result<SeatedAt, Unreadable> {
    let mut words = text.split(' ');
    let (generation, incarnation) = words.next().zip(words.next()).ok_or(Unreadable::Short)?;
    let generation = Generation(parse(generation, "generation")?);
    let incarnation = parse::<Incarnation>(incarnation, "incarnation")?;
    Ok(SeatedAt { generation, incarnation, shown: Shown::default() })
}

fn named_or_nobody(team: Option<&(TeamId, Role)>) -> (String, String) {
    team.map_or((NOBODY.to_owned(), NOBODY.to_owned()), |(team, role)| (team.to_string(), role.to_string()))
}

/// `<number> <team> <role> <teams before> <issued> <since>`, each name `#` where there is none; those before are `team=role`,
/// with commas. Without the last word the change counts as the one that brought the player there; without the last two it
/// is of an earlier release, which had one team before, without its role.
pub fn team_text(team: &TeamAt) -> String {
    let (of, role) = named_or_nobody(team.team.as_ref());
    let before: Vec<String> = team.before.iter().map(|(team, role)| format!("{team}={role}")).collect();
    let before = if before.is_empty() { NOBODY.to_owned() } else { before.join(",") };
    format!("{} {of} {role} {before} {} {}", team.number, team.issued_s, team.since_ms)
}

pub fn read_team(text: &str) -> Result<TeamAt, Unreadable> {
    let words: Vec<&str> = text.split(' ').collect();
    let (number, team, role, before, issued, since) = match words[..] {
        [number, team, role, before] => (number, team, role, before, "0", number),
        [number, team, role, before, issued] => (number, team, role, before, issued, number),
        [number, team, role, before, issued, since] => (number, team, role, before, issued, since),
        _ => return Err(Unreadable::Short),
    };
    let team = if team == NOBODY { None } else { Some((parse(team, "team")?, parse(role, "role")?)) };
    let before = before.split(',').filter(|pair| *pair != NOBODY).map(|pair| {
        let (team, role) = pair.split_once('=').unwrap_or((pair, ROLE_OF_OLD));
        Ok((parse(team, "team")?, parse(role, "role")?))
    });
    let (number, issued_s, since_ms) = (parse(number, "number")?, parse(issued, "time")?, parse(since, "time")?);
    Ok(TeamAt { number, team, before: before.collect::<Result<_, _>>()?, issued_s, since_ms })
}

pub fn read_shown(text: &str) -> Result<Shown, Unreadable> {
    Shown::from_name(text).ok_or(Unreadable::Text { what: "status" })
}

fn parse<T: FromStr>(text: &str, what: &'static str) -> Result<T, Unreadable> {
    text.parse().map_err(|_| Unreadable::Text { what })
}

fn with_body(kind: u8, texts: &[String], body: &[u8]) -> Vec<u8> {
    let texts_bytes: usize = texts.iter().map(|text| 1 + text.len()).sum();
    let mut record = Vec::with_capacity(2 + texts_bytes + body.len());
    record.put_u8(FORMAT);
    record.put_u8(kind);
    for text in texts {
        put_short(&mut record, text);
    }
    record.put_slice(body);
    record
}

fn put_short(record: &mut Vec<u8>, text: &str) {
    // Every text here is an id: names of at most 64 bytes and decimal numbers.
    let length = u8::try_from(text.len()).unwrap_or(u8::MAX);
    record.put_u8(length);
    record.put_slice(&text.as_bytes()[..usize::from(length)]);
}

/// What is left of a record; slices share the record's memory.
struct Reader(Bytes);

impl Reader {
    fn byte(&mut self) -> Result<u8, Unreadable> {
        let byte = *self.0.first().ok_or(Unreadable::Short)?;
        let _ = self.0.split_to(1);
        Ok(byte)
    }

    fn format(&mut self) -> Result<(), Unreadable> {
        match self.byte()? {
            FORMAT => Ok(()),
            found => Err(Unreadable::Format { found }),
        }
    }

    fn kind(&mut self) -> Result<u8, Unreadable> {
        self.format()?;
        self.byte()
    }

    fn short(&mut self) -> Result<String, Unreadable> {
        let length = usize::from(self.byte()?);
        if self.0.len() < length {
            return Err(Unreadable::Short);
        }
        String::from_utf8(self.0.split_to(length).to_vec()).map_err(|_| Unreadable::Text { what: "text" })
    }

    fn end(&self) -> Result<(), Unreadable> {
        if self.0.is_empty() { Ok(()) } else { Err(Unreadable::Trailing) }
    }

    fn claim(&mut self) -> Result<ClaimBody, Unreadable> {
        let prev = parse(&self.short()?, "entry id")?;
        let owner = parse(&self.short()?, "incarnation")?;
        let ring = crate::ids::RingVersion(parse(&self.short()?, "ring version")?);
        let incarnation = parse(&self.short()?, "incarnation")?;
        let counter = parse(&self.short()?, "counter")?;
        self.end()?;
        Ok(ClaimBody { prev, owner, ring, nonce: Nonce { incarnation, counter } })
    }

    fn present(&mut self) -> Result<Present, Unreadable> {
        let (number, last_seen_ms) = (parse(&self.short()?, "number")?, parse(&self.short()?, "time")?);
        let room = self.short()?;
        let room = if room == NOBODY { None } else { Some(parse(&room, "sector")?) };
        let mut sessions = Vec::new();
        while !self.0.is_empty() {
            sessions.push((parse(&self.short()?, "incarnation")?, read_shown(&self.short()?)?));
        }
        Ok(Present { number, last_seen_ms, room, sessions })
    }

    fn feed_item(&mut self, id: FeedId) -> Result<FeedItem, Unreadable> {
        let prev = parse(&self.short()?, "feed id")?;
        let as_of = self.short()?;
        let as_of = if as_of.is_empty() { None } else { Some(parse(&as_of, "entry id")?) };
        Ok(FeedItem { id, prev, as_of, body: self.0.clone() })
    }
}

#[cfg(test)]
#[path = "stored_tests.rs"]
mod tests;
