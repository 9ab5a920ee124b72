//! Counts how often nodes read rooms back from a Redis: MONITOR on a connection of its own, while somebody runs.
//! A reading is a client's own command on a log, a snapshot or a head; what scripts look at is not one.

use anyhow::{Context, Result};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// Ends the counting: a command that nobody else sends.
const END: &str = "sectorbus-load:end";
const READING_COMMANDS: [&str; 6] = ["XRANGE", "XREVRANGE", "XREAD", "HMGET", "HGET", "HGETALL"];
const READ_KEYS: [&str; 3] = [":log\"", ":snap\"", ":head\""];

/// Counting since it was made.
pub struct RedisReads {
    port: u16,
    counting: JoinHandle<std::io::Result<u64>>,
}

impl RedisReads {
    pub async fn start(port: u16) -> Result<Self> {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.context("cannot connect to Redis")?;
        stream.write_all(b"MONITOR\r\n").await?;
        let mut lines = BufReader::with_capacity(1 << 20, stream).lines();
        // "+OK": from here on nothing is missed.
        lines.next_line().await?.context("Redis does not monitor")?;
        let counting = tokio::spawn(async move {
            let mut count = 0;
            while let Some(line) = lines.next_line().await? {
                if line.contains(END) {
                    break;
                }
                count += u64::from(is_reading(&line));
            }
            Ok(count)
        });
        Ok(Self { port, counting })
    }

    pub async fn stop(self) -> Result<u64> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
        stream.write_all(format!("ECHO {END}\r\n").as_bytes()).await?;
        Ok(self.counting.await??)
    }
}

/// A line such as `+1700000000.123456 [0 127.0.0.1:5000] "XRANGE" "sb:eu:{sector:1}:log" …`.
fn is_reading(line: &str) -> bool {
    let Some((from, command)) = line.split_once("] \"") else { return false };
    let Some((name, rest)) = command.split_once('"') else { return false };
    let is_scripts = from.ends_with(" lua");
    let reads = READING_COMMANDS.iter().any(|known| known.eq_ignore_ascii_case(name));
    !is_scripts && reads && READ_KEYS.iter().any(|end| rest.contains(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reading_is_a_clients_own_command_on_a_log_a_snapshot_or_a_head() {
        assert!(is_reading(r#"+1.2 [0 127.0.0.1:5000] "XRANGE" "sb:load:{sector:1}:log" "(5-7" "+""#));
        assert!(is_reading(r#"+1.2 [0 127.0.0.1:5000] "HMGET" "sb:load:{sector:1}:snap" "format""#));
        assert!(!is_reading(r#"+1.2 [0 lua] "HGET" "sb:load:{sector:1}:head" "last""#));
        assert!(!is_reading(r#"+1.2 [0 127.0.0.1:5000] "HGETALL" "sb:load:{player:ann}:at""#));
        assert!(!is_reading(r#"+1.2 [0 127.0.0.1:5000] "EVALSHA" "0a" "2" "sb:load:{sector:1}:head""#));
    }
}
