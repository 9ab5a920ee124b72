//! Every key and channel in Redis: who writes it, what is in it, how long it lives. The one place that spells them.

use crate::ids::{Callee, Incarnation, PlayerId, RegionName, RoomId};
use crate::log::{JumpName, OnceKey, ReplyId, Source};

/// Written to `sb:meta`; a node refuses a region with another number.
pub(super) const REGION_FORMAT: &str = "1";
pub(super) const META: &str = "sb:meta";

/// Spells the keys of one region.
///
/// All but `sb:meta` begin with `sb:<region>:`. `{…}` is the hash tag of Redis Cluster: keys with one tag share a slot,
/// so that a script on them is legal there. Hashes hold their format number in the field `format`.
///
/// | key | type | written by | holds | lives |
/// |---|---|---|---|---|
/// | `sb:meta` | hash | `open` | region, format. Without the region in its name, or another region could not be seen | for ever |
/// | `{members}` | hash | `beat`, `leave` | `m:<incarnation>` = `state expires_ms last_beat_ms period_ms spared address`, `g:<incarnation>` = ms when it went, `ring`, `beat` (last of anyone), `repl`, `calm`, `settings` | for ever; `g:` 1 h |
/// | `{<incarnation>}:rooms` | set | owner, adopters | rooms it owns | until `forget` |
/// | `{<incarnation>}:inbox` | stream | `create_inbox`, `send` | one field `c` per command; trimmed by the reader | until `forget` |
/// | `{<room>}:log` | stream | `append`, `claim`, `reclaim`, `restore`; of a room `<room>@<region>` `mirror_…` | one field `e` per entry: a `stored` record | for ever, trimmed by `checkpoint` and `park` |
/// | `{<room>}:head` | hash | all scripts on the room | `last`, `owner`, `ring`, `nonce`, `lineage`, `claims` (last 16 nonces with their answers), `feed` (last feed id); of a room `<room>@<region>` `begun` and `snapshot`; of a team's room without log `home` (the region that has it) | for ever |
/// | `{<room>}:snap` | hash | `claim` (genesis), `checkpoint`, `restore`; `mirror_begin`, `mirror_renew` | `id`, `lineage`, `public`, `own`, `system`, `dormant` | for ever |
/// | `{<room>}:feed` | stream | `post`, `mirror` | one field `i` per item: a `stored` record | for ever, newest 10,000 items; of a player's room those of the last 7 d (`player_feed_kept`) |
/// | `{<room>}:once:<player>:<actor>:<seq>`, `{<room>}:once:#<room>:<entry id>:<n>`, `{<room>}:once:!<key>`, `{<room>}:once:<region>/<any of these>` | string | `post`, `mirror` | feed id of that post | 7 d |
/// | `{<room>}:from` | hash | `mirror` | `<region>` = `rewinds id`: up to where that region's feed of the room is in this one | for ever |
/// | `{bridge}:place` | hash | `bridge`, `keep` | `seen` = ms when a nexus was there last, `began` (ms), `news` (id and replication id of redis-nexus; carried down up to there), `facts:<region>` (id; learned up to there) | for ever |
/// | `{bridge}:marks` | sorted set | `touch` | `feed <room>`, `log <room>`, `presence <room>`, `roster <room>`, by when it was last about to change; only while a nexus is there | 8 d |
/// | `{player:<id>}:ears` | hash | `ears` | `muted` = ms until when, `b:<player>` = blocked, `m:<channel>` = feed id read up to (newest 256) | for ever |
/// | `{player:<id>}:at` | hash | `attach`, `detach`, `log_out`, `show`, `set_team`, `team_known`, `team_settled`, `arrived`, `landed`, `redeem` | `room`, `hop`, `generation`, `actor`, `floor`, `s:<session>` = `generation incarnation counter actor entered`, `p:<session>` = what it is shown as if not `online`, `presence` (number of the last change of these and of `room`), `last_seen` = ms when the last session ended, `team` = `number team role before issued since` (`#`: none; `before` is a list of `team=role`), `x:<session>` = ms until when a logged out session is not attached, `region` = the one where the player is, if another, `landed` = hop of the last arrival from another region, `t:<session>` = `hash until_ms used_by` of the ticket of that arrival | for ever; `x:` 1 d |
/// | `{revoked}:at`, `{revoked}:until` | sorted sets | `revoke`, `revoke_learned` | `token:<jti>`, `player:<id>`, `ban:<id>`, `unban:<id>`, `ears:<id>`, by when they were revoked and by when that is over | until the next revocation after that |
/// | `{revoked}:own` | sorted set | `revoke`, `revoke_learned`, `revoke_again` | those that the region itself said (`ban:<id>` also for its end), by their number | as above |
/// | `{revoked}:said` | hash | `revoke`, `revoke_learned`, `revoke_again` | `player:<id>` = `<region> <number>` of what other regions said last; `ban:<id>` = `<region> <number> <until_ms, 0: its end> <region>:<number>,…` of each region's latest word and what it knew of others (`-`: nothing), in one text; `by:ban:<id>` = the replication id under which the region's own was said | `player:<id>` as above; the others for ever, if another region has said something |
/// | `{player:<id>}:asks` | hash | `roster_ask` | `t:<team>` = `number name wish` asked of the team's home in another region, `last` (number) | 1 d |
/// | `{rosters}:due` | sorted set | `roster_due`, `roster_done` | `<player>`, `<player> <region> <team>` by when it came: what rosters that are at home here are to take over from other regions | until done |
/// | `{rosters}:words` | hash | the same | `w:<as above>` = the wish, `turns` (counts) | as above |
/// | `{rosters}:known` | hash | `roster_due` | `<player> <region> <team>` = number of the last wish | for ever |
/// | `{player:<id>}:far` | hash | `far` | `<region>` = `number shown devices last_seen_ms`: what other regions say of the player's presence | for ever |
/// | `{out}:events` | stream | `note`, `tell` | one event per item, its fields as ARCHITECTURE.md lists them; for consumer groups | for ever, newest 100,000 items |
/// | `{out}:told` | hash | `tell` | per room the entry up to which its events were told; `player:<id>@<region>` = `<number>-0` of what that region said last of a flag | for ever |
/// | `{out}:audit` | stream | `note` | what came through the backend's door: who, what, outcome | for ever, newest 100,000 items |
/// | `{player:<id>}:calls` | hash | `call_open`, `call_answer`, `call_end` | `<actor>:<n>` = `state deadline_ms secret callee conversation`; the state is `o`pen, `a`nswered or `t`imed out | until the last call's deadline + 60 s |
/// | `{player:<id>}:answers` | hash | `call_answer` | `<actor>:<n>` = body | 90 s after the last answer |
/// | `{player:<id>}:talks` | sorted set | `call_answer` | `<callee> <conversation>`, by when it is over; the newest 16 | 1 h after the last answer |
/// | `{service:<name>}:calls` | stream, group `workers` | the workers' XGROUP CREATE, `call_queue` | fields `id`, `reply_to`, `player`, `sector`, `conversation`, `deadline_ms`, `body` | for ever, newest 10,000 items; workers remove what they answered |
/// | `{service:<name>}:queued:<reply id>` | string | `call_queue` | empty: it was queued | until the call's deadline + 60 s |
/// | `{jumps}:out` | hash | `jump_offer`, `jump_fate`, `jumps_out` | of each jump to another region `f:<player>:<hop>` = its fate, `t:` = `<region>:<sector>`, `b:` = what it carries, `c:` = it is to be cancelled, `h:` = what redis-nexus called itself when it was listed first | until `jump_settle`; what is over 1 d |
/// | `{jumps}:open`, `{jumps}:over` | sorted sets | the same | `<player>:<hop>` by when it was offered, by when it was over | the same |
/// | `{jumps}:in` | hash | `jump_bring` | of each jump into this region `r:<player>:<hop>` = from where, `b:` = what it carries | until `jump_take` |
/// | `{jumps}:coming`, `{jumps}:came` | sorted sets | `jump_bring`, `jump_take` | `<player>:<hop>` by when it was brought, by when it was dealt with | until `jump_take`; 1 d |
/// | `{bridge}:regions` | hash | `regions_set` | `r:<region>` = where players connect there, or empty: the regions that links join to this one | for ever |
/// | `{bridge}:compares` | string | `compare_ask` | how often all rooms were asked to compare whom they have with `at` | for ever |
/// | `{homes}:of:<player>` | string | `home_tell` | the region that has the player | 60 s |
/// | `{homes}:asked` | set | `home_ask` | players whose home is asked for, 10,000 at most | until `home_tell` |
/// | `{replies}:stream` | stream, group `nodes` | the workers' XADD | fields `id`, `body` | until a node has taken it |
///
/// In redis-nexus, whose name as a region is `nexus`; all in one slot:
///
/// | key | type | written by | holds | lives |
/// |---|---|---|---|---|
/// | `{hub}:<room>@<region>:items` | stream | `push` | `i` = an item of that region's feed, under the id it has there, `p` = id of the one pushed before it | for ever, newest 10,000 items; of a player's room those of the last 7 d, until 7 d after the last push |
/// | `{hub}:<room>@<region>:place` | hash | `push` | `rewinds`, `upto` (id that was read), `seal` (of the item there), `last` (id that was pushed), `to:<n>` = where rewind n went back to (the last 16) | for ever |
/// | `{hub}:sources` | set | `push` | `<room>@<region>` of all that had an item | for ever |
/// | `{hub}:news` | stream | `push` | `s` = `<room>@<region>` that a push brought something of, `p` = id of the news before | for ever, about the newest 100,000 |
/// | `{hub}:<region>:latest` | hash | `facts` | `present <player>`, `revoked <what>`, `flag <player>` = `number body`: what the region last said of it; of a ban and its end one | for ever |
/// | `{hub}:<region>:facts` | stream | `facts` | the same in the order it was heard: `k`, `n`, `b`, `p` = id of the one before | for ever, about the newest 100,000 |
/// | `{hub}:link:<link>` | hash | `keep`, a link's HSET | `swept` = ms by the region: what was marked there before is carried up; `jumps` = replication id of the region when all jumps that it closed were looked through | for ever |
/// | `{hub}:<room>@<region>:log`, `:head`, `:snap` | as `{<room>@<region>}:…` of a region | `mirror_…` | a copy of that room's log | for ever, as there |
/// | `{hub}:log-sources` | set | `mirror_begin` | `<room>@<region>` of all copies of logs | for ever |
/// | `{hub}:log-news` | stream | `mirror_extend`, `mirror_begin` | `s` = `<room>@<region>` that a step brought something of, `p` as above | for ever, about the newest 100,000 |
/// | `{hub}:jump:<player>:<hop>` | hash | `hub_offer`, `hub_step` | `state`, `hub` = what redis-nexus called itself when it was offered, `from`, `to`, `sector`, `body` | 1 d after both regions closed it, or the one that has the player back |
/// | `{hub}:jumps:<region>` | sorted set | `hub_offer`, `hub_close`, `hub_reopen` | `<player>:<hop>` by when it was offered: jumps from there and to there | until closed |
/// | `{hub}:closed:<region>`, `{hub}:closed-by-player:<region>` | sorted set, hash | `hub_close` | players by when a jump from or to there that arrived was closed there; `p:<player>` = `hop from to sector` of the last | 1 d |
/// | `{hub}:home:<player>` | string | `hub_home` | the region that had the player, or asked for them, first | for ever |
/// | `{hub}:leader:<link>` | string | `lead` | the nexus that leads the link | until it is not kept up |
/// | `{hub}:paused` | set | `pause` | links that are paused | for ever |
///
/// Channels (sharded pub/sub): `{<room>}` carries `stored::published` payloads, `{members}:alive:<incarnation>` nothing
/// (its subscribers are counted), `{bridge}:touched` what has changed, `canary:<identity>:<n>` a number.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    prefix: String,
}

impl Keys {
    pub(super) fn new(region: &RegionName) -> Self {
        Self { prefix: format!("sb:{region}:") }
    }

    pub(super) fn members(&self) -> String {
        format!("{}{{members}}", self.prefix)
    }
    /// Channels of this name + incarnation are followed by the living.
    pub(super) fn alive_prefix(&self) -> String {
        format!("{}{{members}}:alive:", self.prefix)
    }
    pub(super) fn alive(&self, incarnation: &Incarnation) -> String {
        format!("{}{incarnation}", self.alive_prefix())
    }
    pub(super) fn canary(&self, identity: &str, connection: usize) -> String {
        format!("{}canary:{identity}:{connection}", self.prefix)
    }

    pub(super) fn rooms(&self, incarnation: &Incarnation) -> String {
        format!("{}{{{incarnation}}}:rooms", self.prefix)
    }
    pub(super) fn inbox(&self, incarnation: &Incarnation) -> String {
        format!("{}{{{incarnation}}}:inbox", self.prefix)
    }

    /// The room's channel; its keys begin with the same text.
    pub(super) fn channel(&self, room: &RoomId) -> String {
        format!("{}{{{room}}}", self.prefix)
    }
    pub(super) fn log(&self, room: &RoomId) -> String {
        format!("{}{{{room}}}:log", self.prefix)
    }
    pub(super) fn head(&self, room: &RoomId) -> String {
        format!("{}{{{room}}}:head", self.prefix)
    }
    pub(super) fn snap(&self, room: &RoomId) -> String {
        format!("{}{{{room}}}:snap", self.prefix)
    }
    pub(super) fn feed(&self, room: &RoomId) -> String {
        format!("{}{{{room}}}:feed", self.prefix)
    }
    pub(super) fn from(&self, room: &RoomId) -> String {
        format!("{}{{{room}}}:from", self.prefix)
    }
    pub(super) fn once(&self, room: &RoomId, once: &OnceKey) -> String {
        format!("{}{{{room}}}:once:{once}", self.prefix)
    }

    /// The channel of what has changed; the bridge's keys begin with the same text.
    pub(super) fn touched(&self) -> String {
        format!("{}{{bridge}}:touched", self.prefix)
    }
    pub(super) fn bridge(&self) -> String {
        format!("{}{{bridge}}:place", self.prefix)
    }
    pub(super) fn marks(&self) -> String {
        format!("{}{{bridge}}:marks", self.prefix)
    }

    pub(super) fn hub_items(&self, source: &Source) -> String {
        format!("{}{{hub}}:{source}:items", self.prefix)
    }
    pub(super) fn hub_place(&self, source: &Source) -> String {
        format!("{}{{hub}}:{source}:place", self.prefix)
    }
    pub(super) fn hub_sources(&self) -> String {
        format!("{}{{hub}}:sources", self.prefix)
    }
    pub(super) fn hub_news(&self) -> String {
        format!("{}{{hub}}:news", self.prefix)
    }
    pub(super) fn hub_latest(&self, region: &RegionName) -> String {
        format!("{}{{hub}}:{region}:latest", self.prefix)
    }
    pub(super) fn hub_facts(&self, region: &RegionName) -> String {
        format!("{}{{hub}}:{region}:facts", self.prefix)
    }
    pub(super) fn hub_link(&self, link: &str) -> String {
        format!("{}{{hub}}:link:{link}", self.prefix)
    }
    /// The copy of a log: its `log`, `head` and `snap` under this.
    pub(super) fn hub_copy(&self, source: &Source) -> String {
        format!("{}{{hub}}:{source}", self.prefix)
    }
    pub(super) fn hub_log_sources(&self) -> String {
        format!("{}{{hub}}:log-sources", self.prefix)
    }
    pub(super) fn hub_log_news(&self) -> String {
        format!("{}{{hub}}:log-news", self.prefix)
    }
    pub(super) fn hub_leader(&self, link: &str) -> String {
        format!("{}{{hub}}:leader:{link}", self.prefix)
    }
    pub(super) fn hub_paused(&self) -> String {
        format!("{}{{hub}}:paused", self.prefix)
    }

    pub(super) fn hub_jump_prefix(&self) -> String {
        format!("{}{{hub}}:jump:", self.prefix)
    }
    pub(super) fn hub_jump(&self, name: &JumpName) -> String {
        format!("{}{name}", self.hub_jump_prefix())
    }
    pub(super) fn hub_jumps(&self, region: &RegionName) -> String {
        format!("{}{{hub}}:jumps:{region}", self.prefix)
    }
    pub(super) fn hub_closed(&self, region: &RegionName) -> [String; 2] {
        ["closed", "closed-by-player"].map(|what| format!("{}{{hub}}:{what}:{region}", self.prefix))
    }
    pub(super) fn hub_home(&self, player: &PlayerId) -> String {
        format!("{}{{hub}}:home:{player}", self.prefix)
    }

    pub(super) fn jumps_out(&self) -> String {
        format!("{}{{jumps}}:out", self.prefix)
    }
    pub(super) fn jumps_open(&self) -> String {
        format!("{}{{jumps}}:open", self.prefix)
    }
    pub(super) fn jumps_over(&self) -> String {
        format!("{}{{jumps}}:over", self.prefix)
    }
    pub(super) fn jumps_in(&self) -> String {
        format!("{}{{jumps}}:in", self.prefix)
    }
    pub(super) fn jumps_coming(&self) -> String {
        format!("{}{{jumps}}:coming", self.prefix)
    }
    pub(super) fn jumps_came(&self) -> String {
        format!("{}{{jumps}}:came", self.prefix)
    }
    pub(super) fn regions(&self) -> String {
        format!("{}{{bridge}}:regions", self.prefix)
    }
    pub(super) fn compares(&self) -> String {
        format!("{}{{bridge}}:compares", self.prefix)
    }
    pub(super) fn home(&self, player: &PlayerId) -> String {
        format!("{}{{homes}}:of:{player}", self.prefix)
    }
    pub(super) fn homes_asked(&self) -> String {
        format!("{}{{homes}}:asked", self.prefix)
    }

    pub(super) fn revoked(&self) -> String {
        format!("{}{{revoked}}:at", self.prefix)
    }
    pub(super) fn revoked_until(&self) -> String {
        format!("{}{{revoked}}:until", self.prefix)
    }

    pub(super) fn revoked_own(&self) -> String {
        format!("{}{{revoked}}:own", self.prefix)
    }
    pub(super) fn revoked_said(&self) -> String {
        format!("{}{{revoked}}:said", self.prefix)
    }
    pub(super) fn far(&self, player: &PlayerId) -> String {
        format!("{}{{player:{player}}}:far", self.prefix)
    }

    pub(super) fn roster_asks(&self, player: &PlayerId) -> String {
        format!("{}{{player:{player}}}:asks", self.prefix)
    }
    pub(super) fn rosters_due(&self) -> String {
        format!("{}{{rosters}}:due", self.prefix)
    }
    pub(super) fn rosters_words(&self) -> String {
        format!("{}{{rosters}}:words", self.prefix)
    }
    pub(super) fn rosters_known(&self) -> String {
        format!("{}{{rosters}}:known", self.prefix)
    }

    pub(super) fn ears(&self, player: &PlayerId) -> String {
        format!("{}{{player:{player}}}:ears", self.prefix)
    }

    pub(super) fn events(&self) -> String {
        format!("{}{{out}}:events", self.prefix)
    }
    pub(super) fn told(&self) -> String {
        format!("{}{{out}}:told", self.prefix)
    }
    pub(super) fn audit(&self) -> String {
        format!("{}{{out}}:audit", self.prefix)
    }

    pub(super) fn at(&self, player: &PlayerId) -> String {
        format!("{}{{player:{player}}}:at", self.prefix)
    }

    /// What stands before and after a player's name in the name of [`Keys::at`].
    pub(super) fn around_player_at(&self) -> (String, String) {
        (format!("{}{{player:", self.prefix), "}:at".to_owned())
    }

    pub(super) fn player_calls(&self, player: &PlayerId) -> String {
        format!("{}{{player:{player}}}:calls", self.prefix)
    }
    pub(super) fn player_answers(&self, player: &PlayerId) -> String {
        format!("{}{{player:{player}}}:answers", self.prefix)
    }
    pub(super) fn player_talks(&self, player: &PlayerId) -> String {
        format!("{}{{player:{player}}}:talks", self.prefix)
    }
    pub(super) fn calls(&self, callee: &Callee) -> String {
        format!("{}{{service:{callee}}}:calls", self.prefix)
    }
    pub(super) fn queued(&self, callee: &Callee, reply: &ReplyId) -> String {
        format!("{}{{service:{callee}}}:queued:{reply}", self.prefix)
    }
    /// One for the region: few keys to wait on, and what was written to it outlives the node that read it.
    pub(super) fn replies(&self) -> String {
        format!("{}{{replies}}:stream", self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{ActorId, EntryId};
    use crate::log::CallName;

    #[test]
    fn keys_of_one_room_share_a_slot() {
        let keys = Keys::new(&RegionName::new("eu").unwrap());
        let room: RoomId = "sector:12".parse().unwrap();
        assert_eq!(keys.log(&room), "sb:eu:{sector:12}:log");
        for key in [keys.head(&room), keys.snap(&room), keys.feed(&room), keys.channel(&room)] {
            assert!(key.starts_with("sb:eu:{sector:12}"), "{key}");
        }
        let player = PlayerId::new("ann").unwrap();
        let once = OnceKey::Player { player: player.clone(), actor: ActorId(3), seq: 7 };
        assert_eq!(keys.once(&room, &once), "sb:eu:{sector:12}:once:ann:3:7");
        let once = OnceKey::Entry { room: "team:red".parse().unwrap(), entry: EntryId::new(5, 6), n: 1 };
        assert_eq!(keys.once(&room, &once), "sb:eu:{sector:12}:once:#team:red:5-6:1");
        let of_player =
            [keys.at(&player), keys.player_calls(&player), keys.player_answers(&player), keys.player_talks(&player)];
        let channel = keys.channel(&RoomId::Player(player.clone()));
        assert!(of_player.iter().all(|key| key.starts_with(&channel)), "{of_player:?}");
        let (aria, call) = (Callee::new("aria").unwrap(), CallName { player, actor: ActorId(3), n: 7 });
        assert_eq!(keys.calls(&aria), "sb:eu:{service:aria}:calls");
        assert!(keys.queued(&aria, &ReplyId::new(call, 1)).starts_with("sb:eu:{service:aria}:queued:0"));
    }
}
