//! What a client says and hears in feeds, and what it holds the server to: each item once and in order, nothing private
//! of others, one answer to everything said. Pure; part of `client`.

use std::collections::{BTreeMap, BTreeSet};

use sectorbus::ids::{FeedId, PlayerId, RoomId, SectorId, TopicId};
use sectorbus::protocol::{
    Block, ChannelCount, ClientFrame, FeedPlace, FeedPlaceReason, History, Item, Observe, Page, Prefer, Read, Refused,
    RequestNo, SaidAt, Say, ServerFrame, Topic, Unread,
};
use sectorbus::said::{HeardKind, NoticeKind, RefusalCode, Said};
use sectorbus::value::Value;

/// Feeds of one player, over all connections of one client.
#[derive(Debug, Clone, Default)]
pub struct Heard {
    player: String,
    /// The client asks for feeds.
    pub wanted: bool,
    /// The last item of each feed.
    pub cursors: BTreeMap<RoomId, FeedId>,
    /// All items, as they came.
    pub items: Vec<Item>,
    names: BTreeSet<(RoomId, String)>,
    pub places: Vec<FeedPlace>,
    /// Had before the feed began to be read this time: if the log loses them, they may be told again under other ids.
    may_repeat: BTreeSet<(RoomId, String)>,
    requests: RequestNo,
    /// Not answered yet.
    pub saying: BTreeMap<RequestNo, Say>,
    pub said: BTreeMap<RequestNo, SaidAt>,
    pub refused: BTreeMap<RequestNo, RefusalCode>,
    pub pages: BTreeMap<RequestNo, Page>,
    pub counts: BTreeMap<RequestNo, Vec<ChannelCount>>,
    pub marks: BTreeMap<RoomId, FeedId>,
    pub blocked: BTreeSet<PlayerId>,
    /// Wanted, and asked for again on a new connection.
    pub topics: BTreeSet<TopicId>,
    asked_for: BTreeMap<RequestNo, TopicId>,
    /// As the server last said.
    pub topics_told: Vec<TopicId>,
    pub unwanted: BTreeSet<HeardKind>,
}

impl Heard {
    pub(super) fn of(player: &str) -> Self {
        Self { player: player.to_owned(), ..Self::default() }
    }

    /// Cursors for a `hello`: of the feeds that this client reads.
    pub(super) fn cursors(&self, sector: Option<&SectorId>) -> BTreeMap<RoomId, FeedId> {
        let is_read = |room: &&RoomId| room.sector().is_none() || room.sector() == sector;
        let rooms = self.cursors.keys().filter(is_read);
        rooms.filter_map(|room| Some((room.clone(), *self.cursors.get(room)?))).collect()
    }

    /// A number for a request of any kind: all are one series.
    pub(super) fn next_request(&mut self) -> RequestNo {
        self.requests += 1;
        self.requests
    }

    /// Something to say; pending until it is answered.
    pub fn say(&mut self, to: RoomId, text: &str) -> ClientFrame {
        let say = Say { n: self.next_request(), to, text: text.to_owned() };
        self.saying.insert(say.n, say.clone());
        ClientFrame::Say(say)
    }

    pub fn history(&mut self, of: RoomId, before: Option<FeedId>, limit: u32) -> ClientFrame {
        ClientFrame::History(History { n: self.next_request(), of, before, limit: Some(limit) })
    }

    pub fn unread(&mut self) -> ClientFrame {
        ClientFrame::Unread(Unread { n: self.next_request() })
    }

    pub fn block(&mut self, player: PlayerId, blocked: bool) -> ClientFrame {
        ClientFrame::Block(Block { n: self.next_request(), player, blocked })
    }

    pub fn topic(&mut self, name: TopicId, wanted: bool) -> ClientFrame {
        let n = self.next_request();
        if wanted {
            self.topics.insert(name.clone());
            self.asked_for.insert(n, name.clone());
        } else {
            self.topics.remove(&name);
        }
        ClientFrame::Topic(Topic { n, name, wanted })
    }

    pub fn observe(&mut self, room: RoomId, wanted: bool) -> ClientFrame {
        ClientFrame::Observe(Observe { n: self.next_request(), room, wanted })
    }

    pub fn prefer(&mut self, kind: HeardKind, wanted: bool) -> ClientFrame {
        ClientFrame::Prefer(Prefer { n: self.next_request(), kind, wanted })
    }

    pub fn read(&self, of: RoomId, upto: FeedId) -> ClientFrame {
        ClientFrame::Read(Read { of, upto })
    }

    /// The number of the last request.
    pub fn last_request(&self) -> RequestNo {
        self.requests
    }

    /// What was said in a room, or to and by this player, as it came; without what has no words.
    pub fn texts(&self, of: &RoomId) -> Vec<&str> {
        let texts = self.items.iter().filter(|item| item.of == *of).map(|item| item.said.text());
        texts.filter(|text| !text.is_empty()).collect()
    }

    /// A fact of each notice of a kind in a feed, as they came.
    pub fn notices(&self, of: &RoomId, kind: NoticeKind, fact: &str) -> Vec<&str> {
        let of_kind = self.items.iter().filter(|item| item.of == *of).filter_map(|item| match &item.said {
            Said::Notice(notice) if notice.kind == kind => Some(&notice.about),
            _ => None,
        });
        of_kind.map(|about| about.get(fact).and_then(Value::as_text).unwrap_or_default()).collect()
    }

    /// On a new connection: what was said and not answered, and the topics.
    pub(super) fn send_pending(&mut self) -> Vec<ClientFrame> {
        let topics: Vec<_> = self.topics.iter().cloned().collect();
        let topics: Vec<_> = topics.into_iter().map(|name| self.topic(name, true)).collect();
        self.saying.values().cloned().map(ClientFrame::Say).chain(topics).collect()
    }

    /// Takes a frame about feeds; answers promises that were not kept.
    pub(super) fn take(&mut self, frame: ServerFrame) -> Vec<String> {
        let broken = match frame {
            ServerFrame::Item(item) => self.take_item(*item),
            ServerFrame::Feed(place) => self.take_place(place),
            ServerFrame::Said(said) => self.take_said(said),
            ServerFrame::Refused(refused) => self.take_refused(&refused),
            ServerFrame::Page(page) => {
                self.pages.insert(page.n, page);
                None
            }
            ServerFrame::Marked(marked) => {
                let mark = self.marks.entry(marked.of.clone()).or_default();
                let back = marked.upto < *mark;
                *mark = marked.upto;
                back.then(|| format!("the mark of {} went back to {}", marked.of, marked.upto))
            }
            ServerFrame::Counts(counts) => {
                self.counts.insert(counts.n, counts.channels);
                None
            }
            ServerFrame::Topics(topics) => {
                self.topics_told = topics.names;
                None
            }
            ServerFrame::Blocks(blocks) => {
                self.blocked = blocks.players.into_iter().collect();
                None
            }
            ServerFrame::Preferences(preferences) => {
                self.unwanted = preferences.unwanted.into_iter().collect();
                None
            }
            _ => None,
        };
        broken.into_iter().collect()
    }

    fn take_item(&mut self, item: Item) -> Option<String> {
        let Item { of, id, msg, said } = &item;
        let mut broken = None;
        if matches!(of, RoomId::Player(player) if player.as_str() != self.player) {
            broken = Some(format!("an item of {of} was told to {}", self.player));
        }
        if let Said::Private(private) = said
            && private.from.as_str() != self.player
            && private.to.as_str() != self.player
        {
            broken = Some(format!("{} heard what {} said to {}", self.player, private.from, private.to));
        }
        if !self.cursors.contains_key(of) {
            broken = Some(format!("item {id} of {of} came before its feed began"));
        }
        let cursor = self.cursors.entry(of.clone()).or_default();
        if id <= cursor {
            broken = Some(format!("item {id} of {of} came after {cursor}"));
        }
        *cursor = *id;
        let name = (of.clone(), msg.clone());
        if self.may_repeat.remove(&name) {
            return broken;
        }
        if !self.names.insert(name) {
            broken = Some(format!("item {msg} of {of} came twice, now as {id}"));
        }
        if said.author().is_some_and(|author| self.blocked.contains(author)) {
            broken = Some(format!("item {msg} is by somebody who is blocked"));
        }
        self.items.push(item);
        broken
    }

    fn take_place(&mut self, place: FeedPlace) -> Option<String> {
        let known = self.cursors.get(&place.of).copied();
        let broken = match place.why {
            FeedPlaceReason::Gap if known.is_some_and(|known| place.at <= known) => {
                Some(format!("a gap of {} ends at {}, read up to {known:?}", place.of, place.at))
            }
            FeedPlaceReason::Passed if known.is_none_or(|known| place.at <= known) => {
                Some(format!("{} was passed to {}, read up to {known:?}", place.of, place.at))
            }
            FeedPlaceReason::Rewound if known.is_some_and(|known| place.at > known) => {
                Some(format!("{} was rewound to {}, read up to {known:?}", place.of, place.at))
            }
            _ => None,
        };
        if place.why == FeedPlaceReason::Started {
            self.may_repeat.extend(self.names.iter().filter(|(of, _)| *of == place.of).cloned());
        }
        if place.why != FeedPlaceReason::Ended {
            self.cursors.insert(place.of.clone(), place.at);
        } else if let RoomId::Topic(name) = &place.of {
            self.topics.remove(name);
        }
        self.places.push(place);
        broken
    }

    fn take_said(&mut self, said: SaidAt) -> Option<String> {
        let asked = self.saying.remove(&said.n).is_some();
        match self.said.insert(said.n, said.clone()) {
            // The id is another one if the log lost the item and it was posted again.
            Some(before) if before.msg != said.msg => {
                Some(format!("{} was said as {} and {}", said.n, before.msg, said.msg))
            }
            None if !asked => Some(format!("{} was never said, and answered", said.n)),
            _ if self.refused.contains_key(&said.n) => Some(format!("{} was refused and said", said.n)),
            _ => None,
        }
    }

    fn take_refused(&mut self, refused: &Refused) -> Option<String> {
        self.saying.remove(&refused.n);
        self.refused.insert(refused.n, refused.code);
        if let Some(name) = self.asked_for.get(&refused.n) {
            self.topics.remove(name);
        }
        self.said.contains_key(&refused.n).then(|| format!("{} was said and refused", refused.n))
    }
}
