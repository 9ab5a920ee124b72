//! What must be alike on all nodes of a region: universe, ring, `resume_secret`, `teams_from` and `gates`, each as a hash of its own, so that
//! a node that differs can be told in what. The text travels in beats; peers only compare it.

use sectorbus::ring::ring_hash_pin;
use sha2::{Digest, Sha256};

use crate::config::{NodeConfig, TeamsFrom};

/// Of each hash: enough to tell settings apart.
const HASH_BYTES: usize = 8;
const CONTEXT: &str = "sectorbus alike";

/// `<setting>=<hash>` of each, one space between.
pub fn settings_text(config: &NodeConfig, virtual_nodes: usize) -> String {
    // A hash of a hash: who guesses at secrets must do both, and nothing else is hashed like this.
    let secret = Sha256::digest(config.resume_secret.expose());
    let parts = [
        ("universe_seed", hash("universe_seed", config.universe_seed.to_string().as_bytes())),
        ("universe_sectors", hash("universe_sectors", config.universe_sectors.to_string().as_bytes())),
        ("ring", hash("ring", format!("{}/{virtual_nodes}", ring_hash_pin()).as_bytes())),
        ("resume_secret", hash("resume_secret", &secret)),
    ];
    // Unsaid where it is as ever: a release that does not know the setting is alike then.
    let teams = (config.teams_from != TeamsFrom::Backend)
        .then(|| ("teams_from", hash("teams_from", config.teams_from.as_str().as_bytes())));
    let gates = (!config.gates.is_empty()).then(|| {
        let mut gates: Vec<String> = config.gates.iter().map(ToString::to_string).collect();
        gates.sort_unstable();
        ("gates", hash("gates", gates.join(",").as_bytes()))
    });
    let parts = parts.into_iter().chain(teams).chain(gates).map(|(name, hash)| format!("{name}={hash}"));
    parts.collect::<Vec<_>>().join(" ")
}

fn hash(name: &str, value: &[u8]) -> String {
    let hash = Sha256::new().chain_update(CONTEXT).chain_update([0]).chain_update(name).chain_update([0]);
    let hash = hash.chain_update(value).finalize();
    hash[..HASH_BYTES].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Names the settings that differ between two texts, or that only one of them has (another release's).
pub fn differing(mine: &str, theirs: &str) -> Vec<String> {
    let (mine, theirs): (Vec<_>, Vec<_>) = (mine.split(' ').collect(), theirs.split(' ').collect());
    let only_mine = mine.iter().filter(|part| !theirs.contains(part));
    let only_theirs = theirs.iter().filter(|part| !mine.contains(part));
    let mut names: Vec<String> = Vec::new();
    for part in only_mine.chain(only_theirs) {
        let name = part.split_once('=').map_or("the settings of another release", |(name, _)| name).to_owned();
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use sectorbus::ids::{NodeName, RegionName};

    use super::*;
    use crate::config::Secret;

    fn config() -> NodeConfig {
        let secret = |fill| Secret::new([fill; 32]).unwrap();
        NodeConfig::new(RegionName::new("r").unwrap(), NodeName::new("n").unwrap(), secret(1), secret(2))
    }

    /// What differs after a change of one configuration.
    fn after(change: impl FnOnce(&mut NodeConfig)) -> Vec<String> {
        let mut other = config();
        change(&mut other);
        differing(&settings_text(&config(), 2_000), &settings_text(&other, 2_000))
    }

    #[test]
    fn exactly_what_differs_is_named() {
        assert!(after(|_| {}).is_empty());
        assert_eq!(after(|c| c.universe_seed += 1), ["universe_seed"]);
        assert_eq!(after(|c| c.universe_sectors += 1), ["universe_sectors"]);
        assert_eq!(after(|c| c.resume_secret = Secret::new([9; 32]).unwrap()), ["resume_secret"]);
        assert_eq!(after(|c| c.teams_from = TeamsFrom::Token), ["teams_from"]);
        let gate = |text: &str| vec![crate::config::Gate::read(text).unwrap()];
        assert_eq!(after(|c| c.gates = gate("1 us:1")), ["gates"]);
        let both = after(|c| {
            c.universe_seed += 1;
            c.resume_secret = Secret::new([9; 32]).unwrap();
        });
        assert_eq!(both, ["universe_seed", "resume_secret"]);
        assert_eq!(differing(&settings_text(&config(), 2_000), &settings_text(&config(), 1_999)), ["ring"]);
        // Settings of one node only.
        assert!(after(|c| c.jwt = Secret::new([9; 32]).unwrap().into()).is_empty());
    }

    #[test]
    fn what_another_release_says_is_named_as_far_as_it_can_be() {
        let mine = settings_text(&config(), 2_000);
        let longer = format!("{mine} gravity=0011223344556677");
        assert_eq!(differing(&mine, &longer), ["gravity"]);
        assert!(differing(&mine, "0f0f0f0f0f0f").contains(&"the settings of another release".to_owned()));
    }

    #[test]
    fn neither_the_secret_nor_its_plain_hash_is_in_the_text() {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let text = settings_text(&config(), 2_000);
        let plain = hex(&Sha256::digest([2; 32]));
        assert!(!text.contains(&hex(&[2; 32])[..16]) && !text.contains(&plain[..16]), "{text}");
        assert_eq!(text.split(' ').count(), 4);
        let hash_of_hash = hash("resume_secret", &Sha256::digest([2; 32]));
        assert!(text.ends_with(&format!(" resume_secret={hash_of_hash}")), "{text}");
    }
}
