//! Where a player is, which sessions they have and as what they are shown, and which team they are in.

use super::answers::Answer;
use super::errors::unreadable;
use super::{RedisLog, scripts};
use crate::ids::{ActorId, Generation, Hop, PlayerId, RoomId, SectorId, SessionId};
use crate::limits::{INT_ABS_MAX, LOGGED_OUT_KEPT, RESUME_TOKEN_FOR, TEAMS_UNSETTLED_MAX};
use crate::log::stored::{FORMAT, read_seat, read_shown, read_team, team_record, team_text};
use crate::log::{At, Attach, Attached, LogError, LogResult, Named, SetTeam, TeamAt};
use crate::presence::Shown;
use crate::small_map::SmallMap;

pub(super) async fn attach(log: &RedisLog, attach: Attach) -> LogResult<Option<Attached>> {
    let channel = log.keys.channel(&RoomId::Player(attach.player.clone()));
    let call = scripts::ATTACH
        .call(&[log.keys.at(&attach.player)])
        .arg(attach.session.as_str())
        .arg(attach.incarnation.as_str())
        .arg(attach.max)
        .arg(attach.start.as_str())
        .arg(u8::from(attach.new_actor))
        .arg(&channel)
        .arg(attach.counter)
        .arg(attach.replaces.map(|generation| generation.to_string()).unwrap_or_default());
    let mut answer = Answer::of("attach", log.requests_of(&channel).script(call).await?)?;
    match answer.text()?.as_str() {
        "OK" => {}
        "SUPERSEDED" | "ENDED" => return Ok(None),
        other => return answer.unknown(other),
    }
    let (generation, floor) = (Generation(answer.parse()?), Generation(answer.parse()?));
    let actor = answer.parse_unless_empty()?.map(ActorId);
    let time_ms = answer.parse()?;
    let at = read_at(answer.list()?)?.ok_or_else(|| super::answers::wrong("attach"))?;
    Ok(Some(Attached { generation, floor, at, actor, time_ms }))
}

pub(super) async fn detach(
    log: &RedisLog,
    player: &PlayerId,
    session: &SessionId,
    generation: Generation,
) -> LogResult<bool> {
    let channel = log.keys.channel(&RoomId::Player(player.clone()));
    let call = scripts::DETACH.call(&[log.keys.at(player)]).arg(session.as_str()).arg(generation.0).arg(&channel);
    let mut answer = Answer::of("detach", log.requests_of(&channel).script(call).await?)?;
    match answer.text()?.as_str() {
        "DONE" => Ok(true),
        "OTHER" => Ok(false),
        other => answer.unknown(other),
    }
}

pub(super) async fn show(
    log: &RedisLog,
    player: &PlayerId,
    session: &SessionId,
    generation: Generation,
    shown: Shown,
    known: u64,
) -> LogResult<bool> {
    let channel = log.keys.channel(&RoomId::Player(player.clone()));
    let call = scripts::SHOW.call(&[log.keys.at(player)]).arg(session.as_str()).arg(generation.0).arg(&channel);
    let call = call.arg(shown.as_str()).arg(known);
    let mut answer = Answer::of("show", log.requests_of(&channel).script(call).await?)?;
    match answer.text()?.as_str() {
        "DONE" => Ok(true),
        "OTHER" => Ok(false),
        other => answer.unknown(other),
    }
}

pub(super) async fn set_team(log: &RedisLog, player: &PlayerId, change: &SetTeam) -> LogResult<TeamAt> {
    let channel = log.keys.channel(&RoomId::Player(player.clone()));
    let (what, team, role) = match change {
        SetTeam::Known(known) => return team_known(log, player, known).await,
        SetTeam::Join(team, role) => ("join", team.as_str(), role.as_str()),
        SetTeam::Leave(team) => ("leave", team.as_str(), ""),
        SetTeam::LeaveAny => ("leave", "", ""),
        SetTeam::ByToken { team: Some((team, role)), .. } => ("token", team.as_str(), role.as_str()),
        SetTeam::ByToken { team: None, .. } => ("token", "", ""),
    };
    let issued_s = if let SetTeam::ByToken { issued_s, .. } = change { *issued_s } else { 0 };
    let call = scripts::SET_TEAM.call(&[log.keys.at(player)]).arg(&channel).arg(what).arg(team).arg(role);
    let call = call.arg(issued_s).arg(TEAMS_UNSETTLED_MAX);
    let mut answer = Answer::of("set_team", log.requests_of(&channel).script(call).await?)?;
    read_team(&answer.text()?).map_err(|why| unreadable("team", &why))
}

async fn team_known(log: &RedisLog, player: &PlayerId, known: &TeamAt) -> LogResult<TeamAt> {
    let channel = log.keys.channel(&RoomId::Player(player.clone()));
    let call = scripts::TEAM_KNOWN.call(&[log.keys.at(player)]).arg(&channel).arg(known.number);
    let call = call.arg(team_text(known)).arg(team_record(known));
    let mut answer = Answer::of("team_known", log.requests_of(&channel).script(call).await?)?;
    read_team(&answer.text()?).map_err(|why| unreadable("team", &why))
}

pub(super) async fn team_settled(log: &RedisLog, player: &PlayerId, number: u64) -> LogResult<()> {
    let channel = log.keys.channel(&RoomId::Player(player.clone()));
    let call = scripts::TEAM_SETTLED.call(&[log.keys.at(player)]).arg(number);
    let mut answer = Answer::of("team_settled", log.requests_of(&channel).script(call).await?)?;
    match answer.text()?.as_str() {
        "DONE" => Ok(()),
        other => answer.unknown(other),
    }
}

pub(super) async fn log_out(log: &RedisLog, player: &PlayerId, session: &SessionId) -> LogResult<()> {
    let channel = log.keys.channel(&RoomId::Player(player.clone()));
    let call = scripts::LOG_OUT
        .call(&[log.keys.at(player)])
        .arg(session.as_str())
        .arg(&channel)
        .arg(RESUME_TOKEN_FOR.as_millis().to_string())
        .arg(LOGGED_OUT_KEPT);
    let mut answer = Answer::of("log_out", log.requests_of(&channel).script(call).await?)?;
    match answer.text()?.as_str() {
        "DONE" => Ok(()),
        other => answer.unknown(other),
    }
}

/// `region`: of the room, if it is another one; else empty.
pub(super) async fn arrived(
    log: &RedisLog,
    player: &PlayerId,
    room: &SectorId,
    region: &str,
    hop: Hop,
) -> LogResult<Named> {
    let channel = log.keys.channel(&RoomId::Player(player.clone()));
    let call = scripts::ARRIVED.call(&[log.keys.at(player)]).arg(room.as_str()).arg(hop.0).arg(&channel).arg(region);
    let mut answer = Answer::of("arrived", log.requests_of(&channel).script(call).await?)?;
    let hop = Hop(answer.parse()?);
    Ok(Named { hop, is_there: answer.text()? == "THERE" })
}

pub(super) async fn at(log: &RedisLog, player: &PlayerId) -> LogResult<Option<At>> {
    let channel = log.keys.channel(&RoomId::Player(player.clone()));
    let mut cmd = redis::cmd("HGETALL");
    cmd.arg(log.keys.at(player));
    read_at(Answer::of("at", log.requests_of(&channel).command(&cmd).await?)?)
}

/// Pipelined: asked all at once, each of its own connection.
pub(super) async fn ats(log: &RedisLog, players: &[PlayerId]) -> LogResult<Vec<Option<At>>> {
    futures_util::future::try_join_all(players.iter().map(|player| at(log, player))).await
}

fn read_at(mut fields: Answer) -> LogResult<Option<At>> {
    let (mut room, mut region, mut hop) = (None, None, Hop(0));
    let (mut floor, mut sessions) = (Generation(0), SmallMap::new());
    let (mut presence, mut last_seen_ms, mut team, mut shown) = (0, 0, None, Vec::new());
    while !fields.is_empty() {
        let name = fields.text()?;
        match name.as_str() {
            "format" => {
                let format = fields.text()?;
                if format != FORMAT.to_string() {
                    return Err(LogError::Corrupt(format!("at: format {format:?}, this release reads {FORMAT}")));
                }
            }
            "room" => room = Some(fields.parse::<SectorId>()?),
            "region" => region = Some(fields.parse()?),
            "hop" => hop = Hop(fields.parse()?),
            "floor" => floor = Generation(fields.parse()?),
            "presence" => presence = fields.parse()?,
            "last_seen" => last_seen_ms = fields.parse()?,
            "team" => team = Some(read_team(&fields.text()?).map_err(|why| unreadable("at", &why))?),
            _ => {
                let value = fields.text()?;
                if let Some(session) = name.strip_prefix("s:") {
                    let session = SessionId::new(session).map_err(|_| super::answers::wrong("at"))?;
                    sessions.insert(session, read_seat(&value).map_err(|why| unreadable("at", &why))?);
                } else if let Some(session) = name.strip_prefix("p:") {
                    shown.push((session.to_owned(), read_shown(&value).map_err(|why| unreadable("at", &why))?));
                }
            }
        }
    }
    // A ship shows its hop: what no client can read was not written by a node.
    if hop.0 > INT_ABS_MAX as u64 {
        return Err(LogError::Corrupt(format!("at: hop {hop}, at most {INT_ABS_MAX}")));
    }
    for (session, shown) in shown {
        if let Some(seat) = SessionId::new(&session).ok().and_then(|session| sessions.get_mut(&session)) {
            seat.shown = shown;
        }
    }
    Ok(room.map(|room| At { room, region, hop, floor, sessions, presence, last_seen_ms, team }))
}
