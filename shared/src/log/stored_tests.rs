//! Stored and published bytes: golden ones are read, and whatever else is refused.

use super::*;
use crate::ids::{PlayerId, RingVersion, RoomId};
use crate::log::Part;

fn claim() -> ClaimBody {
    let owner: Incarnation = "node-a#1700000000000".parse().unwrap();
    ClaimBody {
        prev: EntryId::new(1_700_000_000_001, 41),
        owner: owner.clone(),
        ring: RingVersion(1_700_000_000_500),
        nonce: Nonce { incarnation: owner, counter: 7 },
    }
}

fn present() -> Present {
    let sessions = vec![(claim().owner, Shown::Away), ("node-b#1700000000004".parse().unwrap(), Shown::Online)];
    Present { number: 1_700_000_000_005, last_seen_ms: 0, room: Some("12".parse().unwrap()), sessions }
}

fn team() -> TeamAt {
    let named = ("red".parse().unwrap(), "captain".parse().unwrap());
    TeamAt {
        number: 1_700_000_000_006,
        team: Some(named),
        before: Vec::new(),
        issued_s: 1_700_000_000,
        since_ms: 1_700_000_000_001,
    }
}

fn reply() -> Reply {
    let (callee, conversation) = ("aria".parse().unwrap(), "c1".parse().unwrap());
    Reply { callee, conversation, body: Bytes::from_static(b"{}") }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Name and bytes of one record of every kind, in the order of the golden file.
fn one_of_each() -> Vec<(&'static str, Vec<u8>)> {
    let id = EntryId::new(1_700_000_000_002, 42);
    let feed_id = FeedId { ms: 1_700_000_000_003, n: 1 };
    let batch = batch_record(b"\x01entry");
    let item = feed_record(FeedId::START, Some(id), b"\x01hello");
    let attached = attached_record(&SessionId::new("s1").unwrap(), Generation(3), Generation(2));
    let block = EarsChange::Block { peer: PlayerId::new("bob").unwrap(), blocked: true };
    let mark = EarsChange::Mark { of: RoomId::Global, upto: feed_id };
    vec![
        ("claim", claim_record(&claim())),
        ("batch", batch.clone()),
        ("feed", item.clone()),
        ("feed_without_log", feed_record(feed_id, None, b"\x01hello")),
        ("published_claim", published(&id.to_string(), &claim_record(&claim()))),
        ("published_batch", published(&id.to_string(), &batch)),
        ("published_receipts", published(&id.to_string(), &receipts_record(b"\x01no"))),
        ("published_feed", published(&feed_id.to_string(), &item)),
        ("published_attached", published("", &attached)),
        ("published_block", published("", &ears_record(&block))),
        ("published_mark", published("", &ears_record(&mark))),
        ("published_present", published("", &present_record(&present()))),
        ("published_team", published("", &team_record(&team()))),
        ("published_kicked", published("", &kicked_record(Some(&SessionId::new("s1").unwrap())))),
        ("published_replied", published("", &replied_record(ActorId(7), 3, &reply()))),
    ]
}

#[test]
fn written_bytes_equal_the_golden_file() {
    let golden = include_str!("../../tests/golden/log_v1.hex");
    let lines: Vec<String> = one_of_each().iter().map(|(name, bytes)| format!("{name} {}", hex(bytes))).collect();
    assert_eq!(golden.trim_end(), lines.join("\n"), "a change here makes stored logs unreadable");
}

#[test]
fn records_are_read_back() {
    let id = EntryId::new(9, 4);
    let read = read_entry(id, claim_record(&claim()).into()).unwrap();
    assert_eq!(read, LogEntry { id, body: LogBody::Claim(Box::new(claim())) });
    let read = read_entry(id, batch_record(b"x").into()).unwrap();
    assert_eq!(read.body, LogBody::Batch(Bytes::from_static(b"x")));

    let feed_id = FeedId { ms: 5, n: 6 };
    let item = read_feed_item(feed_id, feed_record(FeedId::START, None, b"hi").into()).unwrap();
    assert_eq!(item, FeedItem { id: feed_id, prev: FeedId::START, as_of: None, body: Bytes::from_static(b"hi") });

    let push = read_published(published("9-4", &receipts_record(b"no")).into()).unwrap();
    assert_eq!(push, Push::Receipts { at: id, body: Bytes::from_static(b"no") });
    let session = SessionId::new("s").unwrap();
    let attached = attached_record(&session, Generation(2), Generation(1));
    let push = read_published(published("", &attached).into()).unwrap();
    assert_eq!(push, Push::Attached { session: session.clone(), generation: Generation(2), floor: Generation(1) });
    let peer = PlayerId::new("bob").unwrap();
    let changes = [
        EarsChange::Block { peer: peer.clone(), blocked: false },
        EarsChange::Mute { until_ms: Some(7) },
        EarsChange::Mute { until_ms: None },
        EarsChange::Mark { of: RoomId::Player(peer), upto: feed_id },
    ];
    for change in changes {
        let push = read_published(published("", &ears_record(&change)).into()).unwrap();
        assert_eq!(push, Push::Ears(change));
    }
    assert_eq!(read_published(published("", &present_record(&present())).into()), Ok(Push::Present(present())));
    assert_eq!(read_published(published("", &team_record(&team())).into()), Ok(Push::Team(team())));
    for session in [None, Some(session)] {
        let push = read_published(published("", &kicked_record(session.as_ref())).into()).unwrap();
        assert_eq!(push, Push::Kicked { session });
    }
    let us: crate::ids::RegionName = "us".parse().unwrap();
    assert_eq!(read_published(published("", &far_record(&us)).into()), Ok(Push::Far(us)));
    let touched = Touched { part: Part::Presence, room: "player:ann".parse().unwrap() };
    assert_eq!(read_published(published("", &touched_record(&touched)).into()), Ok(Push::Touched(touched)));
    let push = read_published(published("", &replied_record(ActorId(7), 3, &reply())).into()).unwrap();
    assert_eq!(push, Push::Replied { actor: ActorId(7), n: 3, reply: reply() });
}

#[test]
fn other_formats_and_trailing_bytes_are_refused() {
    let mut other = batch_record(b"x");
    other[0] = 9;
    assert_eq!(read_entry(EntryId::GENESIS, other.into()), Err(Unreadable::Format { found: 9 }));
    let mut long = claim_record(&claim());
    long.push(0);
    assert_eq!(read_entry(EntryId::GENESIS, long.into()), Err(Unreadable::Trailing));
    let feed = feed_record(FeedId::START, None, b"");
    assert_eq!(read_entry(EntryId::GENESIS, feed.into()), Err(Unreadable::Kind { found: FEED }));
}

#[test]
fn texts_are_read_back() {
    let lineage = Lineage(vec![EntryId::new(1, 2), EntryId::new(3, 4)]);
    assert_eq!(lineage_text(&lineage), "1-2 3-4");
    assert_eq!(read_lineage("1-2 3-4"), Ok(lineage));
    assert_eq!(read_lineage(""), Ok(Lineage::default()));
    assert_eq!(read_nonce(&nonce_text(&claim().nonce)), Ok(claim().nonce));
    let seat = SeatedAt { generation: Generation(4), incarnation: claim().owner, shown: Shown::Online };
    assert_eq!(read_seat("4 node-a#1700000000000 17 0"), Ok(seat));
    let before = |role: &str| vec![("red".parse().unwrap(), role.parse().unwrap())];
    let none = TeamAt { number: 3, team: None, before: before("captain"), issued_s: 4, since_ms: 2 };
    assert_eq!(team_text(&none), "3 # # red=captain 4 2");
    assert_eq!(read_team(&team_text(&none)), Ok(none.clone()));
    let old = TeamAt { before: before("member"), issued_s: 0, since_ms: 3, ..none };
    assert_eq!(read_team("3 # # red"), Ok(old), "of an earlier release");
    assert!(read_team("3 red # #").is_err() && read_team("3 # #").is_err());
    assert!(read_lineage("1-2 x").is_err());
    assert!(read_nonce("n#1").is_err());
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes: Vec<u8>, cut in 0usize..200, flip in 0usize..200, value: u8) {
        let _ = read_published(bytes.clone().into());
        let _ = read_entry(EntryId::GENESIS, bytes.clone().into());
        let _ = read_feed_item(FeedId::START, bytes.into());
        for (_, mut good) in one_of_each() {
            let length = good.len();
            good[flip % length] = value;
            good.truncate(cut.max(1));
            let _ = read_published(good.clone().into());
            let _ = read_entry(EntryId::GENESIS, good.into());
        }
    }
}
