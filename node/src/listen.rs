//! The node's two sockets. Made by whoever starts the node and handed to `run`, so that tests and the demo may use any
//! port and production may fail on a taken one before anything else happens.

use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpSocket};

use crate::config::NodeConfig;

/// Connections that wait to be accepted; the kernel may allow fewer. When a node dies, thousands come at once, and one that
/// does not fit hears nothing for a second.
const BACKLOG: u32 = 4096;

/// Bound, not yet accepting.
#[derive(Debug)]
pub struct Listeners {
    /// Bound to `listen`.
    pub players: TcpListener,
    /// Bound to `admin_listen`.
    pub admin: TcpListener,
}

/// An address is taken, or not this machine's.
#[derive(Debug, thiserror::Error)]
#[error("{setting} = {address} cannot be bound: {error}; choose another address with {setting} or {env}")]
pub struct BindError {
    pub setting: &'static str,
    pub env: &'static str,
    pub address: SocketAddr,
    pub error: std::io::Error,
}

impl Listeners {
    /// Binds what the configuration names.
    pub async fn bind(config: &NodeConfig) -> Result<Self, BindError> {
        Ok(Self {
            players: bind("listen", "SECTORBUS_LISTEN", config.listen)?,
            admin: bind("admin_listen", "SECTORBUS_ADMIN_LISTEN", config.admin_listen)?,
        })
    }
}

fn bind(setting: &'static str, env: &'static str, address: SocketAddr) -> Result<TcpListener, BindError> {
    listener(address).map_err(|error| BindError { setting, env, address, error })
}

fn listener(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}
