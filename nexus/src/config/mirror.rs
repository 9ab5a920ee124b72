//! The rules of what is mirrored, as the file has them. What they decide is `rules`' business.

use sectorbus::ids::RegionName;
use sectorbus::metrics::Label;

use super::document::Part;
use super::error::{Place, Problem};
use super::settings::setting;
use crate::rules::{Class, MirrorRule, RoomPattern, Rules, What, has_rooms, read_what};

/// `None`: something is wrong, which is told. No rule at all: the default ones.
pub(super) fn read(parts: &[Part<'_>], regions: &[RegionName]) -> Option<Rules> {
    if parts.is_empty() {
        return Some(Rules::default());
    }
    // All, so that all problems are told.
    let rules: Vec<Option<MirrorRule>> = parts.iter().map(|part| rule(part, regions)).collect();
    rules.into_iter().collect::<Option<Vec<_>>>().map(Rules::new)
}

fn rule(part: &Part<'_>, regions: &[RegionName]) -> Option<MirrorRule> {
    let what = part.required("what", read_what);
    let class = part.optional("class", Class::read);
    let rooms = part.list("rooms", |text, at| room(what, text, at)).transpose();
    let from = part.list("from", |text, at| region("from", text, at, regions)).transpose();
    let to = part.list("to", |text, at| region("to", text, at, regions)).transpose();
    match (what, &rooms) {
        (Some(what), Ok(None)) if has_rooms(what) => {
            part.missing("rooms", setting("mirror", "rooms").accepted);
            return None;
        }
        (Some(what), Ok(Some(_)) | Err(())) if !has_rooms(what) => {
            let accepted = format!("nothing: {} have no rooms, only feeds and logs do", What::VALUES[what.index()]);
            part.refuse_for("rooms", None, &accepted);
            return None;
        }
        _ => {}
    }
    let (from, to) = (from.ok()?, to.ok()?);
    let all = |named: &Option<Vec<RegionName>>| named.clone().unwrap_or_else(|| regions.to_vec());
    let (sources, targets) = (all(&from), all(&to));
    let leaves_two = sources.iter().any(|from| targets.iter().any(|to| from != to));
    if !leaves_two && !sources.is_empty() && !targets.is_empty() {
        let at = part.place(if part.has("to") { "to" } else { "from" });
        part.found(Problem::Cyclic { at, what: sources[0].to_string() });
        return None;
    }
    let class = if part.has("class") { class? } else { Class::Normal };
    Some(MirrorRule { what: what?, rooms: rooms.ok()?.unwrap_or_default(), from, to, class })
}

fn room(what: Option<What>, text: &str, at: Place) -> Result<RoomPattern, Problem> {
    if text.contains('@') {
        return Err(Problem::OtherRegionsRoom { at, setting: "rooms", found: format!("{text:?}") });
    }
    let accepted = setting("mirror", "rooms").accepted.to_owned();
    let Some(pattern) = RoomPattern::read(text) else { return Err(refused("rooms", text, at, accepted)) };
    if what == Some(What::Logs) && pattern.is_of_unnamed_sectors() {
        let accepted =
            "each sector by its full name, such as sector:4: logs of sectors that are not named are not mirrored";
        return Err(refused("rooms", text, at, accepted.to_owned()));
    }
    Ok(pattern)
}

fn region(setting: &'static str, text: &str, at: Place, regions: &[RegionName]) -> Result<RegionName, Problem> {
    let known = regions.iter().find(|region| region.as_str() == text).cloned();
    let names: Vec<&str> = regions.iter().map(RegionName::as_str).collect();
    known.ok_or_else(|| refused(setting, text, at, format!("a region of this file: {}", names.join(", "))))
}

fn refused(setting: &str, text: &str, at: Place, accepted: String) -> Problem {
    Problem::Refused { at, setting: setting.to_owned(), found: Some(format!("{text:?}")), accepted }
}
