//! The certificate that players' connections are encrypted with, read and checked with its key at once. Handshakes are
//! `players`'s.

use std::fmt;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::error::Problem;
use super::load::{Sources, missing};

/// Certificate chain and key, ready for handshakes. `Debug` shows nothing of them.
#[derive(Clone)]
pub struct TlsServer(Arc<ServerConfig>);

/// Why a certificate and a key are no good. Never holds the key.
#[derive(Debug, thiserror::Error)]
pub enum BadTls {
    #[error("it holds no PEM block CERTIFICATE")]
    NoCertificate,
    #[error("it holds no PEM block PRIVATE KEY")]
    NoKey,
    #[error("it is not the key of the certificate, or one of the two cannot be used: {0}")]
    NoPair(rustls::Error),
}

impl TlsServer {
    /// `chain`: the server's certificate first. TLS 1.2 and 1.3.
    pub fn read(chain: &[u8], key: &[u8]) -> Result<Self, (&'static str, BadTls)> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(chain).filter_map(Result::ok).collect();
        if chain.is_empty() {
            return Err((CERT, BadTls::NoCertificate));
        }
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| (KEY, BadTls::NoKey))?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let versions = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = versions.and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key));
        let mut config = config.map_err(|error| (KEY, BadTls::NoPair(error)))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self(Arc::new(config)))
    }

    /// For one handshake after the other.
    pub fn config(&self) -> Arc<ServerConfig> {
        self.0.clone()
    }
}

impl fmt::Debug for TlsServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsServer")
    }
}

const CERT: &str = "tls_cert_file";
const KEY: &str = "tls_key_file";

impl Sources<'_> {
    /// `None`: neither file is given, or something was pushed to `problems`.
    pub(super) fn tls(&self, problems: &mut Vec<Problem>) -> Option<TlsServer> {
        let (cert, key) = match (self.given(CERT), self.given(KEY)) {
            (None, None) => return None,
            (Some(cert), Some(key)) => (cert, key),
            (None, Some(_)) => {
                problems.push(missing(CERT, &[]));
                return None;
            }
            (Some(_), None) => {
                problems.push(missing(KEY, &[]));
                return None;
            }
        };
        let read = self.file(CERT, &cert).and_then(|(cert_path, chain)| {
            let (key_path, key) = self.file(KEY, &key)?;
            TlsServer::read(&chain, &key).map_err(|(setting, why)| {
                let path = if setting == CERT { cert_path } else { key_path };
                self.refused_file(setting, path, &why.to_string())
            })
        });
        read.map_err(|problem| problems.push(problem)).ok()
    }
}
