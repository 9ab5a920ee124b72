//! A proxy in front of Redis that can make pub/sub connections deaf: they stay open, and nothing arrives over them.
//! What a half-open connection, or one to an isolated old master, looks like from here.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

pub(crate) struct Proxy {
    address: SocketAddr,
    deaf: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<()>,
}

impl Proxy {
    pub(crate) async fn start(redis_port: u16) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let deaf = Arc::new(AtomicBool::new(false));
        let is_deaf = deaf.clone();
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(relay(client, redis_port, is_deaf.clone()));
            }
        });
        Ok(Self { address, deaf, task })
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// Connections that have subscribed hear no more, if they were made before; new ones do.
    pub(crate) fn deafen(&self) {
        self.deaf.store(true, Ordering::Relaxed);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn relay(client: TcpStream, redis_port: u16, deaf: Arc<AtomicBool>) {
    let Ok(redis) = TcpStream::connect(("127.0.0.1", redis_port)).await else {
        return;
    };
    let made_while_deaf = deaf.load(Ordering::Relaxed);
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_redis, mut to_redis) = redis.into_split();
    let subscribed = AtomicBool::new(false);
    let up = async {
        let mut buffer = vec![0; 16 * 1024];
        while let Ok(count @ 1..) = from_client.read(&mut buffer).await {
            if buffer[..count].windows(10).any(|word| word == b"SSUBSCRIBE") {
                subscribed.store(true, Ordering::Relaxed);
            }
            if to_redis.write_all(&buffer[..count]).await.is_err() {
                return;
            }
        }
    };
    let down = async {
        let mut buffer = vec![0; 16 * 1024];
        while let Ok(count @ 1..) = from_redis.read(&mut buffer).await {
            let is_deaf = !made_while_deaf && subscribed.load(Ordering::Relaxed) && deaf.load(Ordering::Relaxed);
            if !is_deaf && to_client.write_all(&buffer[..count]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = up => {}
        () = down => {}
    }
}
