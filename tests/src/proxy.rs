//! A TCP proxy that plays a bad network: cuts, delays, swallows everything or some words, is deaf in one direction, or
//! loses one answer. Knows nothing of what is said through it, but where a push begins and who has subscribed to
//! something.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Result;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

const BUFFER_BYTES: usize = 16 * 1024;

/// What happens to bytes on their way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Weather {
    #[default]
    Fine,
    /// Every piece arrives this much later, in both directions.
    Slow(Duration),
    /// Connections stay open, nothing arrives in either direction.
    BlackHole,
    /// Nothing arrives at the one who connected; what they say is heard.
    ClientDeaf,
    /// Nothing arrives at the target; what it says is heard.
    TargetDeaf,
    /// Connections that had subscribed before hear nothing; all others, and new ones, are fine.
    SubscribersDeaf,
    /// Answers and pushes in which one of these words occurs do not arrive at the one who connected.
    Without(&'static [&'static str]),
    /// A connection that says this falls silent there and then, in both directions and until it is cut; all others are fine.
    StopsAt(&'static str),
    /// Nobody is let in; connections that are there stay until they are cut.
    Down,
}

/// What is asked of connections beside the weather.
#[derive(Default)]
struct Moods {
    /// The next connection that says this loses what it hears then, and breaks.
    unanswered: Mutex<Option<Vec<u8>>>,
    /// Said once, as if by the target, to each connection that has subscribed.
    injected: Mutex<Vec<u8>>,
    injecting: watch::Sender<u64>,
}

/// A listening proxy. Dropping it cuts everything.
pub struct Proxy {
    address: SocketAddr,
    target: Arc<Mutex<SocketAddr>>,
    weather_tx: Arc<watch::Sender<Weather>>,
    cuts_tx: Arc<watch::Sender<u64>>,
    moods: Arc<Moods>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    pub async fn to(target: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let weather_tx = Arc::new(watch::Sender::new(Weather::Fine));
        let (target, cuts_tx) = (Arc::new(Mutex::new(target)), Arc::new(watch::Sender::new(0)));
        let (for_all, cuts, current) = (weather_tx.clone(), cuts_tx.clone(), target.clone());
        let moods = Arc::new(Moods::default());
        let of_all = moods.clone();
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if *for_all.borrow() == Weather::Down {
                    continue;
                }
                let target = *current.lock();
                tokio::spawn(relay(client, target, for_all.subscribe(), cuts.subscribe(), of_all.clone()));
            }
        });
        Ok(Self { address, target, weather_tx, cuts_tx, moods, accepting })
    }

    pub async fn to_redis(port: u16) -> Result<Self> {
        Self::to(SocketAddr::from(([127, 0, 0, 1], port))).await
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn redis_url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// New connections go there.
    pub fn retarget(&self, target: SocketAddr) {
        *self.target.lock() = target;
    }

    /// Closes every connection; new ones are made as before.
    pub fn cut(&self) {
        self.cuts_tx.send_modify(|cuts| *cuts += 1);
    }

    /// The next request that holds these bytes reaches the target; its answer is lost, and its connection with it.
    pub fn lose_answer_to(&self, request_with: &[u8]) {
        *self.moods.unanswered.lock() = Some(request_with.to_vec());
    }

    /// Says this to every connection that has subscribed, as if the target had.
    pub fn say_to_subscribers(&self, bytes: &[u8]) {
        *self.moods.injected.lock() = bytes.to_vec();
        self.moods.injecting.send_modify(|said| *said += 1);
    }

    /// Holds for all connections, from now on.
    pub fn set(&self, weather: Weather) {
        self.weather_tx.send_replace(weather);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut();
    }
}

async fn relay(
    client: TcpStream,
    target: SocketAddr,
    weather_rx: watch::Receiver<Weather>,
    mut cuts_rx: watch::Receiver<u64>,
    moods: Arc<Moods>,
) {
    let Ok(target) = TcpStream::connect(target).await else { return };
    let _ = (client.set_nodelay(true), target.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_target, to_target) = target.into_split();
    let to_client = tokio::sync::Mutex::new(to_client);
    let to_target = tokio::sync::Mutex::new(to_target);
    let (subscribed, unanswered, breaks) = (AtomicBool::new(false), AtomicBool::new(false), Notify::new());
    let silent = AtomicBool::new(false);
    let mut injecting_rx = moods.injecting.subscribe();
    let made_while_deaf = *weather_rx.borrow() == Weather::SubscribersDeaf;
    let up = carry(from_client, &to_target, weather_rx.clone(), |piece, weather| {
        let mut wanted = moods.unanswered.lock();
        if wanted.as_ref().is_some_and(|bytes| piece.windows(bytes.len()).any(|part| part == bytes)) {
            *wanted = None;
            unanswered.store(true, Ordering::Relaxed);
        }
        if piece.windows(9).any(|word| word.eq_ignore_ascii_case(b"SUBSCRIBE")) {
            subscribed.store(true, Ordering::Relaxed);
        }
        if matches!(weather, Weather::StopsAt(words) if piece.windows(words.len()).any(|part| part == words.as_bytes()))
        {
            silent.store(true, Ordering::Relaxed);
        }
        let is_deaf = matches!(weather, Weather::BlackHole | Weather::TargetDeaf) || silent.load(Ordering::Relaxed);
        if is_deaf { Vec::new() } else { piece.to_vec() }
    });
    let down = carry(from_target, &to_client, weather_rx, |piece, weather| {
        let is_deaf = match weather {
            _ if unanswered.load(Ordering::Relaxed) => {
                breaks.notify_one();
                true
            }
            _ if silent.load(Ordering::Relaxed) => true,
            Weather::BlackHole | Weather::ClientDeaf => true,
            Weather::SubscribersDeaf => !made_while_deaf && subscribed.load(Ordering::Relaxed),
            Weather::Without(words) => return without(words, piece),
            Weather::Fine | Weather::Slow(_) | Weather::TargetDeaf | Weather::StopsAt(_) | Weather::Down => false,
        };
        if is_deaf { Vec::new() } else { piece.to_vec() }
    });
    let inject = async {
        while injecting_rx.changed().await.is_ok() {
            if subscribed.load(Ordering::Relaxed) {
                let bytes = moods.injected.lock().clone();
                let _ = to_client.lock().await.write_all(&bytes).await;
            }
        }
    };
    tokio::select! {
        () = up => {}
        () = down => {}
        () = inject => {}
        () = breaks.notified() => {}
        _ = cuts_rx.changed() => {}
    }
}

/// Carries pieces one way until either end is closed. `passes` answers what of each piece goes on.
async fn carry(
    mut from: OwnedReadHalf,
    to: &tokio::sync::Mutex<OwnedWriteHalf>,
    weather_rx: watch::Receiver<Weather>,
    passes: impl Fn(&[u8], Weather) -> Vec<u8>,
) {
    let (pieces_tx, mut pieces_rx) = mpsc::unbounded_channel();
    let reading = async move {
        let mut buffer = vec![0; BUFFER_BYTES];
        while let Ok(count @ 1..) = from.read(&mut buffer).await {
            let weather = *weather_rx.borrow();
            let late = if let Weather::Slow(late) = weather { late } else { Duration::ZERO };
            let _ = pieces_tx.send((Instant::now() + late, passes(&buffer[..count], weather)));
        }
    };
    let writing = async {
        while let Some((due, piece)) = pieces_rx.recv().await {
            tokio::time::sleep_until(due).await;
            if to.lock().await.write_all(&piece).await.is_err() {
                return;
            }
        }
    };
    tokio::pin!(writing);
    tokio::select! {
        () = reading => writing.await,
        () = &mut writing => {}
    }
}

/// What is left of a piece: RESP's pushes (`>`) are judged one by one, all else as a whole.
fn without(words: &[&str], piece: &[u8]) -> Vec<u8> {
    let starts = (1..piece.len()).filter(|at| piece[*at] == b'>' && piece[..*at].ends_with(b"\r\n"));
    let starts: Vec<usize> = std::iter::once(0).chain(starts).chain([piece.len()]).collect();
    let has = |part: &[u8], word: &str| part.windows(word.len()).any(|bytes| bytes == word.as_bytes());
    let parts = starts.windows(2).map(|ends| &piece[ends[0]..ends[1]]);
    parts.filter(|part| !words.iter().any(|word| has(part, word))).flatten().copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_pushes_with_a_word_are_taken_out() {
        let (room, canary) = (">2\r\n$1\r\na\r\n$9\r\n{sector:}\r\n", ">2\r\n$1\r\na\r\n$6\r\ncanary\r\n");
        let piece = [room, canary, room].concat();
        assert_eq!(without(&["{sector:"], piece.as_bytes()), canary.as_bytes());
        assert_eq!(without(&["nothing"], piece.as_bytes()), piece.as_bytes());
        assert_eq!(without(&["GONE"], b"*1\r\n$4\r\nGONE\r\n"), b"");
    }
}
