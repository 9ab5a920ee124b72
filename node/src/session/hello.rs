//! Who is there: token, resume token, actor. From a `hello` to an attached session; no room yet.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sectorbus::ids::{ActorId, FeedId, Nonce, RoomId, SectorId, Seq, SessionId};
use sectorbus::limits::RESUME_TOKEN_FOR;
use sectorbus::log::{Attach, Attached, Log, LogError, Redeem, TicketHash};
use sectorbus::protocol::{Hello, Limits, Secret, Source, Welcome};

use crate::auth::{self, AuthError, Claims, Token, Verifier};
use crate::command::Speaker;
use crate::core::Core;
use crate::follow::replica::Known;
use crate::jumps::Ticket;
use crate::resume_token::{ResumeClaims, ResumeKey};
use crate::revocations::Revocations;

const RETRY_AFTER: Duration = Duration::from_millis(200);

/// The keys of this node.
pub struct Keys {
    pub verifier: Verifier,
    pub resume: ResumeKey,
}

/// A token that came with the upgrade and was found good.
pub struct Checked {
    pub token: Token,
    pub claims: Claims,
}

/// A session that is attached to its player.
pub struct Attachment {
    pub claims: Claims,
    pub speaker: Speaker,
    pub actor: ActorId,
    pub first_seq: Seq,
    /// What the client knows of a sector, if it resumes there.
    pub known: Option<(SectorId, Known)>,
    pub attached: Attached,
    /// It continues a session.
    pub is_resumed: bool,
    pub features: Vec<String>,
    /// The last item that the client had of each feed.
    pub feeds: BTreeMap<RoomId, FeedId>,
}

/// What a `hello` asks for, checked.
pub struct Asked {
    pub claims: Claims,
    pub session: SessionId,
    pub is_resumed: bool,
    /// Of a jump: continues the session that it was given for.
    pub ticket: Option<TicketHash>,
    pub actor: Option<ActorId>,
    pub first_seq: Seq,
    pub known: Option<(SectorId, Known)>,
    pub features: Vec<String>,
    pub feeds: BTreeMap<RoomId, FeedId>,
}

/// Checks token and resume token. An invalid resume token starts a new session; it is not an error.
pub async fn check(
    keys: &Keys,
    revocations: &Revocations,
    upgrade: Option<Checked>,
    hello: Hello,
    now_ms: u64,
    new_session: impl FnOnce() -> SessionId,
) -> Result<Asked, AuthError> {
    let in_hello = hello.token.as_ref().map(|secret| Token::new(secret.reveal()));
    let token = auth::settle_token(upgrade.as_ref().map(|checked| &checked.token), in_hello.as_ref())?;
    let claims = match upgrade {
        // Signatures are dear: one that was checked stays right, whatever time it is.
        Some(checked) => keys.verifier.check_again(checked.claims, now_ms)?,
        None => keys.verifier.verify_or_fetch(&token, now_ms).await?,
    };
    if revocations.revokes(&claims.sub, claims.jti.as_deref(), claims.iat) {
        return Err(AuthError::Revoked);
    }
    let resumed = hello.resume.as_ref().and_then(|secret| keys.resume.verify(secret.reveal(), now_ms).ok());
    // Issued when it was minted: a revocation of the player, whose new token is good, leaves it worth nothing.
    let minted_s =
        |resumed: &ResumeClaims| resumed.expires_ms.saturating_sub(RESUME_TOKEN_FOR.as_millis() as u64) / 1000;
    let resumed = resumed.filter(|resumed| resumed.player == claims.sub);
    let resumed = resumed.filter(|resumed| !revocations.revokes(&claims.sub, None, Some(minted_s(resumed))));
    let is_resumed = resumed.is_some();
    let session = resumed.map_or_else(new_session, |resumed| resumed.session);
    let came_from_elsewhere = hello.ticket.is_some();
    let known = |feature: &&String| sectorbus::protocol::FEATURES.contains(&feature.as_str());
    Ok(Asked {
        claims,
        session,
        is_resumed,
        ticket: hello.ticket.as_ref().and_then(|secret| Ticket::hash_of(secret.reveal())),
        actor: hello.actor,
        first_seq: hello.first_seq.unwrap_or(Seq(1)),
        known: known_of(&hello).filter(|_| !came_from_elsewhere),
        features: hello.features.iter().filter(known).cloned().collect(),
        // Sectors and items of another region say nothing here.
        feeds: if came_from_elsewhere { BTreeMap::new() } else { hello.feeds },
    })
}

fn known_of(hello: &Hello) -> Option<(SectorId, Known)> {
    let cursor = hello.cursor?;
    Some((hello.sector.clone()?, Known { cursor, acked: hello.acked.unwrap_or(cursor) }))
}

/// A ticket that is worth nothing starts a new session, as a resume token does.
async fn redeem<L: Log>(core: &Arc<Core<L>>, asked: &mut Asked, waiting: &impl Fn()) -> Result<(), LogError> {
    let Some(ticket) = asked.ticket.take() else { return Ok(()) };
    let Nonce { incarnation, counter } = core.next_nonce();
    let redeem = Redeem { player: asked.claims.sub.clone(), ticket, incarnation, counter };
    loop {
        match core.log.redeem(redeem.clone()).await {
            Ok(Some(session)) => {
                (asked.session, asked.is_resumed) = (session, true);
                return Ok(());
            }
            Ok(None) => return Ok(()),
            Err(LogError::Corrupt(what)) => return Err(LogError::Corrupt(what)),
            Err(_) => {
                waiting();
                tokio::time::sleep(RETRY_AFTER).await;
            }
        }
    }
}

/// Attaches until answered. `waiting` is called before each repeat, so that the client hears that it takes longer.
pub async fn attach<L: Log>(core: &Arc<Core<L>>, asked: Asked, waiting: impl Fn()) -> Result<Attachment, LogError> {
    let mut asked = asked;
    redeem(core, &mut asked, &waiting).await?;
    let start = asked.claims.sector.clone().filter(|sector| core.rules.universe.contains(sector));
    let mut attach = Attach {
        player: asked.claims.sub.clone(),
        session: asked.session.clone(),
        incarnation: core.me(),
        counter: core.next_nonce().counter,
        replaces: None,
        max: core.config.sessions_per_player,
        start: start.unwrap_or_else(|| core.rules.universe.start()),
        new_actor: asked.actor.is_none(),
    };
    let attached = loop {
        match core.log.attach(Attach { incarnation: core.me(), ..attach.clone() }).await {
            Ok(Some(attached)) => break attached,
            // The session was logged out: its resume token is worth nothing.
            Ok(None) => {
                asked.session = core.dice.hex().parse().expect("hexadecimal digits are a name");
                asked.is_resumed = false;
                attach.session = asked.session.clone();
                attach.counter = core.next_nonce().counter;
            }
            Err(LogError::Corrupt(what)) => return Err(LogError::Corrupt(what)),
            Err(_) => {
                waiting();
                tokio::time::sleep(RETRY_AFTER).await;
            }
        }
    };
    core.clock.observe(attached.time_ms);
    Ok(Attachment {
        speaker: Speaker {
            player: asked.claims.sub.clone(),
            session: asked.session,
            generation: attached.generation,
            floor: attached.floor,
        },
        is_resumed: asked.is_resumed,
        actor: asked.actor.or(attached.actor).unwrap_or(ActorId(1)),
        first_seq: asked.first_seq,
        known: asked.known,
        claims: asked.claims,
        features: asked.features,
        feeds: asked.feeds,
        attached,
    })
}

/// The `welcome`, but for what the relay knows.
pub fn welcome<L: Log>(core: &Core<L>, keys: &Keys, attachment: &Attachment) -> Welcome {
    let now_ms = core.clock.now_ms();
    let Speaker { player, session, .. } = &attachment.speaker;
    let policy = core.edge.policy();
    let expires_ms = now_ms + RESUME_TOKEN_FOR.as_millis() as u64;
    let resume = keys.resume.mint(&ResumeClaims { player: player.clone(), session: session.clone(), expires_ms });
    Welcome {
        session: session.clone(),
        resume: Secret::from(resume),
        player: player.clone(),
        actor: attachment.actor,
        features: attachment.features.clone(),
        now_ms,
        node: core.config.node_name.to_string(),
        heartbeat_ms: core.config.heartbeat.as_millis() as u64,
        resume_window_ms: core.config.resume_window.as_millis() as u64,
        recovered: false,
        source: Source::Snapshot,
        limits: Limits {
            frame_bytes: u32::try_from(core.config.frame_bytes_max).unwrap_or(u32::MAX),
            realtime_frames_per_s: core.config.realtime_frames_per_s,
            frames_per_s: policy.limits.frames_per_s,
            actions_per_s: policy.limits.actions_per_s,
            ..Limits::V1
        },
        fields: Welcome::field_names(),
        pending: Vec::new(),
        head: None,
    }
}
