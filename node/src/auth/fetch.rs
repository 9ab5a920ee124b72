//! Keys from `jwt_jwks_url`: fetched at the start, every `jwt_jwks_refresh_ms`, and when a token names a key that is not
//! known. What was fetched last stays until something better is. Time and size of an answer are bounded.

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
use sectorbus::metrics::{JwksResult, Metrics};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

use super::jwks::{JWKS_BYTES_MAX, KeySource, read_jwks};
use super::keys::{BadKey, KeySet};
use crate::config::JwksUrl;

/// From the connect to the last byte.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// After a failure, and between fetches that tokens of unknown keys ask for: whoever invents names must not make this
/// node attack somebody's identity provider.
const REST: Duration = Duration::from_secs(5);

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

/// Which certificates an https server may have.
#[derive(Clone)]
pub(super) enum Roots {
    /// The machine's own (`SSL_CERT_FILE`, `SSL_CERT_DIR` or the system's), read at each fetch: one that was renewed is
    /// found, and an identity provider inside a company may have a certificate that no list compiled in would know.
    System,
    #[cfg(test)]
    Given(Arc<RootCertStore>),
}

/// Fetches one URL into one set of keys.
pub struct JwksFetcher {
    url: JwksUrl,
    roots: Roots,
    refresh: Duration,
    keys: Arc<ArcSwap<KeySet>>,
    /// When the last fetch ended. Held while one is made: whoever comes meanwhile waits for that one.
    rested_from: Mutex<Option<Instant>>,
    metrics: Metrics,
}

impl JwksFetcher {
    pub(super) fn new(
        url: JwksUrl,
        roots: Roots,
        refresh: Duration,
        keys: Arc<ArcSwap<KeySet>>,
        metrics: Metrics,
    ) -> Self {
        Self { url, roots, refresh, keys, rested_from: Mutex::new(None), metrics }
    }

    /// Fetches for ever. `fetched` is called when there are keys for the first time.
    pub async fn run(&self, fetched: impl FnOnce()) {
        let mut fetched = Some(fetched);
        loop {
            let next = if self.fetch().await { self.refresh } else { REST.min(self.refresh) };
            if !self.keys.load().is_empty()
                && let Some(fetched) = fetched.take()
            {
                fetched();
            }
            tokio::time::sleep(next).await;
        }
    }

    /// Fetches now, unless that was tried within the last seconds; true if the keys are new.
    async fn fetch(&self) -> bool {
        let mut rested_from = self.rested_from.lock().await;
        let fetched = self.fetch_into_keys().await;
        *rested_from = Some(Instant::now());
        fetched
    }

    /// For a token whose key is unknown.
    pub(super) async fn fetch_if_rested(&self) {
        let mut rested_from = self.rested_from.lock().await;
        if rested_from.is_none_or(|at| at.elapsed() >= REST) {
            self.fetch_into_keys().await;
            *rested_from = Some(Instant::now());
        }
    }

    async fn fetch_into_keys(&self) -> bool {
        let asked = tokio::time::timeout(ANSWER_WITHIN, get(&self.url, &self.roots)).await;
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

async fn get(url: &JwksUrl, roots: &Roots) -> Result<Vec<u8>, FetchError> {
    let socket = TcpStream::connect((url.host(), url.port())).await.map_err(FetchError::Connect)?;
    if !url.is_https() {
        return get_over(url, socket).await;
    }
    let name =
        ServerName::try_from(url.host().to_owned()).map_err(|error| FetchError::Tls(std::io::Error::other(error)))?;
    let connector = TlsConnector::from(Arc::new(client_config(roots).map_err(FetchError::Tls)?));
    get_over(url, connector.connect(name, socket).await.map_err(FetchError::Tls)?).await
}

fn client_config(roots: &Roots) -> Result<ClientConfig, std::io::Error> {
    let roots = match roots {
        #[cfg(test)]
        Roots::Given(roots) => roots.clone(),
        Roots::System => {
            let found = rustls_native_certs::load_native_certs();
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(found.certs);
            if roots.is_empty() {
                return Err(std::io::Error::other(
                    "no root certificates: install ca-certificates or set SSL_CERT_FILE",
                ));
            }
            Arc::new(roots)
        }
    };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    Ok(builder.map_err(std::io::Error::other)?.with_root_certificates(roots).with_no_client_auth())
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
