//! What feeds say: the items of rooms' second streams, and what becomes of what a player says. Vocabulary between
//! protocol and node; who may read or say what is the node's business.

use std::collections::BTreeSet;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;

use crate::action::Facts;
use crate::ids::{EventName, PlayerId};
use crate::limits::SAY_CHARS_MAX;
use crate::value::Value;

/// One thing said in a feed. In both codecs a map of one; stored compactly. Kinds are only ever added: a reader passes
/// over those it does not know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Said {
    /// Said by a player to everybody in a room.
    Chat(Chat),
    /// Said by one player to another; in the feeds of both.
    Private(Private),
    /// Said by whoever runs the universe.
    Announcement(Announcement),
    /// What a player or a team should know of; in that player's feed, or that team's.
    Notice(Notice),
    /// Something that happened in the universe, told to an audience.
    Event(Event),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chat {
    pub from: PlayerId,
    /// The author's name as it was then; text that anybody may have chosen.
    pub name: String,
    pub text: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Private {
    pub from: PlayerId,
    /// As in [`Chat`].
    pub name: String,
    pub to: PlayerId,
    pub text: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announcement {
    pub level: Level,
    pub text: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    pub kind: NoticeKind,
    pub level: Level,
    /// By kind, see PROTOCOL.md.
    pub about: Facts,
}

/// What players may say that they do not want to hear of, kind by kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeardKind {
    /// What is said in rooms.
    Chat,
    Private,
    Mention,
    Attack,
    Team,
    System,
    /// Ships that come and go: for clients only, which derive it.
    Passage,
}

impl HeardKind {
    pub const ALL: [HeardKind; 7] = [
        HeardKind::Chat,
        HeardKind::Private,
        HeardKind::Mention,
        HeardKind::Attack,
        HeardKind::Team,
        HeardKind::System,
        HeardKind::Passage,
    ];

    /// As on the wire and as stored.
    pub fn name(self) -> &'static str {
        match self {
            HeardKind::Chat => "chat",
            HeardKind::Private => "private",
            HeardKind::Mention => "mention",
            HeardKind::Attack => "attack",
            HeardKind::Team => "team",
            HeardKind::System => "system",
            HeardKind::Passage => "passage",
        }
    }

    pub fn from_name(name: &str) -> Option<HeardKind> {
        HeardKind::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl From<NoticeKind> for HeardKind {
    fn from(kind: NoticeKind) -> Self {
        match kind {
            NoticeKind::Mention => HeardKind::Mention,
            NoticeKind::Attack => HeardKind::Attack,
            NoticeKind::Team => HeardKind::Team,
            NoticeKind::System => HeardKind::System,
        }
    }
}

/// What a notice is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoticeKind {
    /// Somebody wrote the player's name.
    Mention,
    /// Something in a sector of the player's is attacked.
    Attack,
    /// The team changed.
    Team,
    /// From whoever runs the universe, to this player.
    System,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    pub name: EventName,
    pub level: Level,
    /// In the words of the game.
    pub about: Facts,
}

/// How much something matters to whom it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    Info,
    Warning,
    Critical,
}

/// The first byte of what is said as it is stored.
const FORMAT: u8 = 1;

impl Said {
    /// As an item's body: one format byte, then compact msgpack.
    pub fn encode(&self) -> Bytes {
        let mut bytes = vec![FORMAT];
        rmp_serde::encode::write(&mut bytes, self).expect("encoding to memory cannot fail");
        bytes.into()
    }

    /// `None`: a kind or a format of another release, or something else altogether.
    pub fn decode(body: &[u8]) -> Option<Self> {
        let (&FORMAT, record) = body.split_first()? else { return None };
        rmp_serde::from_slice(record).ok()
    }

    /// Whose word it is: whoever blocks them does not hear it.
    pub fn author(&self) -> Option<&PlayerId> {
        match self {
            Said::Chat(chat) => Some(&chat.from),
            Said::Private(private) => Some(&private.from),
            Said::Announcement(_) | Said::Notice(_) | Said::Event(_) => None,
        }
    }

    /// Whoever blocks this player does not hear it: its author, or who is behind a mention.
    pub fn behind(&self) -> Option<&str> {
        match self {
            Said::Notice(Notice { kind: NoticeKind::Mention, about, .. }) => about.get("from").and_then(Value::as_text),
            said => said.author().map(PlayerId::as_str),
        }
    }

    /// Whether it is left out for a player who does not want this kind: notices and announcements below critical are. What
    /// players say is told all the same, and does not count as unread.
    pub fn is_left_out_of(&self, unwanted: &BTreeSet<HeardKind>) -> bool {
        let (level, kind) = match self {
            Said::Notice(notice) => (notice.level, notice.kind.into()),
            Said::Announcement(announcement) => (announcement.level, HeardKind::System),
            Said::Chat(_) | Said::Private(_) | Said::Event(_) => return false,
        };
        level < Level::Critical && unwanted.contains(&kind)
    }

    /// The words of it; empty where it has none.
    pub fn text(&self) -> &str {
        match self {
            Said::Chat(chat) => &chat.text,
            Said::Private(private) => &private.text,
            Said::Announcement(announcement) => &announcement.text,
            Said::Notice(Notice { about, .. }) | Said::Event(Event { about, .. }) => {
                about.get("text").and_then(Value::as_text).unwrap_or_default()
            }
        }
    }

    /// How many bytes of text there are in it, about.
    pub fn text_bytes(&self) -> usize {
        let of_facts = |about: &Facts| {
            let bytes = |(name, value): (&String, &Value)| name.len() + value.as_text().map_or(8, str::len);
            about.iter().map(bytes).sum()
        };
        match self {
            Said::Chat(_) | Said::Private(_) | Said::Announcement(_) => self.text().len(),
            Said::Notice(notice) => of_facts(&notice.about),
            Said::Event(event) => of_facts(&event.about),
        }
    }
}

/// Why nothing was said, asked or changed. It was not and will not be done as it was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalCode {
    /// Nothing is left of the text without control characters.
    Empty,
    /// The text has more than 500 characters in normal form C.
    TooLong,
    /// The room is not one of this session's rooms, or not mirrored here.
    NotThere,
    /// The player may not say anything; fact: `until` (ms since 1970).
    Muted,
    /// The other player does not take messages of this one.
    NotAccepted,
    /// There is no such player.
    UnknownPlayer,
    /// More players are blocked, topics read or rooms observed, than may be.
    TooMany,
}

impl RefusalCode {
    pub const ALL: [RefusalCode; 7] = [
        RefusalCode::Empty,
        RefusalCode::TooLong,
        RefusalCode::NotThere,
        RefusalCode::Muted,
        RefusalCode::NotAccepted,
        RefusalCode::UnknownPlayer,
        RefusalCode::TooMany,
    ];

    /// As on the wire.
    pub fn name(self) -> &'static str {
        self.row().0
    }

    /// As PROTOCOL.md says it.
    pub fn meaning(self) -> &'static str {
        self.row().1
    }

    fn row(self) -> (&'static str, &'static str) {
        match self {
            RefusalCode::Empty => ("empty", "nothing is left of the text without control characters"),
            RefusalCode::TooLong => ("too_long", "the text has more than 500 characters in normal form C"),
            RefusalCode::NotThere => {
                ("not_there", "the room is not one of this session's; to `observe`: it is not mirrored here")
            }
            RefusalCode::Muted => ("muted", "the player may say nothing; fact: `until` (ms)"),
            RefusalCode::NotAccepted => ("not_accepted", "the other player does not take messages of this one"),
            RefusalCode::UnknownPlayer => ("unknown_player", "there is no such player"),
            RefusalCode::TooMany => {
                ("too_many", "more players would be blocked, topics read or rooms observed, than may be")
            }
        }
    }
}

/// A text as it is said: in normal form C, without control characters. Nothing else is changed, whoever shows it has to
/// show it as text.
///
/// # Errors
/// [`RefusalCode::Empty`], [`RefusalCode::TooLong`].
pub fn as_said(text: &str) -> Result<String, RefusalCode> {
    let said: String = text.nfc().filter(|c| !c.is_control()).take(SAY_CHARS_MAX + 1).collect();
    if said.chars().count() > SAY_CHARS_MAX {
        return Err(RefusalCode::TooLong);
    }
    if said.trim().is_empty() {
        return Err(RefusalCode::Empty);
    }
    Ok(said)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_said_in_normal_form_without_control_characters() {
        assert_eq!(as_said("Cafe\u{301}\u{7} <b>hi</b>\n").as_deref(), Ok("Café <b>hi</b>"));
        assert_eq!(as_said("\u{202e}abc").as_deref(), Ok("\u{202e}abc"), "what only looks odd is for whoever shows it");
        for nothing in ["", " ", "\n\t\u{1b}", "\u{85}"] {
            assert_eq!(as_said(nothing), Err(RefusalCode::Empty), "{nothing:?}");
        }
    }

    #[test]
    fn stored_words_of_this_format_are_read() {
        // Golden bytes: never to be changed for format 1.
        let name = |text: &str| PlayerId::new(text).expect("a name");
        let (ann, bob) = (name("ann"), name("bob"));
        let said = [
            (
                Said::Chat(Chat { from: ann.clone(), name: "Ann".into(), text: "hi".into() }),
                "0181a46368617493a3616e6ea3416e6ea26869",
            ),
            (
                Said::Private(Private { from: ann, name: "Ann".into(), to: bob, text: "hi".into() }),
                "0181a77072697661746594a3616e6ea3416e6ea3626f62a26869",
            ),
            (
                Said::Announcement(Announcement { level: Level::Critical, text: "hi".into() }),
                "0181ac616e6e6f756e63656d656e7492a8637269746963616ca26869",
            ),
            (
                Said::Notice(Notice {
                    kind: NoticeKind::Mention,
                    level: Level::Info,
                    about: Facts::from([("n".to_owned(), Value::Int(7)), ("room".to_owned(), Value::from("global"))]),
                }),
                "0181a66e6f7469636593a76d656e74696f6ea4696e666f82a16e07a4726f6f6da6676c6f62616c",
            ),
            (
                Said::Event(Event {
                    name: EventName::new("market-opens").expect("a name"),
                    level: Level::Info,
                    about: Facts::from([("port".to_owned(), Value::from("p1"))]),
                }),
                "0181a56576656e7493ac6d61726b65742d6f70656e73a4696e666f81a4706f7274a27031",
            ),
        ];
        for (said, golden) in said {
            let bytes = said.encode();
            assert_eq!(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>(), golden);
            assert_eq!(Said::decode(&bytes), Some(said));
            assert!((0..bytes.len()).all(|end| Said::decode(&bytes[..end]).is_none()));
        }
        assert_eq!(Said::decode(b"\x01\x81\xa5later\xc0"), None, "a kind of a later release");
    }

    #[test]
    fn what_counts_is_characters_after_normal_form() {
        let decomposed = "e\u{301}".repeat(SAY_CHARS_MAX);
        assert_eq!(as_said(&decomposed).map(|said| said.chars().count()), Ok(SAY_CHARS_MAX));
        assert_eq!(as_said(&"x".repeat(SAY_CHARS_MAX + 1)), Err(RefusalCode::TooLong));
        assert!(as_said(&format!("{}\n", "😀".repeat(SAY_CHARS_MAX))).is_ok());
    }
}
