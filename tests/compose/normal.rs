//! compose.yaml as podman-compose understands it: anchors merged, defaults filled in. `--dry-run` because `config` alone
//! asks for the version of an engine that is not there.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use sectorbus_tests::folder::{Folder, repository};
use sectorbus_tests::yaml;

pub(crate) fn compose() -> Result<Value> {
    let mut config = yaml::python();
    config.args(["-m", "podman_compose", "--dry-run", "-f"]).arg(repository("compose/compose.yaml")).arg("config");
    let said = config.output().context("a Python with podman-compose is needed (SECTORBUS_PYTHON)")?;
    ensure!(said.status.success(), "podman-compose: {}", String::from_utf8_lossy(&said.stderr));
    let folder = Folder::new("compose-config")?;
    let file = folder.path().join("compose.yaml");
    std::fs::write(&file, said.stdout)?;
    yaml::read(&file)
}

/// The services by name.
pub(crate) fn services(compose: &Value) -> BTreeMap<&str, &Value> {
    let services = compose["services"].as_object().expect("services");
    services.iter().map(|(name, service)| (name.as_str(), service)).collect()
}

/// The texts of a list.
pub(crate) fn texts<'a>(service: &'a Value, name: &str) -> Vec<&'a str> {
    let list = service[name].as_array().map_or(&[][..], Vec::as_slice);
    list.iter().map(|text| text.as_str().unwrap_or_else(|| panic!("{name}: {text} is no text"))).collect()
}

/// What it runs: the image's name without whose it is and which release.
pub(crate) fn kind(service: &Value) -> &str {
    let image = service["image"].as_str().unwrap_or_default();
    let name = image.rsplit('/').next().unwrap_or_default();
    name.split(':').next().unwrap_or_default()
}

/// Secrets by their names, and the names that their files have in the container.
pub(crate) fn secrets(service: &Value) -> Vec<(&str, &str)> {
    let list = service["secrets"].as_array().map_or(&[][..], Vec::as_slice);
    list.iter().map(|secret| named(secret).unwrap_or_else(|| panic!("{secret} is no secret"))).collect()
}

fn named(secret: &Value) -> Option<(&str, &str)> {
    match secret.as_str() {
        Some(name) => Some((name, name)),
        None => Some((secret["source"].as_str()?, secret["target"].as_str()?)),
    }
}
