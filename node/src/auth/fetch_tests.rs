//! Fetching keys from a real HTTP server of a test's own: what is taken, what is refused, and what stays.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use parking_lot::Mutex;
use rcgen::KeyPair;
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sectorbus::ids::RegionName;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::auth::{AuthError, Token, Verifier, read_pem};
use crate::config::JwtConfig;

const NOW_MS: u64 = 1_790_000_000_000;

/// Answers every connection with the same bytes; with none: never.
struct Server {
    port: u16,
    answer: Arc<Mutex<Vec<u8>>>,
    asked: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    async fn start(tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (answer, asked) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicUsize::new(0)));
        let (given, counted) = (answer.clone(), asked.clone());
        let task = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::Relaxed);
                let (answer, tls) = (given.lock().clone(), tls.clone());
                tokio::spawn(async move {
                    match &tls {
                        None => serve(socket, &answer).await,
                        Some(tls) => {
                            if let Ok(socket) = tls.accept(socket).await {
                                serve(socket, &answer).await;
                            }
                        }
                    }
                });
            }
        });
        Self { port, answer, asked, task }
    }

    fn says(&self, status: &str, body: &[u8]) {
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", body.len());
        *self.answer.lock() = [head.as_bytes(), body].concat();
    }

    fn has(&self, makers: &[&Maker]) {
        let keys: Vec<Value> = makers.iter().map(|maker| maker.jwk.clone()).collect();
        self.says("200 OK", json!({ "keys": keys }).to_string().as_bytes());
    }

    fn hangs(&self) {
        self.answer.lock().clear();
    }

    /// Fetches so far.
    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut socket: impl AsyncRead + AsyncWrite + Unpin, answer: &[u8]) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        match socket.read_u8().await {
            Ok(byte) => request.push(byte),
            Err(_) => return,
        }
    }
    if answer.is_empty() {
        std::future::pending::<()>().await;
    }
    let _ = socket.write_all(answer).await;
    let _ = socket.shutdown().await;
}

struct Maker {
    kid: &'static str,
    private: EncodingKey,
    jwk: Value,
    /// The public key, which has no name there.
    pem: String,
}

impl Maker {
    fn new(kid: &'static str) -> Self {
        let pair = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let private = EncodingKey::from_ec_pem(pair.serialize_pem().as_bytes()).unwrap();
        let mut jwk = serde_json::to_value(Jwk::from_encoding_key(&private, Algorithm::ES256).unwrap()).unwrap();
        jwk["kid"] = kid.into();
        Self { kid, private, jwk, pem: pair.public_key_pem() }
    }

    fn token(&self) -> Token {
        let header = Header { kid: Some(self.kid.to_owned()), ..Header::new(Algorithm::ES256) };
        let payload = json!({ "sub": "ann", "exp": NOW_MS / 1000 + 60 });
        Token::new(encode(&header, &payload, &self.private).unwrap())
    }
}

/// With keys of the settings, and those of a URL, which nobody fetches yet.
fn verifier(url: &str, keys: KeySet) -> Verifier {
    let url = Some(JwksUrl::new(url).unwrap());
    let jwt = JwtConfig { jwks_url: url, ..JwtConfig::new(keys) };
    Verifier::new(&jwt, RegionName::new("eu").unwrap()).fetching(&jwt, &Metrics::new("n1"))
}

fn of(server: &Server) -> Verifier {
    verifier(&format!("http://127.0.0.1:{}/jwks?x=1", server.port), KeySet::default())
}

/// Fetched for as a node does.
fn running(verifier: Verifier) -> Arc<Verifier> {
    let verifier = Arc::new(verifier);
    let fetched_for = verifier.clone();
    tokio::spawn(async move { fetched_for.fetcher().unwrap().run(|| ()).await });
    verifier
}

/// Lets the time pass until a fetch can be asked for.
async fn rested(verifier: &Verifier) {
    let mut phase_rx = verifier.fetcher().unwrap().phase.subscribe();
    phase_rx.wait_for(|phase| *phase != Phase::Fetching).await.unwrap();
    tokio::time::pause();
    phase_rx.wait_for(|phase| *phase == Phase::Rested).await.unwrap();
    tokio::time::resume();
}

async fn judged(verifier: &Verifier, maker: &Maker) -> Result<(), AuthError> {
    verifier.verify_or_fetch(&maker.token(), NOW_MS).await.map(|_| ())
}

#[tokio::test]
async fn the_first_token_of_a_new_kid_fetches_its_key_and_is_accepted() {
    let server = Server::start(None).await;
    let (old, new) = (Maker::new("old"), Maker::new("new"));
    server.has(&[&old]);
    let verifier = running(of(&server));
    assert!(!verifier.has_keys());
    assert_eq!(judged(&verifier, &old).await, Ok(()), "it waits for the first fetch");
    assert!(verifier.has_keys());
    server.has(&[&old, &new]);
    assert_eq!(judged(&verifier, &new).await, Err(AuthError::UnknownKey), "fetched a moment ago");
    assert_eq!(server.asked(), 1);
    rested(&verifier).await;
    assert_eq!(server.asked(), 1, "nobody asked");
    assert_eq!(judged(&verifier, &new).await, Ok(()));
    assert_eq!(judged(&verifier, &old).await, Ok(()));
    assert_eq!(server.asked(), 2);
}

#[tokio::test]
async fn tokens_of_invented_kids_ask_once_in_five_seconds() {
    let server = Server::start(None).await;
    server.has(&[&Maker::new("real")]);
    let verifier = running(of(&server));
    let invented = Maker::new("invented");
    for fetches in 1..=2 {
        let asking = (0..50).map(|_| judged(&verifier, &invented));
        for judged in futures_util::future::join_all(asking).await {
            assert_eq!(judged, Err(AuthError::UnknownKey));
        }
        assert_eq!(server.asked(), fetches);
        rested(&verifier).await;
    }
}

/// Who connects, names a key and goes makes one fetch as well, not one each time.
#[tokio::test]
async fn who_goes_before_the_answer_leaves_the_fetch_to_the_others_and_starts_no_other() {
    let server = Server::start(None).await;
    let (old, new) = (Maker::new("old"), Maker::new("new"));
    server.has(&[&old]);
    let verifier = running(of(&server));
    assert_eq!(judged(&verifier, &old).await, Ok(()));
    rested(&verifier).await;
    server.hangs();
    for _ in 0..20 {
        let gone = tokio::time::timeout(Duration::from_millis(10), judged(&verifier, &new)).await;
        assert!(gone.is_err(), "it waits for the answer");
    }
    assert_eq!(server.asked(), 2);
    // Who stays is told, before a handshake's time is over; then the fetch is given up, and counts.
    let started = Instant::now();
    tokio::time::pause();
    assert_eq!(judged(&verifier, &new).await, Err(AuthError::UnknownKey));
    assert_eq!(started.elapsed().as_secs(), ASKER_WAITS.as_secs());
    tokio::time::resume();
    server.has(&[&new]);
    rested(&verifier).await;
    assert_eq!(server.asked(), 2, "the one that was given up counts");
}

#[tokio::test]
async fn a_new_kid_is_fetched_though_a_key_without_name_has_its_algorithm() {
    let server = Server::start(None).await;
    let (nameless, old, new) = (Maker::new("any"), Maker::new("old"), Maker::new("new"));
    server.has(&[&old]);
    let settings = KeySet::new(read_pem(nameless.pem.as_bytes()).unwrap());
    let verifier = running(verifier(&format!("http://127.0.0.1:{}/", server.port), settings));
    assert_eq!(judged(&verifier, &old).await, Ok(()));
    assert_eq!(judged(&verifier, &new).await, Err(AuthError::BadSignature), "fetched a moment ago");
    rested(&verifier).await;
    server.has(&[&old, &new]);
    assert_eq!(judged(&verifier, &nameless).await, Ok(()));
    // A known name that somebody else signs with, and no name at all, are not worth a fetch.
    let forged = Maker { kid: "old", ..Maker::new("forged") };
    assert_eq!(judged(&verifier, &forged).await, Err(AuthError::BadSignature));
    let payload = json!({ "sub": "ann", "exp": NOW_MS / 1000 + 60 });
    let unnamed = Token::new(encode(&Header::new(Algorithm::ES256), &payload, &forged.private).unwrap());
    assert_eq!(verifier.verify_or_fetch(&unnamed, NOW_MS).await.map(|_| ()), Err(AuthError::BadSignature));
    assert_eq!(server.asked(), 1);
    assert_eq!(judged(&verifier, &new).await, Ok(()));
    assert_eq!(server.asked(), 2);
}

#[tokio::test]
async fn the_last_good_keys_stay_when_the_server_fails_or_is_gone() {
    let server = Server::start(None).await;
    let maker = Maker::new("a");
    server.has(&[&maker]);
    let verifier = of(&server);
    let fetcher = verifier.fetcher().unwrap();
    assert!(fetcher.fetch().await);
    let endless = json!({ "keys": [maker.jwk], "more": "x".repeat(JWKS_BYTES_MAX) }).to_string();
    for (status, body) in [
        ("500 Oops", "{}"),
        ("302 Found\r\nLocation: http://127.0.0.1/", ""),
        ("200 OK", "<html>"),
        ("200 OK", "{\"keys\":[]}"),
        ("200 OK", &endless),
    ] {
        server.says(status, body.as_bytes());
        assert!(!fetcher.fetch().await, "{status}");
        assert_eq!(judged(&verifier, &maker).await, Ok(()), "{status}");
    }
    *server.answer.lock() = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{\"keys\":".to_vec();
    assert!(!fetcher.fetch().await, "an answer that breaks off");
    drop(server);
    assert!(!fetcher.fetch().await, "nobody listens");
    assert_eq!(judged(&verifier, &maker).await, Ok(()));
    // What the server gives up is given up with the next good answer.
    let other = Maker::new("b");
    let server = Server::start(None).await;
    server.has(&[&other]);
    let verifier = of(&server);
    assert!(verifier.fetcher().unwrap().fetch().await);
    assert_eq!(verifier.verify(&maker.token(), NOW_MS).map(|_| ()), Err(AuthError::UnknownKey));
}

#[tokio::test]
async fn https_is_spoken_with_a_server_whose_certificate_a_root_vouches_for() {
    let certified = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let certificate = CertificateDer::from(certified.cert.der().to_vec());
    let key = PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(vec![certificate.clone()], key).unwrap();
    let server = Server::start(Some(TlsAcceptor::from(Arc::new(config)))).await;
    server.has(&[&Maker::new("a")]);
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let fetched = async |host: &str, roots: RootCertStore| {
        let url = JwksUrl::new(&format!("https://{host}:{}/jwks", server.port)).unwrap();
        get(&url, &OnceCell::from(tls_of(roots).unwrap())).await
    };
    assert!(read_jwks(&fetched("localhost", roots.clone()).await.unwrap(), KeySource::Url).is_ok());
    assert!(
        matches!(fetched("127.0.0.1", roots).await, Err(FetchError::Tls(_))),
        "another name than the certificate's"
    );
    let stranger = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let mut others = RootCertStore::empty();
    others.add(CertificateDer::from(stranger.cert.der().to_vec())).unwrap();
    let unknown = fetched("localhost", others).await;
    assert!(matches!(unknown, Err(FetchError::Tls(_))), "a certificate that nobody vouches for");
}

#[tokio::test]
async fn an_answer_that_does_not_come_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let verifier = verifier(&format!("http://{}/jwks", listener.local_addr().unwrap()), KeySet::default());
    let started = Instant::now();
    let fetching = verifier.fetcher().unwrap().fetch();
    tokio::time::pause();
    assert!(!fetching.await);
    assert_eq!(started.elapsed().as_secs(), ANSWER_WITHIN.as_secs());
}
