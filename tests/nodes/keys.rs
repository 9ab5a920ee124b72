//! Keys that change while nodes run: a key of the set's file by SIGHUP, a key of the set's URL by itself.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Result, ensure};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use parking_lot::Mutex;
use rcgen::KeyPair;
use sectorbus_tests::client::Client;
use sectorbus_tests::cluster::FAR_S;
use sectorbus_tests::folder::Folder;
use sectorbus_tests::processes::NodeSettings;
use sectorbus_tests::region::{Region, until_metric};
use sectorbus_tests::waiting;
use sectorbus_tests::wire::{Player, PlayerOptions};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::SOON;

const BAD_TOKEN: u16 = 4003;

/// Who signs tokens, with one key.
struct Maker {
    kid: &'static str,
    private: EncodingKey,
    public: Value,
}

impl Maker {
    fn new(kid: &'static str) -> Result<Self> {
        let pair = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
        let private = EncodingKey::from_ec_pem(pair.serialize_pem().as_bytes())?;
        let mut public = serde_json::to_value(Jwk::from_encoding_key(&private, Algorithm::ES256)?)?;
        public["kid"] = kid.into();
        Ok(Self { kid, private, public })
    }

    fn player(&self, name: &str, nodes: &[SocketAddr]) -> Result<Player> {
        let header = Header { kid: Some(self.kid.to_owned()), ..Header::new(Algorithm::ES256) };
        let token = encode(&header, &json!({ "sub": name, "exp": FAR_S }), &self.private)?;
        Ok(Player::with_client(Client::new(name, token), nodes, PlayerOptions::default()))
    }

    /// Whether a new player of this maker gets in.
    async fn is_let_in(&self, name: &str, nodes: &[SocketAddr]) -> Result<bool> {
        let player = self.player(name, nodes)?;
        player.until(SOON, "let in or refused", |told| told.client.is_live() || !told.closes.is_empty()).await?;
        let told = player.told();
        ensure!(told.closes.iter().all(|(code, _)| *code == BAD_TOKEN), "{:?}", told.closes);
        Ok(told.client.is_live())
    }
}

fn set_of(makers: &[&Maker]) -> String {
    let keys: Vec<&Value> = makers.iter().map(|maker| &maker.public).collect();
    json!({ "keys": keys }).to_string()
}

fn stayed(player: &Player) -> bool {
    player.told().connections == 1 && player.told().closes.is_empty()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_set_of_a_file_is_replaced_by_sighup_and_who_is_in_stays_on_redis() -> Result<()> {
    let (old, new, folder) = (Maker::new("old")?, Maker::new("new")?, Folder::new("keys")?);
    let file = folder.write("jwks.json", &set_of(&[&old]))?;
    let region = Region::start_with(&["a"], |settings| settings.with("jwt_jwks_file", file.display())).await?;
    let nodes = region.addresses();
    let ann = old.player("ann", &nodes)?;
    ann.settled(SOON).await?;
    ensure!(!new.is_let_in("bob", &nodes).await?, "a key that the set does not have");
    folder.write("jwks.json", &set_of(&[&new]))?;
    region.nodes[0].hang_up()?;
    let said = || region.nodes[0].log_text().contains("SIGHUP: taken over setting=\"jwt_jwks_file\"");
    waiting::until(SOON, "the set is taken over", said).await?;
    ensure!(new.is_let_in("bob", &nodes).await?, "the new key");
    ensure!(!old.is_let_in("cy", &nodes).await?, "a key that was taken out of the set");
    ensure!(stayed(&ann), "whoever was let in by the old key is thrown out");
    region.passed()
}

/// What a server answers to everybody, until told otherwise.
struct Published {
    url: String,
    answer: Arc<Mutex<String>>,
    task: tokio::task::JoinHandle<()>,
}

impl Published {
    async fn start(body: &str) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/jwks.json", listener.local_addr()?);
        let answer = Arc::new(Mutex::new(ok(body)));
        let given = answer.clone();
        let task = tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") && socket.read_buf(&mut request).await.is_ok_and(|read| read > 0)
                {
                }
                let answer = given.lock().clone();
                // Who has left does not hear it.
                let _ = socket.write_all(answer.as_bytes()).await;
            }
        });
        Ok(Self { url, answer, task })
    }

    fn says(&self, answer: String) {
        *self.answer.lock() = answer;
    }
}

impl Drop for Published {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_set_of_a_url_is_fetched_again_and_the_last_good_one_kept_on_redis() -> Result<()> {
    let (old, new) = (Maker::new("old")?, Maker::new("new")?);
    let published = Published::start(&set_of(&[&old])).await?;
    let fetching =
        |settings: NodeSettings| settings.with("jwt_jwks_url", &published.url).with("jwt_jwks_refresh_ms", 1_000);
    let region = Region::start_with(&["a", "b"], fetching).await?;
    let nodes = region.addresses();
    let ann = old.player("ann", &nodes[..1])?;
    ann.settled(SOON).await?;
    published.says("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_owned());
    let failed = "sectorbus_jwks_fetches_total{result=\"failed\"}";
    for node in &region.nodes {
        until_metric(node, failed, SOON, |count| count >= 1.0).await?;
    }
    ensure!(old.is_let_in("bob", &nodes[1..]).await?, "the last good set is forgotten");
    published.says(ok(&set_of(&[&new])));
    for node in nodes.chunks(1) {
        let let_in = async || new.is_let_in("cy", node).await;
        waiting::until_async(SOON, "the new key", let_in).await?;
        ensure!(!old.is_let_in("dan", node).await?, "a key that was taken out of the set");
    }
    ensure!(stayed(&ann), "whoever was let in by the old key is thrown out");
    region.passed()
}
