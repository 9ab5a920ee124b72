//! The demo's two regions as their players have them: a jump through the gate, chat that crosses, and the bridge that is cut
//! and mended by the page's switch.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use sectorbus::action::Action;
use sectorbus::ids::RoomId;
use sectorbus::protocol::ClientFrame;
use sectorbus_demo::socket::{Heard, Socket};
use sectorbus_tests::client::Client;
use serde_json::Value;
use tokio::time::{Instant, timeout};

use crate::http::{SOON, get, key_of, post, see};
use crate::process::Demo;

const AGAIN_AFTER: Duration = Duration::from_millis(250);
/// What crosses takes some ms: a second later it would long be there.
const IN_VAIN_FOR: Duration = Duration::from_secs(2);

/// One of the page's pilots, who goes where they are told to.
struct Pilot<'a> {
    demo: &'a Demo,
    pane: u8,
    /// Where it is connected, or connects.
    region: String,
    client: Client,
    socket: Option<Socket>,
    tries: usize,
}

impl<'a> Pilot<'a> {
    async fn start(demo: &'a Demo, pane: u8, region: &str) -> Result<Self> {
        let name = if pane == 1 { "pilot-a" } else { "pilot-b" };
        let mut client = Client::new(name, String::new());
        client.heard.wanted = true;
        let mut pilot = Self { demo, pane, region: region.to_owned(), client, socket: None, tries: 0 };
        pilot.until("the first state", |pilot| pilot.client.is_live()).await?;
        Ok(pilot)
    }

    async fn until(&mut self, what: &str, done: impl Fn(&Self) -> bool) -> Result<()> {
        let deadline = Instant::now() + SOON;
        while !done(self) {
            ensure!(
                Instant::now() < deadline,
                "{what}: not within {SOON:?}, in {}: {:?}",
                self.region,
                self.client.errors
            );
            let _ = timeout(AGAIN_AFTER, self.step()).await;
        }
        ensure!(self.client.broken.is_empty(), "{:?}", self.client.broken);
        Ok(())
    }

    /// Listens for so long.
    async fn listen(&mut self, how_long: Duration) {
        let deadline = Instant::now() + how_long;
        while timeout(deadline - Instant::now(), self.step()).await.is_ok() && Instant::now() < deadline {}
    }

    /// Cancel-safe but for connecting, which is begun anew.
    async fn step(&mut self) -> Result<()> {
        let Some(socket) = &mut self.socket else { return self.connect().await };
        match socket.next().await {
            Heard::Frame(frame) => {
                for answer in self.client.take(frame) {
                    socket.send(&answer).await;
                }
            }
            Heard::Sign => {}
            Heard::Undecodable(why) => bail!("{why}"),
            Heard::Closed(_) => {
                self.socket = None;
                if let Some(elsewhere) = &self.client.elsewhere {
                    self.region = elsewhere.region.to_string();
                }
            }
        }
        Ok(())
    }

    /// Where players connect in this region: by the address that `elsewhere` told, or by one of the session's.
    async fn connect(&mut self) -> Result<()> {
        let session = get(self.demo, &format!("/session.json?pane={}&region={}", self.pane, self.region))?;
        let session: Value = serde_json::from_str(&session.body)?;
        let urls: Vec<&str> = session["urls"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        self.tries += 1;
        let url = urls.get(self.tries % urls.len().max(1)).context("no url")?;
        let told = self.client.elsewhere.as_ref().and_then(|elsewhere| elsewhere.address.as_deref());
        let address = told.unwrap_or(url).trim_start_matches("ws://").trim_end_matches("/ws");
        let token = session["token"].as_str().context("no token")?.to_owned();
        let Ok(mut socket) = Socket::connect(address, &token).await else {
            tokio::time::sleep(AGAIN_AFTER).await;
            return Ok(());
        };
        self.client.token = Some(token);
        let hello = self.client.hello();
        socket.send(&hello).await;
        self.socket = Some(socket);
        Ok(())
    }

    async fn send(&mut self, frame: ClientFrame) -> Result<()> {
        let socket = self.socket.as_mut().context("not connected")?;
        ensure!(socket.send(&frame).await, "the connection is broken");
        Ok(())
    }

    /// To everybody; returns when it is said.
    async fn say(&mut self, text: &str) -> Result<()> {
        let frame = self.client.heard.say(RoomId::Global, text);
        self.send(frame).await?;
        self.until("what is said is answered", |pilot| pilot.client.heard.saying.is_empty()).await
    }

    fn times(&self, text: &str) -> usize {
        self.client.heard.texts(&RoomId::Global).iter().filter(|heard| **heard == text).count()
    }

    async fn hears(&mut self, text: &str) -> Result<()> {
        self.until(text, |pilot| pilot.times(text) > 0).await?;
        ensure!(self.times(text) == 1, "{text} was heard {} times", self.times(text));
        Ok(())
    }
}

fn link<'a>(picture: &'a Value, name: &str) -> &'a Value {
    let links = picture["bridge"]["links"].as_array().into_iter().flatten();
    links.into_iter().find(|link| link["link"] == name).unwrap_or(&Value::Null)
}

/// Both links are carried, and what is said from now on crosses.
async fn bridged(demo: &Demo, eu: &mut Pilot<'_>, us: &mut Pilot<'_>) -> Result<()> {
    see(demo, |picture| ["eu", "us"].iter().all(|name| link(picture, name)["leader"].is_string()))?;
    // What is said in the first three seconds of a bridge stays where it is.
    let deadline = Instant::now() + SOON;
    for n in 1.. {
        let text = format!("is anybody there? {n}");
        eu.say(&text).await?;
        us.listen(Duration::from_secs(1)).await;
        if us.times(&text) > 0 {
            break;
        }
        ensure!(Instant::now() < deadline, "nothing crosses the bridge");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_player_jumps_through_the_gate_and_goes_on_in_the_other_region_as_who_they_are() -> Result<()> {
    let demo = Demo::start()?;
    let mut ann = Pilot::start(&demo, 1, "eu").await?;
    assert_eq!(ann.client.view.as_ref().map(|view| view.gates()).unwrap_or_default(), ["us:1".parse()?]);
    let credits = |pilot: &Pilot<'_>| pilot.client.view.as_ref().map(|view| view.own.clone());
    let (before, actor) = (credits(&ann), ann.client.actor);
    let jump = ann.client.act(Action::Jump { to: "us:1".parse()? });
    ann.send(jump).await?;
    ann.until("the jump", |ann| ann.region == "us" && ann.client.is_live()).await?;
    let view = ann.client.view.as_ref().context("a view")?;
    assert_eq!((view.sector.as_str(), view.gates()), ("1", vec!["eu:1".parse()?]));
    assert!(ann.client.pending.is_empty(), "{:?}", ann.client.pending);
    assert_eq!(ann.client.actor, actor, "the same session goes on, by the region's own address and a ticket");
    let kept = |fields: Option<sectorbus_demo::client::Fields>| fields?.get(&sectorbus::value::Field::CREDITS).cloned();
    assert_eq!(kept(credits(&ann)), kept(before));
    see(&demo, |picture| {
        let ships = picture["regions"][1]["ships"].as_array();
        ships.is_some_and(|ships| ships.iter().any(|ship| ship["player"] == "pilot-a"))
    })?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn chat_crosses_the_bridge_waits_while_it_is_cut_and_comes_in_order_when_it_is_mended() -> Result<()> {
    let demo = Demo::start()?;
    let key = key_of(&get(&demo, "/")?.body)?;
    let mut ann = Pilot::start(&demo, 1, "eu").await?;
    let mut bob = Pilot::start(&demo, 2, "us").await?;
    bridged(&demo, &mut ann, &mut bob).await?;
    bob.say("hello from us").await?;
    ann.hears("hello from us").await?;
    assert_eq!(post(&demo, "/announce", Some(&key), None, r#"{"level":"info","text":"to all"}"#)?.status, 204);
    ann.hears("to all").await?;
    bob.hears("to all").await?;

    assert_eq!(post(&demo, "/bridge", Some(&key), None, r#"{"cut":true}"#)?.status, 204);
    see(&demo, |picture| picture["bridge"]["cut"] == true && link(picture, "us")["paused"] == true)?;
    let texts: Vec<String> = (1..=5).map(|n| format!("number {n}")).collect();
    for text in &texts {
        ann.say(text).await?;
    }
    bob.say("alone").await?;
    bob.listen(IN_VAIN_FOR).await;
    ann.listen(IN_VAIN_FOR).await;
    assert!(texts.iter().all(|text| bob.times(text) == 0), "{:?}", bob.client.heard.texts(&RoomId::Global));
    assert_eq!(ann.times("alone"), 0);
    see(&demo, |picture| {
        let waits = link(picture, "us");
        waits["items"].as_u64() >= Some(6) && waits["seconds"].as_f64() > Some(3.0)
    })?;

    assert_eq!(post(&demo, "/bridge", Some(&key), None, r#"{"cut":false}"#)?.status, 204);
    for text in &texts {
        bob.hears(text).await?;
    }
    ann.hears("alone").await?;
    let heard = bob.client.heard.texts(&RoomId::Global);
    let in_order: Vec<&str> = heard.into_iter().filter(|text| text.starts_with("number")).collect();
    assert_eq!(in_order, texts);
    see(&demo, |picture| {
        // Bots come and go all the time: there is always something on the way.
        let is_quick = |name: &&str| link(picture, name)["seconds"].as_f64() < Some(2.0);
        picture["bridge"]["cut"] == false && ["eu", "us"].iter().all(is_quick)
    })?;
    Ok(())
}
