//! Frames survive both codecs, and no bytes a peer may send make decoding panic.

#![allow(clippy::unwrap_used, reason = "strategies are not in #[test] functions")]

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use sectorbus::action::{Action, Answer, Facts, RejectCode, Status};
use sectorbus::beyond::Beyond;
use sectorbus::ids::{
    ActorId, Alias, EntryId, FeedId, PlayerId, RegionName, RoomId, SectorId, Seq, SessionId, TopicId,
};
use sectorbus::limits::{INT_ABS_MAX, JUMP_TICKET_BYTES_MAX};
use sectorbus::presence::Shown;
use sectorbus::protocol::{
    Ack, Act, ActorMarks, Block, Blocks, Body, Call, CallFailed, CallFailure, CallReply, Change, ChangeBody,
    ChannelCount, ClientFrame, Codec, Counts, DeltaFrame, Elsewhere, EntityFields, ErrorCode, ErrorFrame, FeedPlace,
    FeedPlaceReason, FieldChanges, Fields, Hello, History, Item, Leaving, Left, Limits, Marked, Moved, Observe,
    Observed, ObservedRoom, OwnChange, OwnerChange, Page, PageItem, Ping, PlayerPresence, Pong, Prefer, Preferences,
    Presence, Read, Refused, Reject, RetryAfter, RoomSnapshot, SaidAt, Say, Secret, SeqAnswer, ServerFrame, Slot,
    Snapshot, SnapshotReason, Source, Topic, Topics, Unavailable, Unread, Welcome,
};
use sectorbus::said::{Announcement, Chat, Event, HeardKind, Level, Notice, NoticeKind, Private, RefusalCode, Said};
use sectorbus::value::{Field, Value};

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![0..300_u64, 0..=INT_ABS_MAX as u64]
}

fn name() -> impl Strategy<Value = String> {
    "[A-Za-z0-9_-]{1,64}"
}

fn sector() -> impl Strategy<Value = SectorId> {
    name().prop_map(|name| SectorId::new(&name).unwrap())
}

fn seq() -> impl Strategy<Value = Seq> {
    number().prop_map(|n| Seq(n.max(1)))
}

fn entry_id() -> impl Strategy<Value = EntryId> {
    (number(), number()).prop_map(|(epoch, version)| EntryId::new(epoch, version))
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        (-INT_ABS_MAX..=INT_ABS_MAX).prop_map(Value::from),
        (-200..70_000_i64).prop_map(Value::from),
        ".{0,40}".prop_map(|text| Value::from(text.as_str())),
    ]
}

/// Known fields and ones of a newer server.
fn field() -> impl Strategy<Value = Field> {
    (1..=255_u8).prop_map(Field)
}

fn fields() -> impl Strategy<Value = Fields> {
    btree_map(field(), value(), 0..6).prop_map(|map| map.into_iter().collect())
}

fn changes(fewest: usize) -> impl Strategy<Value = FieldChanges> {
    btree_map(field(), proptest::option::of(value()), fewest..6)
        .prop_map(|set| set.into_iter().collect::<Vec<_>>())
        .prop_shuffle()
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        sector().prop_map(|to| Action::Move { to }),
        Just(Action::Status { status: Status::Busy }),
        any::<u32>().prop_map(|target| Action::Attack { target: Alias(target) }),
        (name(), sector()).prop_map(|(region, sector)| Action::Jump {
            to: Beyond { region: RegionName::new(&region).unwrap(), sector }
        }),
    ]
}

fn hello() -> impl Strategy<Value = ClientFrame> {
    let text = || proptest::option::of(".{0,20}".prop_map(String::from));
    let cursor = proptest::option::of((entry_id(), sector(), proptest::option::of(entry_id())));
    let actor = proptest::option::of((seq(), seq()));
    let feeds = btree_map(room(), feed_id(), 0..4);
    (text(), text(), any::<bool>(), text(), vec(name(), 0..4), cursor, actor, feeds).prop_map(
        |(token, secret, is_ticket, device, features, cursor, actor, feeds)| {
            let secret = secret.map(Secret::from);
            let (resume, ticket) = if is_ticket { (None, secret) } else { (secret, None) };
            ClientFrame::Hello(Hello {
                token: token.map(Secret::from),
                features,
                resume,
                ticket: ticket.filter(|ticket| ticket.reveal().len() <= JUMP_TICKET_BYTES_MAX),
                cursor: cursor.as_ref().map(|(cursor, _, _)| *cursor),
                acked: cursor.as_ref().and_then(|(_, _, acked)| *acked),
                sector: cursor.map(|(_, sector, _)| sector),
                actor: actor.map(|(actor, _)| ActorId(actor.0)),
                first_seq: actor.map(|(_, seq)| seq),
                device: device.map(|text| text.chars().take(16).collect()),
                feeds,
            })
        },
    )
}

fn elsewhere() -> impl Strategy<Value = ServerFrame> {
    use proptest::option::of;
    let region = name().prop_map(|name| RegionName::new(&name).unwrap());
    (region, of(sector()), of(".{0,20}"), of(".{0,20}")).prop_map(|(region, sector, address, ticket)| {
        ServerFrame::Elsewhere(Elsewhere { region, sector, address, ticket: ticket.map(Secret::from) })
    })
}

fn room() -> impl Strategy<Value = RoomId> {
    prop_oneof![
        Just("global".to_owned()),
        name().prop_map(|name| format!("sector:{name}")),
        name().prop_map(|name| format!("team:{name}")),
        name().prop_map(|name| format!("player:{name}")),
        topic().prop_map(|topic| format!("topic:{topic}")),
    ]
    .prop_map(|text| text.parse().unwrap())
}

fn topic() -> impl Strategy<Value = TopicId> {
    "[A-Za-z0-9_-]{1,9}(:[A-Za-z0-9_-]{1,9}){0,3}".prop_map(|name| TopicId::new(&name).unwrap())
}

fn room_elsewhere() -> impl Strategy<Value = RoomId> {
    let room = prop_oneof![sector().prop_map(RoomId::Sector), Just(RoomId::Global)];
    (room, name()).prop_map(|(room, region)| room.at(region.parse().unwrap()).unwrap())
}

fn feed_id() -> impl Strategy<Value = FeedId> {
    (number(), number()).prop_map(|(ms, n)| FeedId { ms, n })
}

fn player() -> impl Strategy<Value = PlayerId> {
    name().prop_map(|name| PlayerId::new(&name).unwrap())
}

fn request() -> impl Strategy<Value = ClientFrame> {
    let n = || number().prop_map(|n| n.max(1));
    let before = proptest::option::of(feed_id());
    let limit = proptest::option::of(1..=100_u32);
    prop_oneof![
        (n(), room(), ".{0,40}").prop_map(|(n, to, text)| ClientFrame::Say(Say { n, to, text })),
        (n(), room(), before, limit).prop_map(|(n, of, before, limit)| ClientFrame::History(History {
            n,
            of,
            before,
            limit
        })),
        (room(), feed_id()).prop_map(|(of, upto)| ClientFrame::Read(Read { of, upto })),
        n().prop_map(|n| ClientFrame::Unread(Unread { n })),
        (n(), kind(), any::<bool>()).prop_map(|(n, kind, wanted)| ClientFrame::Prefer(Prefer { n, kind, wanted })),
        (n(), player(), any::<bool>()).prop_map(|(n, player, blocked)| ClientFrame::Block(Block {
            n,
            player,
            blocked
        })),
        (n(), topic(), any::<bool>()).prop_map(|(n, name, wanted)| ClientFrame::Topic(Topic { n, name, wanted })),
        (n(), room_elsewhere(), any::<bool>()).prop_map(|(n, room, wanted)| ClientFrame::Observe(Observe {
            n,
            room,
            wanted
        })),
    ]
}

fn kind() -> impl Strategy<Value = HeardKind> {
    proptest::sample::select(HeardKind::ALL.to_vec())
}

fn said() -> impl Strategy<Value = Said> {
    let text = || ".{0,40}";
    prop_oneof![
        (player(), text(), text()).prop_map(|(from, name, text)| Said::Chat(Chat { from, name, text })),
        (player(), text(), player(), text()).prop_map(|(from, name, to, text)| Said::Private(Private {
            from,
            name,
            to,
            text
        })),
        text().prop_map(|text| Said::Announcement(Announcement { level: Level::Warning, text })),
        facts().prop_map(|about| Said::Notice(Notice { kind: NoticeKind::Attack, level: Level::Info, about })),
        facts().prop_map(|about| Said::Event(Event {
            name: "market-opens".parse().expect("a name"),
            level: Level::Critical,
            about
        })),
    ]
}

fn of_feeds() -> impl Strategy<Value = ServerFrame> {
    let item = || (feed_id(), ".{0,40}", said()).prop_map(|(id, msg, said)| PageItem { id, msg, said });
    let why = prop_oneof![
        Just(FeedPlaceReason::Started),
        Just(FeedPlaceReason::Gap),
        Just(FeedPlaceReason::Rewound),
        Just(FeedPlaceReason::Passed),
        Just(FeedPlaceReason::Ended),
    ];
    let count = (room(), proptest::option::of(feed_id()), any::<u32>(), feed_id())
        .prop_map(|(of, upto, unread, counted)| ChannelCount { of, upto, unread, counted });
    prop_oneof![
        (number(), feed_id(), ".{0,40}").prop_map(|(n, id, msg)| ServerFrame::Said(SaidAt { n, id, msg })),
        (number(), proptest::sample::select(RefusalCode::ALL.to_vec()), facts())
            .prop_map(|(n, code, facts)| ServerFrame::Refused(Refused { n, code, facts })),
        (room(), item())
            .prop_map(|(of, PageItem { id, msg, said })| { ServerFrame::Item(Box::new(Item { of, id, msg, said })) }),
        (room(), feed_id(), why).prop_map(|(of, at, why)| ServerFrame::Feed(FeedPlace { of, at, why })),
        (number(), room(), vec(item(), 0..4), proptest::option::of(feed_id()))
            .prop_map(|(n, of, items, before)| ServerFrame::Page(Page { n, of, items, before })),
        (room(), feed_id()).prop_map(|(of, upto)| ServerFrame::Marked(Marked { of, upto })),
        (number(), vec(count, 0..4)).prop_map(|(n, channels)| ServerFrame::Counts(Counts { n, channels })),
        (proptest::option::of(number()), vec(player(), 0..4))
            .prop_map(|(n, players)| ServerFrame::Blocks(Blocks { n, players })),
        (number(), vec(topic(), 0..4)).prop_map(|(n, names)| ServerFrame::Topics(Topics { n, names })),
        (number(), vec(room_elsewhere(), 0..4)).prop_map(|(n, rooms)| {
            let rooms = rooms.into_iter().zip(Slot::OBSERVED).map(|(of, room)| ObservedRoom { room, of }).collect();
            ServerFrame::Observed(Observed { n, rooms })
        }),
        (proptest::option::of(number()), vec(kind(), 0..4))
            .prop_map(|(n, unwanted)| ServerFrame::Preferences(Preferences { n, unwanted })),
    ]
}

fn client_frame() -> impl Strategy<Value = ClientFrame> {
    prop_oneof![
        hello(),
        (seq(), action()).prop_map(|(seq, action)| ClientFrame::Act(Act { seq, action })),
        Just(ClientFrame::Resync {}),
        number().prop_map(|t| ClientFrame::Ping(Ping { t })),
        Just(ClientFrame::Bye {}),
        Just(ClientFrame::Logout {}),
        request(),
        call().prop_map(ClientFrame::Call),
    ]
}

fn body() -> impl Strategy<Value = Body> {
    let leaf = prop_oneof![
        Just(Body::Null),
        any::<bool>().prop_map(Body::Bool),
        (-INT_ABS_MAX..=INT_ABS_MAX).prop_map(Body::Int),
        ".{0,20}".prop_map(Body::Text),
    ];
    leaf.prop_recursive(4, 16, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Body::List),
            btree_map(".{0,8}".prop_map(String::from), inner, 0..4).prop_map(Body::Map),
        ]
    })
}

fn call() -> impl Strategy<Value = Call> {
    let conversation = proptest::option::of(name());
    (seq(), name(), body(), conversation).prop_map(|(n, service, body, conversation)| Call {
        n: n.0,
        service: service.parse().unwrap(),
        body,
        conversation: conversation.map(|name| name.parse().unwrap()),
    })
}

fn facts() -> impl Strategy<Value = Facts> {
    btree_map(".{0,10}".prop_map(String::from), value(), 0..3)
}

fn reject_code() -> impl Strategy<Value = RejectCode> {
    prop_oneof![Just(RejectCode::CoolingDown), Just(RejectCode::UnknownActor)]
}

fn marks() -> impl Strategy<Value = Vec<ActorMarks>> {
    let answer = prop_oneof![
        Just(Answer::Ack),
        (reject_code(), facts()).prop_map(|(code, facts)| Answer::Reject { code, facts }),
    ];
    let answers = vec((seq(), answer).prop_map(|(seq, answer)| SeqAnswer { seq, answer }), 0..4);
    let one = (number(), seq(), any::<u128>(), answers).prop_map(|(actor, high, bitmap, answers)| ActorMarks {
        actor: ActorId(actor),
        high,
        bitmap,
        answers,
    });
    vec(one, 0..3)
}

fn snapshot() -> impl Strategy<Value = Snapshot> {
    let entity = (any::<u32>(), fields()).prop_map(|(alias, fields)| EntityFields { entity: Alias(alias), fields });
    let parts = (0..3_u8, sector(), entry_id(), any::<u32>(), vec(entity, 0..5), fields(), marks());
    parts.prop_map(|(room, sector, id, sum, entities, own, marks)| Snapshot {
        room: Slot(room),
        sector,
        id,
        owner: "n1".into(),
        sum,
        entities,
        own,
        own_sum: sum.rotate_left(7),
        marks,
        reason: SnapshotReason::Gap,
    })
}

fn change() -> impl Strategy<Value = Change> {
    let body = prop_oneof![changes(1).prop_map(ChangeBody::Set), Just(ChangeBody::Removed)];
    (any::<u32>(), body).prop_map(|(alias, body)| Change { entity: Alias(alias), body })
}

fn delta() -> impl Strategy<Value = DeltaFrame> {
    let versions = prop_oneof![
        number().prop_map(|to| (to.max(1) - 1, to.max(1))),
        (number(), number()).prop_map(|(a, b)| (a.min(b), a.max(b).max(a.min(b) + 1))),
    ];
    let versions = versions.prop_filter("within range", |(_, to)| *to <= INT_ABS_MAX as u64);
    (0..3_u8, versions, any::<u32>(), vec(change(), 0..20)).prop_map(|(room, (from, to), sum, changes)| DeltaFrame {
        room: Slot(room),
        from,
        to,
        sum,
        changes,
    })
}

fn welcome() -> impl Strategy<Value = Welcome> {
    let head = proptest::option::of(entry_id());
    (name(), name(), number(), any::<bool>(), marks(), vec(name(), 0..3), head).prop_map(
        |(session, player, now_ms, recovered, pending, features, head)| Welcome {
            session: SessionId::new(&session).unwrap(),
            resume: Secret::from("r"),
            player: PlayerId::new(&player).unwrap(),
            actor: ActorId(3),
            features,
            now_ms,
            node: "n1".into(),
            heartbeat_ms: 20_000,
            resume_window_ms: 60_000,
            recovered,
            source: Source::Log,
            limits: Limits::V1,
            fields: Welcome::field_names(),
            pending,
            head,
        },
    )
}

fn server_frame() -> impl Strategy<Value = ServerFrame> {
    prop_oneof![
        welcome().prop_map(|frame| ServerFrame::Welcome(Box::new(frame))),
        snapshot().prop_map(|frame| ServerFrame::Snapshot(Box::new(frame))),
        delta().prop_map(ServerFrame::Delta),
        (number(), any::<u32>(), changes(0)).prop_map(|(to, sum, set)| ServerFrame::Own(OwnChange { to, sum, set })),
        (seq(), number()).prop_map(|(seq, version)| ServerFrame::Ack(Ack { seq, version })),
        (seq(), reject_code(), facts(), number())
            .prop_map(|(seq, code, facts, version)| { ServerFrame::Reject(Reject { seq, code, facts, version }) }),
        number().prop_map(|ms| ServerFrame::RetryAfter(RetryAfter { ms })),
        number().prop_map(|ms| ServerFrame::Unavailable(Unavailable { retry_after_ms: ms })),
        (sector(), sector(), snapshot())
            .prop_map(|(from, to, snapshot)| { ServerFrame::Moved(Box::new(Moved { from, to, snapshot })) }),
        (name(), number(), number()).prop_map(|(node, epoch, version)| {
            ServerFrame::Owner(OwnerChange { room: Slot::SECTOR, node, epoch, version })
        }),
        (number(), number()).prop_map(|(t, now_ms)| ServerFrame::Pong(Pong { t, now_ms })),
        ".{0,40}".prop_map(|detail| { ServerFrame::Error(ErrorFrame::new(ErrorCode::InvalidField, detail)) }),
        number().prop_map(|ms| ServerFrame::Leaving(Leaving { reconnect_after_ms: ms })),
        elsewhere(),
        of_feeds(),
        (entry_id(), any::<u32>(), snapshot()).prop_map(|(id, sum, snapshot)| {
            let (of, entities) = ("team:red".parse().unwrap(), snapshot.entities);
            let (room, owner, reason) = (Slot::TEAM, "n1".to_owned(), SnapshotReason::Join);
            ServerFrame::Room(Box::new(RoomSnapshot { room, of, id, owner, sum, entities, reason }))
        }),
        Just(ServerFrame::Left(Left { room: Slot::TEAM, of: RoomId::Global })),
        (name(), proptest::option::of(number()), proptest::option::of(sector())).prop_map(|(name, seen, sector)| {
            let (player, status) = (PlayerId::new(&name).unwrap(), Shown::InCombat);
            let one = PlayerPresence { player, status, devices: 2, last_seen_ms: seen, sector };
            ServerFrame::Presence(Presence { players: vec![one] })
        }),
        (number(), name(), name(), body()).prop_map(|(n, service, conversation, body)| {
            let (service, conversation) = (service.parse().unwrap(), conversation.parse().unwrap());
            ServerFrame::Reply(Box::new(CallReply { n, service, conversation, body }))
        }),
        (number(), proptest::option::of(number())).prop_map(|(n, retry_after_ms)| {
            ServerFrame::CallFailed(CallFailed { n, code: CallFailure::TooMany, retry_after_ms })
        }),
    ]
}

proptest! {
    #[test]
    fn client_frames_survive_both_codecs(frame in client_frame()) {
        for codec in Codec::ALL {
            prop_assert_eq!(ClientFrame::decode(codec, &frame.encode(codec)), Ok(frame.clone()));
        }
    }

    #[test]
    fn server_frames_survive_both_codecs(frame in server_frame()) {
        for codec in Codec::ALL {
            prop_assert_eq!(ServerFrame::decode(codec, &frame.encode(codec)), Ok(frame.clone()));
        }
    }

    #[test]
    fn no_bytes_make_decoding_panic(bytes in vec(any::<u8>(), 0..200)) {
        for codec in Codec::ALL {
            let _ = ClientFrame::decode(codec, &bytes);
            let _ = ServerFrame::decode(codec, &bytes);
        }
    }

    /// Random bytes rarely get past the first check: damaged frames get further.
    #[test]
    fn no_damaged_frame_makes_decoding_panic(
        client in client_frame(),
        server in server_frame(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        for codec in Codec::ALL {
            for bytes in [client.encode(codec), server.encode(codec)] {
                let mut bytes = bytes.to_vec();
                for (at, byte) in &damage {
                    let at = at.index(bytes.len());
                    bytes[at] = *byte;
                }
                let _ = ClientFrame::decode(codec, &bytes);
                let _ = ServerFrame::decode(codec, &bytes);
            }
        }
    }

    #[test]
    fn a_frame_cut_short_or_with_a_tail_is_refused(
        client in client_frame(),
        server in server_frame(),
        at in any::<prop::sample::Index>(),
        tail in "[a-z0-9{\\[\"]{1,3}",
    ) {
        for codec in Codec::ALL {
            let whole = client.encode(codec);
            prop_assert!(ClientFrame::decode(codec, &whole[..at.index(whole.len())]).is_err());
            prop_assert!(ClientFrame::decode(codec, &[&whole, tail.as_bytes()].concat()).is_err());
            let whole = server.encode(codec);
            prop_assert!(ServerFrame::decode(codec, &whole[..at.index(whole.len())]).is_err());
            prop_assert!(ServerFrame::decode(codec, &[&whole, tail.as_bytes()].concat()).is_err());
        }
    }
}
