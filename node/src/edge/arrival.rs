//! One connection from its acceptance to its hello: whose it is, as far as that is known, and what that address may.
//! Reads no socket and no header.

use std::net::IpAddr;
use std::time::Duration;

use super::Edge;
use super::address::Address;
use super::half_open::Entering;

pub struct Arrival {
    /// The nearest host that is no more known to us than by what trusted proxies say.
    hop: IpAddr,
    /// `None`: a trusted proxy's, which is not limited.
    address: Option<Address>,
    /// A PROXY header that names nobody ends the chain of those who are believed.
    headers_count: bool,
    /// Its address has had too many handshakes: not before this long.
    too_often: Option<Duration>,
    entering: Entering,
}

/// Too many connections of the address have not said hello.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooManyHalfOpen;

impl Arrival {
    pub fn accepted(edge: &Edge, peer: IpAddr) -> Result<Self, TooManyHalfOpen> {
        let entering = edge.enter().ok_or(TooManyHalfOpen)?;
        let mut arrival = Self { hop: peer, address: None, headers_count: true, too_often: None, entering };
        arrival.comes_from(edge, peer)?;
        Ok(arrival)
    }

    /// The peer, or the last trusted proxy, says that the connection is `client`'s.
    pub fn comes_from(&mut self, edge: &Edge, client: IpAddr) -> Result<(), TooManyHalfOpen> {
        self.hop = client;
        let policy = edge.policy();
        if policy.proxies.trusts(client) {
            return Ok(());
        }
        let address = Address::from(client);
        if !self.entering.belongs_to(address, policy.address_half_open_max) {
            return Err(TooManyHalfOpen);
        }
        self.address = Some(address);
        self.too_often = policy.limits.address_handshakes.take(&address, 1).err();
        Ok(())
    }

    /// Nobody but trusted proxies is known yet.
    pub fn is_of_proxy(&self) -> bool {
        self.address.is_none()
    }

    /// The PROXY header names nobody: what follows is the balancer's own, or bytes of a client that it passes on unread.
    pub fn is_unnamed(&mut self) {
        self.headers_count = false;
    }

    /// Whether headers of the request may say whose it is.
    pub fn believes_headers(&self) -> bool {
        self.address.is_none() && self.headers_count
    }

    pub fn hop(&self) -> IpAddr {
        self.hop
    }

    pub fn too_often(&self) -> Option<Duration> {
        self.too_often
    }

    /// What the session that comes of it keeps; the latter until hello.
    pub fn into_session(self) -> (Option<Address>, Entering) {
        (self.address, self.entering)
    }
}
