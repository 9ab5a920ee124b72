//! The PROXY protocol, versions 1 and 2: what a load balancer says before the first byte of a connection.
//! <https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt>

use std::io;
use std::net::IpAddr;

use ppp::{v1, v2};
use tokio::io::{AsyncRead, AsyncReadExt};

/// The longest version 1 has.
const TEXT_BYTES_MAX: usize = 107;
/// Of version 2, after its first 16: addresses take 216 at most, what a balancer adds is little.
const BINARY_REST_BYTES_MAX: usize = 2048;

#[derive(Debug, thiserror::Error)]
pub enum BadProxyHeader {
    #[error("no PROXY header came: {0}")]
    Io(#[from] io::Error),
    #[error("no PROXY header")]
    None,
    #[error("a PROXY header that is not valid: {0}")]
    Malformed(String),
    #[error("a PROXY header that is too long")]
    TooLong,
}

/// Reads exactly the header. `None`: the connection is the balancer's own, or it does not say whose.
pub async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Result<Option<IpAddr>, BadProxyHeader> {
    let mut header = vec![0; v2::PROTOCOL_PREFIX.len()];
    stream.read_exact(&mut header).await?;
    if header == v2::PROTOCOL_PREFIX {
        read_binary(stream, header).await
    } else if header.starts_with(v1::PROTOCOL_PREFIX.as_bytes()) {
        read_text(stream, header).await
    } else {
        Err(BadProxyHeader::None)
    }
}

async fn read_binary(
    stream: &mut (impl AsyncRead + Unpin),
    mut header: Vec<u8>,
) -> Result<Option<IpAddr>, BadProxyHeader> {
    let (version_and_family, length) = (stream.read_u16().await?, stream.read_u16().await?);
    if usize::from(length) > BINARY_REST_BYTES_MAX {
        return Err(BadProxyHeader::TooLong);
    }
    header.extend(version_and_family.to_be_bytes());
    header.extend(length.to_be_bytes());
    let begun = header.len();
    header.resize(begun + usize::from(length), 0);
    stream.read_exact(&mut header[begun..]).await?;
    let parsed = v2::Header::try_from(&*header).map_err(|error| BadProxyHeader::Malformed(error.to_string()))?;
    if parsed.command == v2::Command::Local {
        return Ok(None);
    }
    Ok(match parsed.addresses {
        v2::Addresses::IPv4(addresses) => Some(addresses.source_address.into()),
        v2::Addresses::IPv6(addresses) => Some(addresses.source_address.into()),
        v2::Addresses::Unspecified | v2::Addresses::Unix(_) => None,
    })
}

/// A byte at a time, as nothing after the line end may be taken; once per connection, and buffered by the kernel.
async fn read_text(
    stream: &mut (impl AsyncRead + Unpin),
    mut header: Vec<u8>,
) -> Result<Option<IpAddr>, BadProxyHeader> {
    while !header.ends_with(b"\r\n") {
        if header.len() == TEXT_BYTES_MAX {
            return Err(BadProxyHeader::TooLong);
        }
        header.push(stream.read_u8().await?);
    }
    let parsed = v1::Header::try_from(&*header).map_err(|error| BadProxyHeader::Malformed(error.to_string()))?;
    Ok(match parsed.addresses {
        v1::Addresses::Tcp4(addresses) => Some(addresses.source_address.into()),
        v1::Addresses::Tcp6(addresses) => Some(addresses.source_address.into()),
        v1::Addresses::Unknown => None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a header says, and what is left of the stream after it.
    fn read_of(mut bytes: &[u8]) -> (Result<Option<IpAddr>, BadProxyHeader>, Vec<u8>) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let said = runtime.block_on(read(&mut bytes));
        (said, bytes.to_vec())
    }

    fn binary(version_and_command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).expect("short").to_be_bytes();
        [v2::PROTOCOL_PREFIX, &[version_and_command, family], &length, rest].concat()
    }

    #[track_caller]
    fn says(header: &[u8], wanted: Option<&str>) {
        let (said, left) = read_of(&[header, b"GET /ws"].concat());
        let said = said.expect("a header");
        assert_eq!(said.map(|ip| ip.to_string()).as_deref(), wanted);
        assert_eq!(left, b"GET /ws", "nothing after the header is taken");
    }

    #[test]
    fn both_versions_name_the_client_and_leave_the_rest() {
        says(b"PROXY TCP4 192.0.2.7 10.0.0.1 4711 443\r\n", Some("192.0.2.7"));
        says(b"PROXY TCP6 2001:db8::7 2001:db8::1 4711 443\r\n", Some("2001:db8::7"));
        says(b"PROXY UNKNOWN\r\n", None);
        let v4 = [192, 0, 2, 7, 10, 0, 0, 1, 0x12, 0x67, 1, 187];
        says(&binary(0x21, 0x11, &v4), Some("192.0.2.7"));
        says(&binary(0x21, 0x11, &[&v4[..], &[4, 0, 1, 42]].concat()), Some("192.0.2.7"));
        says(&binary(0x20, 0x00, &[]), None);
        let mut v6 = [0; 36];
        v6[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
        v6[15] = 7;
        says(&binary(0x21, 0x21, &v6), Some("2001:db8::7"));
    }

    #[test]
    fn what_is_no_header_is_refused() {
        for bytes in [
            &b"GET /ws HTTP/1.1\r\nHost: a\r\n\r\n"[..],
            b"PROXY TCP4 192.0.2.7 10.0.0.1 4711\r\n",
            b"PROXY TCP4 192.0.2.300 10.0.0.1 4711 443\r\n",
            b"PROXY TCP4 192.0.2.7 10.0.0.1 4711 443",
            b"PROXYTCP4 192.0.2.7 10.0.0.1 4711 443\r\n",
            b"PROXY",
            b"",
            &[b"PROXY TCP4 ", &[b'1'; 200][..]].concat(),
            &binary(0x31, 0x11, &[0; 12]),
            &binary(0x21, 0x11, &[0; 11]),
            &binary(0x21, 0x11, &[0; BINARY_REST_BYTES_MAX + 1]),
        ] {
            assert!(read_of(bytes).0.is_err(), "{:?}", String::from_utf8_lossy(bytes));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(version in 0_u8..3, bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let begun: &[u8] = [&b""[..], b"PROXY ", v2::PROTOCOL_PREFIX][usize::from(version)];
            let _ = read_of(&[begun, &bytes].concat());
        }

        #[test]
        fn every_client_is_read_as_it_was_written(ip in any::<[u8; 4]>(), port in any::<u16>()) {
            let ip = IpAddr::from(ip);
            let header = format!("PROXY TCP4 {ip} 10.0.0.1 {port} 443\r\n");
            prop_assert_eq!(read_of(header.as_bytes()).0.expect("a header"), Some(ip));
        }
    }
}
