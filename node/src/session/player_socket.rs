//! The socket under one player's connection, plain or TLS. Both are used the same way: tried at once, and waited for by
//! the readiness of the TCP socket below. Knows bytes only.

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::Shutdown;
use std::task::{Context, Poll};

use parking_lot::Mutex;
use rustls::ServerConnection;
use socket2::SockRef;
use tokio::net::TcpStream;

/// Plaintext that TLS takes ahead of the socket: what waits beyond it waits in the outbox, where lanes and limits count.
const TLS_AHEAD_BYTES_MAX: usize = 16 * 1024;

pub struct PlayerSocket {
    tcp: TcpStream,
    /// `None`: plain.
    tls: Option<Box<Mutex<Tls>>>,
}

struct Tls {
    connection: ServerConnection,
    /// Decrypted and not yet read: the TCP socket may have nothing more to tell of it.
    has_plaintext: bool,
}

impl From<TcpStream> for PlayerSocket {
    fn from(tcp: TcpStream) -> Self {
        Self { tcp, tls: None }
    }
}

impl From<(TcpStream, ServerConnection)> for PlayerSocket {
    /// After the handshake.
    fn from((tcp, mut connection): (TcpStream, ServerConnection)) -> Self {
        connection.set_buffer_limit(Some(TLS_AHEAD_BYTES_MAX));
        // Some may have been read along with the request.
        let tls = Tls { connection, has_plaintext: true };
        Self { tcp, tls: Some(Box::new(Mutex::new(tls))) }
    }
}

impl PlayerSocket {
    /// As a socket's `read`: 0 bytes are its end. `WouldBlock`: wait by [`PlayerSocket::poll_readable`].
    pub fn try_read(&self, bytes: &mut [u8]) -> io::Result<usize> {
        match &self.tls {
            None => self.tcp.try_read(bytes),
            Some(tls) => tls.lock().read(&self.tcp, bytes),
        }
    }

    /// Takes as much as it can at once, and says how much. With TLS, what was taken may wait for the socket:
    /// [`PlayerSocket::flush`].
    pub fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match &self.tls {
            // Most writes are one frame: a plain write is the cheaper call.
            None if let [one] = slices => self.tcp.try_write(one),
            None => self.tcp.try_write_vectored(slices),
            Some(tls) => tls.lock().write(&self.tcp, slices),
        }
    }

    /// Sends what was taken before; true: nothing of it waits.
    pub fn flush(&self) -> io::Result<bool> {
        match &self.tls {
            None => Ok(true),
            Some(tls) => tls.lock().flush(&self.tcp),
        }
    }

    /// Something that was taken waits for the socket.
    pub fn has_unsent(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.lock().connection.wants_write())
    }

    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &self.tls {
            Some(tls) if tls.lock().has_plaintext => Poll::Ready(Ok(())),
            _ => self.tcp.poll_read_ready(cx),
        }
    }

    pub async fn writable(&self) -> io::Result<()> {
        self.tcp.writable().await
    }

    /// Nothing more will be written.
    pub fn end_writing(&self) {
        if let Some(tls) = &self.tls {
            let mut tls = tls.lock();
            tls.connection.send_close_notify();
            let _ = tls.flush(&self.tcp);
        }
        let _ = SockRef::from(&self.tcp).shutdown(Shutdown::Write);
    }

    /// Reads what still comes, as it comes, until the peer has closed.
    pub async fn discard(&self) {
        let mut unread = [0; 4096];
        while self.tcp.readable().await.is_ok() {
            match self.tcp.try_read(&mut unread) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
    }
}

impl Tls {
    fn read(&mut self, tcp: &TcpStream, bytes: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.connection.reader().read(bytes) {
                Ok(read) => return Ok(read),
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.has_plaintext = false,
                Err(error) => return Err(error),
            }
            if self.connection.read_tls(&mut Nonblocking(tcp))? == 0 {
                // Without a close_notify: an end all the same, frames say their length themselves.
                return Ok(0);
            }
            let processed = self.connection.process_new_packets();
            // Alerts, answers to a key update.
            let flushed = self.flush(tcp);
            let state = processed.map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
            flushed?;
            self.has_plaintext = state.plaintext_bytes_to_read() > 0;
        }
    }

    fn write(&mut self, tcp: &TcpStream, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        if !self.flush(tcp)? {
            return Err(ErrorKind::WouldBlock.into());
        }
        let taken = self.connection.writer().write_vectored(slices)?;
        self.flush(tcp)?;
        Ok(taken)
    }

    fn flush(&mut self, tcp: &TcpStream) -> io::Result<bool> {
        while self.connection.wants_write() {
            match self.connection.write_tls(&mut Nonblocking(tcp)) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}

/// The TCP socket as rustls wants it. What is not ready is `WouldBlock`, and tokio is told.
struct Nonblocking<'s>(&'s TcpStream);

impl Read for Nonblocking<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(bytes)
    }
}

impl Write for Nonblocking<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rcgen::CertifiedKey;
    use rustls::pki_types::{CertificateDer, ServerName};
    use rustls::{ClientConfig, RootCertStore};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio_rustls::{TlsAcceptor, TlsConnector, client};

    use super::*;
    use crate::config::TlsServer;
    use crate::session::outbox::{Handed, Lane, Outbox, Sink, framed};

    /// Both ends of a connection after the handshake.
    async fn pair() -> (Arc<PlayerSocket>, client::TlsStream<TcpStream>) {
        let CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
        let server = TlsServer::read(cert.pem().as_bytes(), signing_key.serialize_pem().as_bytes()).expect("a pair");
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(cert.der().to_vec())).expect("a root");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.expect("a client").with_root_certificates(roots).with_no_client_auth();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (theirs, ours) = (TcpStream::connect(address), listener.accept());
        let (theirs, ours) = tokio::join!(theirs, ours);
        let name = ServerName::try_from("localhost").expect("a name");
        let connecting = TlsConnector::from(Arc::new(config)).connect(name, theirs.expect("connected"));
        let accepting = TlsAcceptor::from(server.config()).accept(ours.expect("accepted").0);
        let (theirs, ours) = tokio::join!(connecting, accepting);
        (Arc::new(ours.expect("accepted").into_inner().into()), theirs.expect("connected"))
    }

    #[tokio::test]
    async fn a_slow_reader_gets_all_that_was_taken_for_it_in_order() {
        let (ours, mut theirs) = pair().await;
        let outbox = Outbox::new(Sink::Socket(ours.clone()));
        let mut sent = Vec::new();
        // Until much waits, in rustls and in the outbox.
        for n in 0..10_000_u32 {
            let frame = framed(Lane::Critical, sectorbus::protocol::Codec::Msgpack, &n.to_be_bytes().repeat(200));
            assert_eq!(outbox.send(std::slice::from_ref(&frame)), Handed::Taken);
            sent.extend_from_slice(&frame.bytes);
            if outbox.has_waiting() && sent.len() > 8 * TLS_AHEAD_BYTES_MAX && n % 64 == 0 {
                break;
            }
        }
        assert!(outbox.has_waiting(), "the reader was never slow");
        let draining = async {
            while outbox.has_waiting() {
                ours.writable().await.expect("open");
                outbox.drain();
            }
            ours.end_writing();
        };
        let mut read = Vec::new();
        let (_, ended) = tokio::join!(draining, theirs.read_to_end(&mut read));
        ended.expect("an orderly end");
        assert!(read == sent, "{} of {} bytes, or in another order", read.len(), sent.len());
    }

    #[tokio::test]
    async fn what_came_in_one_record_is_read_piece_by_piece_without_more_from_the_network() {
        let (ours, mut theirs) = pair().await;
        let said: Vec<u8> = (0..200).collect();
        theirs.write_all(&said).await.expect("written");
        theirs.flush().await.expect("flushed");
        let mut read = Vec::new();
        while read.len() < said.len() {
            std::future::poll_fn(|cx| ours.poll_readable(cx)).await.expect("open");
            let mut piece = [0; 7];
            match ours.try_read(&mut piece) {
                Ok(bytes) => read.extend_from_slice(&piece[..bytes]),
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
        }
        assert_eq!(read, said);
    }

    #[tokio::test]
    async fn bytes_that_are_no_record_end_the_connection() {
        let (ours, theirs) = pair().await;
        let (mut tcp, _) = theirs.into_inner();
        tcp.write_all(b"GET /ws HTTP/1.1\r\n\r\n").await.expect("written");
        let error = loop {
            std::future::poll_fn(|cx| ours.poll_readable(cx)).await.expect("open");
            match ours.try_read(&mut [0; 100]) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                other => break other.expect_err("it was read"),
            }
        };
        assert_eq!(error.kind(), ErrorKind::InvalidData);
    }
}
