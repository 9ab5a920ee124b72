//! A nexus needs no more rights in Redis than the files of `compose/` give it: with them it does all its work, and is refused
//! whatever else it tried.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use sectorbus::ids::PlayerId;
use sectorbus::log::{Log, Revoked};
use sectorbus_tests::folder::{Folder, repository};
use sectorbus_tests::redis_server::{RedisOptions, RedisServer};
use sectorbus_tests::waiting;

use crate::support::{NAMES, SOON, Universe, until_ready};

/// The users that make-secrets.sh makes, and one without a name for the test itself.
fn with_users(folder: &Folder, region: &str) -> Result<RedisOptions> {
    let users = std::fs::read_to_string(folder.path().join(format!("redis_{region}_users_acl")))?;
    let named = users.lines().filter(|line| !line.starts_with("user default "));
    let all = std::iter::once("user default on nopass allkeys allchannels +@all").chain(named);
    let text = all.map(|line| line.to_owned() + "\n").collect::<String>();
    let file = folder.write(&format!("{region}.acl"), &text)?;
    let more = vec!["--aclfile".to_owned(), file.display().to_string()];
    Ok(RedisOptions { more, ..RedisOptions::default() })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_nexus_does_its_work_with_the_rights_it_is_given_and_has_no_others_redis() -> Result<()> {
    let folder = Folder::new("nexus-rights")?;
    let made = Command::new("sh").arg(repository("compose/make-secrets.sh")).arg(folder.path()).output()?;
    ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let regions = [with_users(&folder, NAMES[0])?, with_users(&folder, NAMES[1])?];
    let mut universe = Universe::on(with_users(&folder, "nexus")?, regions).await?;
    let as_nexus = |server: &RedisServer, redis: &str| {
        let password = std::fs::read_to_string(folder.path().join(format!("redis_{redis}_nexus_password")))?;
        anyhow::Ok(server.url().replace("redis://", &format!("redis://nexus:{password}@")))
    };
    universe.file.hub = as_nexus(&universe.hub, "nexus")?;
    for ((region, url), server) in universe.file.regions.iter_mut().zip(&universe.regions) {
        *url = as_nexus(server, region)?;
    }

    let mut nexus = universe.nexus("x1").await?;
    until_ready(&nexus).await?;
    for (from, to) in [(0, 1), (1, 0)] {
        universe.say(from, &format!("to {to}"), 1).await?;
        universe.until_heard(to, &format!("to {to}")).await?;
    }
    let until_ms = universe.logs[0].time_ms().await? + 3_600_000;
    universe.logs[0].revoke(&Revoked::Ban(PlayerId::new("cheat")?), until_ms).await?;
    let is_banned = async || Ok(!universe.logs[1].revocations(0, 10).await?.is_empty());
    waiting::until_async(SOON, "the ban", is_banned).await?;
    for words in [&["pause", "us"][..], &["status"], &["resume", "us"]] {
        let said = nexus.command(words)?;
        ensure!(!said.contains("down\n"), "{words:?}: {said}");
    }
    universe.hub.restart().await?;
    until_ready(&nexus).await?;
    nexus.send_away()?;
    ensure!(nexus.ended(SOON).await?.success());

    for (server, url) in universe
        .regions
        .iter()
        .zip(universe.file.regions.iter().map(|(_, url)| url))
        .chain([(&universe.hub, &universe.file.hub)])
    {
        let log: Vec<redis::Value> = redis::cmd("ACL").arg("LOG").query_async(&mut server.connection().await?).await?;
        ensure!(log.is_empty(), "refused while the nexus worked: {log:?}");
        let mut nexus = redis::Client::open(url.as_str())?.get_multiplexed_async_connection().await?;
        for words in ["FLUSHALL", "KEYS *", "CONFIG GET *", "GET elsewhere", "SET sb:asia:x 1", "SPUBLISH sb:asia:x 1"]
        {
            let (name, arguments) = words.split_once(' ').unwrap_or((words, ""));
            let arguments: Vec<&str> = arguments.split(' ').filter(|word| !word.is_empty()).collect();
            let said = redis::cmd(name).arg(arguments).query_async::<redis::Value>(&mut nexus).await;
            let code = said.err().context(words)?.code().map(str::to_owned);
            ensure!(code.as_deref() == Some("NOPERM"), "{words}: {code:?}");
        }
    }
    Ok(())
}
