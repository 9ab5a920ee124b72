//! What operators ask of a nexus's file: its refusals, `status`, `pause` and `resume`.

use anyhow::{Context, Result};
use sectorbus::ids::RegionName;
use sectorbus::log::redis::{RedisConfig, RedisLog};
use sectorbus::log::{Hub, Log};
use sectorbus_tests::folder::Folder;
use sectorbus_tests::nexuses::run;
use sectorbus_tests::waiting;
use serde_json::Value;

use crate::support::{SOON, Universe, until_metric, until_ready};

#[test]
fn a_bad_file_ends_every_command_with_2_and_its_line() -> Result<()> {
    let folder = Folder::new("nexus-bad")?;
    let text = "format = 1\nname = \"x1\"\n[hub]\nredis_url = \"redis://u:pa55word@h0\"\n[[region]]\nname = \"eu\"\nredis_url = \"redis://u:pa55word@h0\"\n";
    let file = folder.write("bad.toml", text)?;
    for words in [&[][..], &["status"], &["pause", "eu"], &["resume", "eu"]] {
        let said = run(words, &file)?;
        let text = String::from_utf8_lossy(&said.stderr).into_owned();
        assert_eq!((said.status.code(), said.stdout.len()), (Some(2), 0), "{words:?}: {text}");
        assert!(text.contains("bad.toml:5: hub and region eu have the same Redis, h0:6379/0"), "{words:?}: {text}");
        assert!(!text.contains("pa55word"), "{text}");
    }
    Ok(())
}

/// What `status --json` says of a link.
fn link<'a>(status: &'a Value, name: &str) -> Result<&'a Value> {
    let links = status["links"].as_array().context("links")?;
    links.iter().find(|link| link["link"] == name).with_context(|| format!("{name} in {status}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_link_carries_nothing_until_it_is_resumed_whoever_leads_it_redis() -> Result<()> {
    let universe = Universe::start().await?;
    let mut nexus = universe.nexus("x1").await?;
    universe.say(0, "before", 1).await?;
    universe.until_heard(1, "before").await?;
    assert_eq!(nexus.command(&["pause", "us"])?, "link us is paused\n");
    until_metric(&nexus, "sectorbus_nexus_paused{nexus=\"x1\",link=\"us\"}", |paused| paused == 1.0).await?;
    assert_eq!(nexus.metric("sectorbus_nexus_leader{nexus=\"x1\",link=\"us\"}").await?, 1.0, "it keeps its lead");
    until_ready(&nexus).await?;
    for seq in 2..=4 {
        universe.say(0, &format!("meanwhile {seq}"), seq).await?;
    }
    universe.say(1, "at us", 1).await?;

    // What goes up from eu is not paused; status counts what waits on the way to and from us.
    let status = async || anyhow::Ok(serde_json::from_str::<Value>(&nexus.command(&["status", "--json"])?)?);
    waiting::until_async(SOON, "three down and one up", async || Ok(link(&status().await?, "us")?["items"] == 4))
        .await?;
    let said = status().await?;
    assert_eq!(said["hub_up"], true);
    let (us, eu) = (link(&said, "us")?, link(&said, "eu")?);
    assert_eq!((&us["leader"], &us["paused"], &us["region_up"]), (&"x1".into(), &true.into(), &true.into()));
    assert_eq!((&eu["paused"], &eu["items"]), (&false.into(), &0.into()));
    let behind = said["behind"].as_array().context("behind")?;
    let rows: Vec<_> =
        behind.iter().map(|row| (&row["link"], &row["direction"], &row["source"], &row["items"])).collect();
    let (name, up, down) = (Value::from("us"), Value::from("up"), Value::from("down"));
    assert_eq!(rows, [(&name, &down, &"global@eu".into(), &3.into()), (&name, &up, &"global@us".into(), &1.into())]);
    let table = nexus.command(&["status"])?;
    assert!(table.starts_with("redis-nexus: up\nlink  leader  paused  region  behind  seconds\n"), "{table}");
    let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert!(lines.iter().any(|cells| cells[..5.min(cells.len())] == ["us", "x1", "paused", "up", "4"]), "{table}");
    assert!(
        lines.iter().any(|cells| cells.len() == 7 && cells[..4] == ["us", "down", "feeds", "global@eu"]),
        "{table}"
    );

    // Another nexus knows it from redis-nexus.
    nexus.kill9()?;
    let nexus = universe.nexus("x2").await?;
    until_metric(&nexus, "sectorbus_nexus_leader", |links| links == 2.0).await?;
    assert_eq!(universe.heard(1).await?, ["before", "at us"]);
    assert_eq!(universe.heard(0).await?.len(), 4);
    assert_eq!(nexus.command(&["resume", "us"])?, "link us is resumed\n");
    universe.until_heard(1, "meanwhile 4").await?;
    assert_eq!(universe.heard(1).await?, ["before", "at us", "meanwhile 2", "meanwhile 3", "meanwhile 4"]);
    universe.until_heard(0, "at us").await?;
    let nothing = async || {
        let said = nexus.command(&["status"])?;
        Ok(said.lines().count() == 4)
    };
    waiting::until_async(SOON, "nothing waits", nothing).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_say_what_they_cannot_do_redis() -> Result<()> {
    let mut universe = Universe::start().await?;
    let file = universe.folder.write("x1.toml", &universe.file.text("x1", "127.0.0.1:0".parse()?))?;
    let said = run(&["pause", "mars"], &file)?;
    let text = String::from_utf8_lossy(&said.stderr).into_owned();
    assert_eq!((said.status.code(), text.as_str()), (Some(2), "no link is called mars: accepted is eu, us\n"));

    universe.regions[1].kill9()?;
    let said = run(&["status"], &file)?;
    let table = String::from_utf8(said.stdout)?;
    let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(said.status.code(), Some(0), "{table}");
    assert_eq!(lines[2..], [["eu", "-", "-", "up", "0", "0.0"], ["us", "-", "-", "down", "0", "0.0"]], "{table}");

    universe.hub.kill9()?;
    let said = run(&["status"], &file)?;
    assert!(String::from_utf8(said.stdout)?.starts_with("redis-nexus: down\n"));
    let said = run(&["resume", "eu"], &file)?;
    let text = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(said.status.code() == Some(1) && text.starts_with("redis-nexus: "), "{text}");
    universe.hub.start_again().await?;

    // The file's words stand in redis-nexus for whoever reads them.
    run(&["pause", "eu"], &file)?;
    let hub = RedisLog::connect(RedisConfig::new(universe.hub.url(), RegionName::new("nexus")?))?;
    waiting::until_async(SOON, "the hub answers", async || Ok(hub.time_ms().await.is_ok())).await?;
    assert_eq!(hub.paused().await?, ["eu"]);
    Ok(())
}
