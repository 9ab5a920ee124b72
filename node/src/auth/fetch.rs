//! Keys from `jwt_jwks_url`: fetched at the start, every `jwt_jwks_refresh_ms`, and when a token names a key that is not
//! known. What was fetched last stays until something better is. Time and size of an answer are bounded. One task fetches;
//! whoever needs a key asks it and waits, and can neither hurry nor cancel a fetch.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use sectorbus::limits::REQUEST_WITHIN;
use sectorbus::metrics::{JwksResult, Metrics};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{OnceCell, watch};
use tokio_rustls::TlsConnector;

use super::jwks::{JWKS_BYTES_MAX, KeySource, read_jwks};
use super::keys::{BadKey, KeySet};
use crate::config::JwksUrl;

/// From the connect to the last byte.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// After a failure, and from the end of any fetch to one that a token of an unknown key asks for: whoever invents names
/// must not make this node attack somebody's identity provider.
const REST: Duration = Duration::from_secs(5);
/// How long the bearer of such a token waits for the fetch: a handshake, which has 5 s, is then still answered.
const ASKER_WAITS: Duration = Duration::from_secs(4);
const _: () = assert!(ASKER_WAITS.as_millis() < REQUEST_WITHIN.as_millis());

/// Why keys could not be fetched. What the server said is not repeated.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    #[error("no connection: {0}")]
    Connect(std::io::Error),
    #[error("TLS: {0}")]
    Tls(std::io::Error),
    #[error("no valid HTTP answer: {0}")]
    Http(hyper::Error),
    #[error("HTTP status {0}, not 200")]
    Status(StatusCode),
    #[error("the answer broke off, or has more than {JWKS_BYTES_MAX} bytes")]
    Body,
    #[error("no answer within {} s", ANSWER_WITHIN.as_secs())]
    TimedOut,
    #[error("the answer is of no use: {0}")]
    Keys(#[from] BadKey),
}

/// What the fetching task is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// A fetch is due or under way: who needs one waits for its end.
    Fetching,
    /// One has ended a moment ago, well or not: there is none for asking.
    Resting,
    /// The first who asks makes it [`Phase::Fetching`].
    Rested,
}

/// Fetches one URL into one set of keys.
pub struct JwksFetcher {
    url: JwksUrl,
    /// Read before the first fetch, and again only if the machine had no roots then.
    tls: OnceCell<TlsConnector>,
    refresh: Duration,
    keys: Arc<ArcSwap<KeySet>>,
    phase: watch::Sender<Phase>,
    metrics: Metrics,
}

impl JwksFetcher {
    pub(super) fn new(url: JwksUrl, refresh: Duration, keys: Arc<ArcSwap<KeySet>>, metrics: Metrics) -> Self {
        let phase = watch::Sender::new(Phase::Fetching);
        Self { url, tls: OnceCell::new(), refresh, keys, phase, metrics }
    }

    /// Fetches for ever; once per fetcher. `fetched` is called when there are keys for the first time.
    pub async fn run(&self, fetched: impl FnOnce()) {
        let mut fetched = Some(fetched);
        let mut phase_rx = self.phase.subscribe();
        loop {
            let next = if self.fetch().await { self.refresh } else { REST.min(self.refresh) };
            if !self.keys.load().is_empty()
                && let Some(fetched) = fetched.take()
            {
                fetched();
            }
            let rest = REST.min(next);
            self.phase.send_replace(Phase::Resting);
            tokio::time::sleep(rest).await;
            self.phase.send_replace(Phase::Rested);
            let asked = phase_rx.wait_for(|phase| *phase == Phase::Fetching);
            let _ = tokio::time::timeout(next - rest, asked).await;
            self.phase.send_replace(Phase::Fetching);
        }
    }

    /// For a token whose key is unknown: waits for the fetch under way, or asks for one, unless the last was a moment ago.
    /// All who wait get the same one, which goes on and counts when they give up.
    pub(super) async fn fetch_if_rested(&self) {
        let mut phase_rx = self.phase.subscribe();
        self.phase.send_if_modified(|phase| {
            let asks = *phase == Phase::Rested;
            if asks {
                *phase = Phase::Fetching;
            }
            asks
        });
        let ended = phase_rx.wait_for(|phase| *phase != Phase::Fetching);
        let _ = tokio::time::timeout(ASKER_WAITS, ended).await;
    }

    /// Fetches now, however long ago the last one was; true if the keys are new.
    async fn fetch(&self) -> bool {
        let asked = tokio::time::timeout(ANSWER_WITHIN, get(&self.url, &self.tls)).await;
        let read = asked.unwrap_or(Err(FetchError::TimedOut)).and_then(|body| Ok(read_jwks(&body, KeySource::Url)?));
        let (result, is_new) = match read {
            Ok(keys) => {
                tracing::debug!(keys = keys.len(), "fetched the JWKS");
                self.keys.store(Arc::new(KeySet::new(keys)));
                (JwksResult::Ok, true)
            }
            Err(error) => {
                let kept = self.keys.load().len();
                tracing::warn!(host = self.url.host(), %error, kept, "the JWKS cannot be fetched: the last good keys stay");
                (JwksResult::Failed, false)
            }
        };
        self.metrics.jwks_fetches.count(result);
        is_new
    }
}

/// `tls` is filled with the machine's roots when it is needed first.
async fn get(url: &JwksUrl, tls: &OnceCell<TlsConnector>) -> Result<Vec<u8>, FetchError> {
    if !url.is_https() {
        return get_over(url, connect(url).await?).await;
    }
    let name =
        ServerName::try_from(url.host().to_owned()).map_err(|error| FetchError::Tls(std::io::Error::other(error)))?;
    let tls = tls.get_or_try_init(machines_tls).await.map_err(FetchError::Tls)?;
    get_over(url, tls.connect(name, connect(url).await?).await.map_err(FetchError::Tls)?).await
}

async fn connect(url: &JwksUrl) -> Result<TcpStream, FetchError> {
    TcpStream::connect((url.host(), url.port())).await.map_err(FetchError::Connect)
}

/// With the machine's own roots (`SSL_CERT_FILE`, `SSL_CERT_DIR` or the system's): an identity provider inside a company may
/// have a certificate that no list compiled in would know.
async fn machines_tls() -> Result<TlsConnector, std::io::Error> {
    // Some hundred files, on some machines.
    let found = tokio::task::spawn_blocking(rustls_native_certs::load_native_certs).await?;
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        return Err(std::io::Error::other("no root certificates: install ca-certificates or set SSL_CERT_FILE"));
    }
    tls_of(roots)
}

fn tls_of(roots: RootCertStore) -> Result<TlsConnector, std::io::Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = builder.map_err(std::io::Error::other)?.with_root_certificates(roots).with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// One request on a connection of its own. Redirects are not followed: the setting says where keys come from.
async fn get_over<S>(url: &JwksUrl, socket: S) -> Result<Vec<u8>, FetchError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(socket)).await.map_err(FetchError::Http)?;
    let request = Request::get(url.path())
        .header(header::HOST, url.authority())
        .header(header::ACCEPT, "application/jwk-set+json, application/json")
        .header(header::CONNECTION, "close")
        .body(Body::empty())
        .expect("a checked URL makes a request");
    let answering = async {
        let answer = sender.send_request(request).await.map_err(FetchError::Http)?;
        if answer.status() != StatusCode::OK {
            return Err(FetchError::Status(answer.status()));
        }
        let body = Limited::new(answer.into_body(), JWKS_BYTES_MAX).collect().await.map_err(|_| FetchError::Body)?;
        Ok(body.to_bytes().to_vec())
    };
    // The connection is driven by the same task: when the answer is there, or is given up, nothing is left of it.
    let mut connection = std::pin::pin!(connection);
    let mut answering = std::pin::pin!(answering);
    tokio::select! {
        answer = &mut answering => answer,
        _ = &mut connection => answering.await,
    }
}

#[cfg(test)]
#[path = "fetch_tests.rs"]
mod tests;
