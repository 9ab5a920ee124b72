//! `sectorbus-demo`: two regions and a nexus in this process, with a page or headless.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use sectorbus_demo::cli::{Cli, init_tracing};
use sectorbus_demo::lookout::Demo;
use sectorbus_demo::universe::Universe;
use sectorbus_demo::{headless, page};

/// Ctrl-C again ends at once.
const LEAVE_WITHIN: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    let options = Cli::parse();
    init_tracing();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("a runtime");
    match runtime.and_then(|runtime| runtime.block_on(start(options))) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("sectorbus-demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn start(options: Cli) -> Result<ExitCode> {
    if options.headless {
        let demo = Demo::start(Universe::new(options.redis), true).await?;
        let outcome = headless::run(demo, options.seconds).await?;
        println!("{}", serde_json::to_string(&outcome)?);
        return Ok(if outcome.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    let listener = page::bind(options.port).await?;
    let address = listener.local_addr()?;
    let stays = options.redis.is_some();
    let demo = Arc::new(Demo::start(Universe::new(options.redis), false).await?);
    println!(
        "\n  sectorbus demo: two regions of two nodes, a nexus, 40 bots\n\n  open  http://{address}\n\n  Ctrl-C ends it"
    );
    tokio::select! {
        served = page::serve(listener, demo.clone()) => served?,
        interrupted = tokio::signal::ctrl_c() => interrupted?,
    }
    // In Redis others read on: the nodes say good-bye there. A universe in memory ends with this process.
    if stays {
        tokio::select! {
            () = demo.drain(LEAVE_WITHIN) => {}
            _ = tokio::signal::ctrl_c() => {}
        }
    }
    Ok(ExitCode::SUCCESS)
}
