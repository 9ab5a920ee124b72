//! Mentions: whom something said in a room names is told so in their own feed, if they could read it there. Told before
//! its author is answered, under a name that follows from that of what was said: a resend after a node's end makes up for
//! what is missing, and adds nothing twice.

use std::collections::BTreeSet;

use futures_util::future::join_all;

use sectorbus::action::Facts;
use sectorbus::ids::{FeedId, PlayerId, RoomId};
use sectorbus::limits::MENTIONS_MAX;
use sectorbus::log::{Log, OnceKey, TakesFrom};
use sectorbus::said::{Chat, Level, Notice, NoticeKind, Said};
use sectorbus::value::Value;

use super::Talking;

impl<L: Log> Talking<L> {
    /// `text`: as it was checked just now; nothing, if this is a repeat of what could not be said now.
    pub(super) async fn tell_mentioned(&self, room: &RoomId, once: &OnceKey, id: FeedId, text: Option<String>) {
        let OnceKey::Player { player: from, actor, seq } = once else { return };
        if matches!(room, RoomId::Player(_)) || text.as_ref().is_some_and(|text| !text.contains('@')) {
            return;
        }
        // What the feed has, and not what a repeat says under the same number.
        let Some(chat) = self.chat_at(room, id).await else { return };
        let named = mentioned(&chat.text, from);
        if named.is_empty() {
            return;
        }
        let facts = [
            ("room", room.to_string()),
            ("from", from.to_string()),
            ("name", chat.name),
            ("msg", once.to_string()),
            ("text", chat.text),
        ];
        let about: Facts = facts.into_iter().map(|(fact, text)| (fact.to_owned(), Value::from(&*text))).collect();
        let notice = Said::Notice(Notice { kind: NoticeKind::Mention, level: Level::Info, about });
        let name = OnceKey::Mention { player: from.clone(), actor: *actor, seq: *seq };
        join_all(named.into_iter().map(|player| {
            let (name, notice) = (&name, &notice);
            async move {
                if self.hears(&player, from, room).await == Some(true) {
                    self.post_to(&RoomId::Player(player), name, notice).await;
                }
            }
        }))
        .await;
    }

    async fn chat_at(&self, room: &RoomId, id: FeedId) -> Option<Chat> {
        let next = FeedId { n: id.n + 1, ..id };
        let items = self.items_before(room, Some(next), 1).await?;
        let item = items.first().filter(|item| item.id == id)?;
        match item.said()? {
            Said::Chat(chat) => Some(chat.clone()),
            _ => None,
        }
    }

    /// Whether a player exists, takes words of `from`, and may read the room. `None`: the log cannot be read.
    async fn hears(&self, player: &PlayerId, from: &PlayerId, room: &RoomId) -> Option<bool> {
        let log = &self.core.log;
        if self.until_answered(|| log.takes_from(player, from)).await? != TakesFrom::Yes {
            return Some(false);
        }
        let at = self.until_answered(|| log.at(player)).await?;
        Some(match room {
            RoomId::Global => at.is_some(),
            RoomId::Sector(sector) => at.is_some_and(|at| at.room_here() == Some(sector)),
            RoomId::Team(team) => at.and_then(|at| at.team?.team).is_some_and(|(now, _)| now == *team),
            RoomId::Player(_) | RoomId::Topic(_) | RoomId::Elsewhere(_) => false,
        })
    }
}

/// Whom a text names as `@<player id>`, with nothing that could belong to a word right before or behind it; the first few,
/// each once, never `author`. Whether there are such players is not known here.
fn mentioned(text: &str, author: &PlayerId) -> BTreeSet<PlayerId> {
    let of_id = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    let of_word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '@');
    let mut named = BTreeSet::new();
    for (at, _) in text.match_indices('@') {
        let (before, behind) = (&text[..at], &text[at + 1..]);
        let end = behind.find(|c| !of_id(c)).unwrap_or(behind.len());
        let (id, rest) = behind.split_at(end);
        if before.ends_with(of_word) || rest.starts_with(of_word) {
            continue;
        }
        named.extend(PlayerId::new(id).ok().filter(|player| player != author));
        if named.len() == MENTIONS_MAX {
            break;
        }
    }
    named
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(text: &str) -> Vec<String> {
        let author = PlayerId::new("me").expect("a name");
        mentioned(text, &author).iter().map(PlayerId::to_string).collect()
    }

    #[test]
    fn a_mention_is_an_at_sign_and_a_whole_players_id() {
        for text in [
            "@ann",
            "hi @ann!",
            "(@ann)",
            "@ann's",
            "see @ann, @ann",
            "«@ann»",
            "@ann: 5",
            "@me and @ann",
            "\u{202e}@ann",
        ] {
            assert_eq!(named(text), ["ann"], "{text}");
        }
        assert_eq!(named("@A-b_9 @a"), ["A-b_9", "a"]);
        let long = format!("@{}", "x".repeat(65));
        for text in ["ann", "@", "@ ann", "mail@ann", "é@ann", "@@ann", "@annä", "@ann@home", "a-@ann", "@me", &long]
        {
            assert_eq!(named(text), Vec::<String>::new(), "{text}");
        }
    }

    #[test]
    fn only_the_first_few_are_mentioned_and_none_twice() {
        assert_eq!(named("@a @b @a @c @d @me @e @f").len(), MENTIONS_MAX);
        assert!(!named("@a @b @a @c @d @me @e @f").contains(&"f".to_owned()));
    }
}
