//! The raw-socket limit: one thread that sends the same bytes to every socket in a plain non-blocking loop. What no
//! gateway on this machine can be cheaper than. Runs as a process of its own, so that its CPU time is its own.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::load::pace::{block_until, not_negative};
use crate::load::usage;

#[derive(Debug, Clone, Copy, clap::Args)]
pub struct BroadcastArgs {
    /// Sockets sent to
    #[arg(long, default_value_t = 1_000)]
    pub sessions: usize,
    /// Bytes sent to each socket in a round
    #[arg(long, default_value_t = 40)]
    pub bytes: usize,
    /// Rounds per second; 0: without a pause
    #[arg(long, default_value_t = 20.0, value_parser = not_negative)]
    pub rounds_per_s: f64,
    #[arg(long, default_value_t = 10.0, value_parser = not_negative)]
    pub seconds: f64,
}

/// What a broadcaster did.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Broadcasted {
    pub deliveries: u64,
    /// Sends that a full socket refused; not deliveries.
    pub refused: u64,
    pub cpu_s: f64,
    pub seconds: f64,
}

impl Broadcasted {
    pub fn cpu_s_per_million(&self) -> f64 {
        self.cpu_s * 1e6 / self.deliveries.max(1) as f64
    }
}

/// The broadcaster's own process: says its address, takes the sockets, sends, says what it did.
pub fn run(args: BroadcastArgs) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?);
    std::io::stdout().flush()?;
    let mut sockets = Vec::with_capacity(args.sessions);
    while sockets.len() < args.sessions {
        let (socket, _) = listener.accept()?;
        socket.set_nodelay(true)?;
        socket.set_nonblocking(true)?;
        sockets.push(socket);
    }
    let done = send_rounds(&args, &mut sockets)?;
    println!("{}", serde_json::to_string(&done)?);
    Ok(())
}

fn send_rounds(args: &BroadcastArgs, sockets: &mut [TcpStream]) -> Result<Broadcasted> {
    let payload = vec![0x55; args.bytes];
    let (mut deliveries, mut refused) = (0, 0);
    let (started, cpu_before) = (Instant::now(), usage::cpu_of(std::process::id())?);
    let every = if args.rounds_per_s > 0.0 { 1.0 / args.rounds_per_s } else { 0.0 };
    for round in 0_u32.. {
        let due = started + Duration::from_secs_f64(every * f64::from(round));
        block_until(due);
        if started.elapsed().as_secs_f64() >= args.seconds {
            break;
        }
        for socket in &mut *sockets {
            match socket.write(&payload) {
                Ok(_) => deliveries += 1,
                Err(error) if error.kind() == ErrorKind::WouldBlock => refused += 1,
                Err(error) => return Err(error).context("a listener is gone"),
            }
        }
    }
    let cpu = usage::cpu_of(std::process::id())? - cpu_before;
    Ok(Broadcasted { deliveries, refused, cpu_s: cpu.as_secs_f64(), seconds: started.elapsed().as_secs_f64() })
}

/// Runs a broadcaster and listens to it with as many sockets as it sends to.
pub async fn measure(args: BroadcastArgs, core: Option<u32>) -> Result<Broadcasted> {
    let mut child = spawn(&args, core)?;
    let mut said = BufReader::new(child.stdout.take().context("no stdout")?);
    let address: SocketAddr = read_line(&mut said)?.parse().context("the broadcaster did not say its address")?;
    let mut listeners = JoinSet::new();
    for _ in 0..args.sessions {
        let mut stream = tokio::net::TcpStream::connect(address).await?;
        listeners.spawn(async move {
            let mut buffer = [0; 4096];
            while stream.read(&mut buffer).await.is_ok_and(|bytes| bytes > 0) {}
        });
    }
    let done = tokio::task::spawn_blocking(move || read_line(&mut said)).await??;
    ensure!(child.wait()?.success(), "the broadcaster failed");
    while listeners.join_next().await.is_some() {}
    Ok(serde_json::from_str(&done)?)
}

fn spawn(args: &BroadcastArgs, core: Option<u32>) -> Result<Child> {
    let mine = std::env::current_exe()?;
    let mut command = match core {
        None => Command::new(&mine),
        Some(core) => {
            let mut command = Command::new("taskset");
            command.args(["-c", &core.to_string()]).arg(&mine);
            command
        }
    };
    command
        .arg("broadcast")
        .args(["--sessions", &args.sessions.to_string(), "--bytes", &args.bytes.to_string()])
        .args(["--rounds-per-s", &args.rounds_per_s.to_string(), "--seconds", &args.seconds.to_string()])
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start the broadcaster")
}

fn read_line(from: &mut impl BufRead) -> Result<String> {
    let mut line = String::new();
    from.read_line(&mut line)?;
    Ok(line.trim().to_owned())
}
