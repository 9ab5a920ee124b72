//! The topology of compose.yaml from real binaries: each service's own command, settings and check, with nothing changed
//! but where things are: names and ports of containers, mounted files, secrets.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use sectorbus_tests::folder::{Folder, repository};
use sectorbus_tests::processes::free_address;
use sectorbus_tests::prometheus::Prometheus;
use sectorbus_tests::redis_server;
use sectorbus_tests::waiting::until_async;
use sectorbus_tests::{binaries, http};

use crate::SOON;
use crate::normal::{compose, kind, secrets, services, texts};

/// With the port of the host for their players.
pub(crate) const REGIONS: [(&str, u16); 2] = [("eu", 7700), ("us", 7800)];
pub(crate) const NEXUS: [&str; 2] = ["x1", "x2"];

pub(crate) fn nodes(region: &str) -> [String; 3] {
    [1, 2, 3].map(|n| format!("{region}{n}"))
}

/// What listens where in a container.
fn ports(kind: &str) -> &'static [u16] {
    match kind {
        "redis" => &[6379],
        "sectorbus-node" => &[7700, 7701],
        "sectorbus-nexus" => &[9465],
        "haproxy" => &[7700, 8405],
        "prometheus" => &[9090],
        _ => &[],
    }
}

/// What runs. Dropping it kills all of it.
pub(crate) struct Running {
    compose: Value,
    folder: Folder,
    /// By service and port of its container.
    places: BTreeMap<String, SocketAddr>,
    processes: BTreeMap<String, Child>,
    /// What was said otherwise than in the files, so that the test can ask for all of it.
    changed: RefCell<BTreeSet<(String, String)>>,
}

impl Running {
    /// Everything in the order of `depends_on`, each as healthy as its own check wants it; and Prometheus.
    pub(crate) async fn start() -> Result<(Self, Prometheus)> {
        let compose = compose()?;
        let mut places = BTreeMap::new();
        for (service, declared) in services(&compose) {
            for port in ports(kind(declared)) {
                places.insert(format!("{service}:{port}"), free_address()?);
            }
        }
        let (folder, processes) = (Folder::new("compose")?, BTreeMap::new());
        let mut running = Self { compose, folder, places, processes, changed: RefCell::default() };
        running.make_secrets()?;
        for kind in ["redis", "sectorbus-node", "haproxy", "sectorbus-nexus"] {
            let all = running.of_kind(kind);
            for service in &all {
                running.launch(service)?;
            }
            for service in &all {
                running.healthy(service).await?;
            }
        }
        let prometheus = running.prometheus().await?;
        running.healthy("prometheus").await?;
        Ok((running, prometheus))
    }

    fn of_kind(&self, wanted: &str) -> Vec<String> {
        let services = services(&self.compose);
        services.into_iter().filter(|(_, service)| kind(service) == wanted).map(|(name, _)| name.to_owned()).collect()
    }

    fn kind(&self, service: &str) -> &str {
        kind(&self.compose["services"][service])
    }

    pub(crate) fn address(&self, listener: &str) -> SocketAddr {
        self.places[listener]
    }

    pub(crate) fn secret(&self, name: &str) -> Result<String> {
        Ok(std::fs::read_to_string(self.secrets().join(name))?)
    }

    /// No chance to say anything to anybody.
    pub(crate) fn kill9(&mut self, service: &str) -> Result<()> {
        let child = self.processes.get_mut(service).with_context(|| format!("{service} does not run"))?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// Whether the service's own health check passes now.
    pub(crate) async fn passes_check(&self, service: &str) -> Result<bool> {
        let test = texts(&self.compose["services"][service]["healthcheck"], "test");
        let words: Vec<String> = test.iter().skip(1).map(|word| self.here(service, word)).collect();
        let mut command = match (test[0], test[1]) {
            ("CMD-SHELL", _) => shell(&words),
            // The test's machine may have no wget: the same is asked without it.
            ("CMD", "wget") => {
                let (address, path) =
                    words[words.len() - 1].trim_start_matches("http://").split_once('/').context("a URL")?;
                return Ok(matches!(http::get(address.parse()?, &format!("/{path}")).await, Ok((200, _))));
            }
            ("CMD", program) => tokio::process::Command::from(with(program, &words[1..])),
            other => anyhow::bail!("{service}: a check of a kind that is not known: {other:?}"),
        };
        Ok(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().await?.success())
    }

    async fn healthy(&self, service: &str) -> Result<()> {
        let what = format!("{service} passes its check");
        until_async(SOON, &what, async || self.passes_check(service).await).await.with_context(|| self.log(service))
    }

    fn launch(&mut self, service: &str) -> Result<()> {
        let words: Vec<String> = self.command(service)?;
        let log = std::fs::File::create(self.folder.path().join(format!("{service}.log")))?;
        let program = match words[0].as_str() {
            "redis-server" => redis_server::executable(),
            "sectorbus-node" => binaries::built("sectorbus-node", &["node/src", "shared/src"])?.display().to_string(),
            "sectorbus-nexus" => {
                binaries::built("sectorbus-nexus", &["nexus/src", "shared/src"])?.display().to_string()
            }
            other => other.to_owned(),
        };
        let mut command = with(&program, &words[1..]);
        // What the test command keeps there for itself is no setting, and a node refuses it.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("SECTORBUS_")) {
            command.env_remove(name);
        }
        for (name, value) in self.compose["services"][service]["environment"].as_object().into_iter().flatten() {
            command.env(name, self.here(service, value.as_str().context("a text")?));
        }
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().with_context(|| format!("cannot run {program}: put it on PATH"))?;
        self.processes.insert(service.to_owned(), child);
        Ok(())
    }

    async fn prometheus(&self) -> Result<Prometheus> {
        let arguments = self.command("prometheus")?;
        Prometheus::start(self.address("prometheus:9090"), self.folder.path(), &arguments).await
    }

    /// A service's command, its mounts where they are on this machine. Images of this repository begin with their binary.
    fn command(&self, service: &str) -> Result<Vec<String>> {
        let declared = &self.compose["services"][service];
        let mut words = texts(declared, "command");
        if kind(declared).starts_with("sectorbus-") {
            words.insert(0, kind(declared));
        }
        let mut words: Vec<String> = words.iter().map(|word| self.here(service, word)).collect();
        for (source, target) in texts(declared, "volumes").iter().filter_map(|mount| mount.split_once(':')) {
            let target = target.trim_end_matches(":ro");
            let place = self.mounted(service, source)?.display().to_string();
            for word in &mut words {
                let before = word.strip_suffix(target).filter(|before| before.is_empty() || before.ends_with('='));
                if let Some(before) = before {
                    *word = format!("{before}{place}");
                }
            }
        }
        Ok(words)
    }

    /// What is mounted: a volume is a folder, a file is copied with its places changed, a folder of files stays.
    fn mounted(&self, service: &str, source: &str) -> Result<PathBuf> {
        let place = repository("compose").join(source);
        if !source.starts_with('.') {
            let volume = self.folder.path().join(source);
            std::fs::create_dir_all(&volume)?;
            return Ok(volume);
        }
        if place.is_dir() {
            return Ok(place);
        }
        let text = std::fs::read_to_string(&place).with_context(|| place.display().to_string())?;
        let name = place.file_name().and_then(|name| name.to_str()).context("a file's name")?;
        let copy = self.folder.path().join(format!("{service}-{name}"));
        std::fs::write(&copy, self.here(service, &text))?;
        Ok(copy)
    }

    /// A text of a service's with names and paths of containers as they are on this machine.
    fn here(&self, service: &str, text: &str) -> String {
        let mut text = text.to_owned();
        for (there, here) in self.changes(service) {
            if text.contains(&there) {
                self.changed.borrow_mut().insert((service.to_owned(), there.clone()));
                text = text.replace(&there, &here);
            }
        }
        text
    }

    /// In this order: what names a longer thing comes first.
    fn changes(&self, service: &str) -> Vec<(String, String)> {
        let declared = &self.compose["services"][service];
        let place = |service: &str, port: u16| self.places[&format!("{service}:{port}")];
        let mut changes = Vec::new();
        let mut change = |there: String, here: String| changes.push((there, here));
        match kind(declared) {
            "redis" => {
                let port = place(service, 6379).port();
                change("bind 0.0.0.0".to_owned(), "bind 127.0.0.1".to_owned());
                change("port 6379".to_owned(), format!("port {port}"));
                change("-p 6379".to_owned(), format!("-p {port}"));
                let data = self.folder.path().join(format!("{service}-data"));
                change("dir /data".to_owned(), format!("dir {}", data.display()));
            }
            "haproxy" => {
                // The machine may allow fewer open files than compose.yaml does.
                change("maxconn 30000".to_owned(), "maxconn 1000".to_owned());
                let region = declared["environment"]["REGION"].as_str().unwrap_or_default();
                for (n, node) in nodes(region).iter().enumerate() {
                    let there = format!("\"${{REGION}}{}:7700\" port 7701", n + 1);
                    change(there, format!("{} port {}", place(node, 7700), place(node, 7701).port()));
                }
                for port in [7700, 8405] {
                    change(format!("bind :{port}"), format!("bind {}", place(service, port)));
                }
                change("127.0.0.1/8405".to_owned(), format!("127.0.0.1/{}", place(service, 8405).port()));
            }
            "prometheus" => {
                for (kind, port) in [("sectorbus-node", 7701), ("sectorbus-nexus", 9465), ("haproxy", 8405)] {
                    for scraped in self.of_kind(kind) {
                        change(format!("{scraped}:{port}"), place(&scraped, port).to_string());
                    }
                }
                for name in ["localhost:9090", "0.0.0.0:9090", "127.0.0.1:9090"] {
                    change(name.to_owned(), place("prometheus", 9090).to_string());
                }
                change("/etc/prometheus/rules".to_owned(), repository("grafana/rules").display().to_string());
            }
            "sectorbus-node" => {
                let region = declared["environment"]["SECTORBUS_REGION"].as_str().unwrap_or_default();
                let proxy =
                    &self.compose["services"][format!("haproxy-{region}")]["networks"]["inside"]["ipv4_address"];
                change(proxy.as_str().unwrap_or_default().to_owned(), "127.0.0.1".to_owned());
                for port in [7700, 7701] {
                    change(format!("0.0.0.0:{port}"), place(service, port).to_string());
                    change(format!("127.0.0.1/{port}"), format!("127.0.0.1/{}", place(service, port).port()));
                }
            }
            _ => {
                let admin = place(service, 9465);
                change("0.0.0.0:9465".to_owned(), admin.to_string());
                change("127.0.0.1/9465".to_owned(), format!("127.0.0.1/{}", admin.port()));
                for (region, port) in REGIONS {
                    change(format!("localhost:{port}"), place(&format!("haproxy-{region}"), 7700).to_string());
                }
            }
        }
        // A secret that a service was not given is no file here either.
        for (name, target) in secrets(declared) {
            change(format!("/run/secrets/{target}"), self.secrets().join(name).display().to_string());
        }
        changes
    }

    /// Each place of a container that the files should have named and did not: what is not changed is not compared.
    pub(crate) fn unnamed(&self) -> Vec<(String, String)> {
        let changed = self.changed.borrow();
        let services = self.processes.keys().map(String::as_str).chain(["prometheus"]);
        let wanted = services
            .flat_map(|service| self.changes(service).into_iter().map(move |(there, _)| (service.to_owned(), there)));
        let nodes_check_only_admin =
            |(service, there): &(String, String)| self.kind(service) == "sectorbus-node" && there == "127.0.0.1/7700";
        wanted.filter(|wanted| !changed.contains(wanted) && !nodes_check_only_admin(wanted)).collect()
    }

    fn secrets(&self) -> PathBuf {
        self.folder.path().join("secrets")
    }

    /// As a person would, but for the place of Redis in its URL.
    fn make_secrets(&self) -> Result<()> {
        let said = Command::new("sh").arg(repository("compose/make-secrets.sh")).arg(self.secrets()).output()?;
        ensure!(said.status.success(), "make-secrets.sh: {}", String::from_utf8_lossy(&said.stderr));
        for (redis, user) in [("eu", "node"), ("us", "node"), ("eu", "nexus"), ("us", "nexus"), ("nexus", "nexus")] {
            let file = self.secrets().join(format!("redis_{redis}_{user}_url"));
            let (url, there) = (std::fs::read_to_string(&file)?, format!("redis-{redis}:6379"));
            ensure!(url.ends_with(&format!("@{there}")), "the URL of Redis names the service and its port");
            std::fs::write(&file, url.replace(&there, &self.places[&there].to_string()))?;
        }
        Ok(())
    }

    fn log(&self, service: &str) -> String {
        let text = std::fs::read_to_string(self.folder.path().join(format!("{service}.log"))).unwrap_or_default();
        format!("{service} said:\n{text}")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        for child in self.processes.values_mut() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn with(program: impl AsRef<Path>, words: &[String]) -> Command {
    let mut command = Command::new(program.as_ref());
    command.args(words);
    command
}

fn shell(words: &[String]) -> tokio::process::Command {
    let mut command = tokio::process::Command::new("sh");
    command.arg("-c").args(words);
    command
}
