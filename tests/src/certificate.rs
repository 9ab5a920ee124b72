//! A self-signed certificate for `localhost`, and a client that trusts it and nothing else.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use rcgen::CertifiedKey;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

pub struct Certificate {
    /// As a server's files hold them.
    pub chain_pem: String,
    pub key_pem: String,
    connector: TlsConnector,
}

impl Certificate {
    pub fn new() -> Result<Self> {
        let CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()])?;
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(cert.der().to_vec()))?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let client = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let client = client.with_root_certificates(roots).with_no_client_auth();
        let connector = TlsConnector::from(Arc::new(client));
        Ok(Self { chain_pem: cert.pem(), key_pem: signing_key.serialize_pem(), connector })
    }

    /// A connection to whoever has this certificate; an error if it is another's.
    pub async fn connect(&self, address: SocketAddr) -> Result<TlsStream<TcpStream>> {
        let socket = TcpStream::connect(address).await?;
        let name = ServerName::try_from("localhost").context("a name")?;
        Ok(self.connector.connect(name, socket).await?)
    }
}
