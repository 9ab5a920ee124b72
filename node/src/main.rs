//! `sectorbus-node`: reads the command line, starts one node, and turns how it ended into an exit code.

use std::process::ExitCode;

use clap::Parser;
use sectorbus_node::cli::{Cli, Todo, init_tracing};
use sectorbus_node::config::process_env;
use sectorbus_node::{Listeners, NodeConfig, NodeError, admin, run_on_redis};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

const FAILED: u8 = 1;
const BAD_CONFIGURATION: u8 = 2;
const INTERNAL: u8 = 70; // a panic inside: EX_SOFTWARE of sysexits.h

fn main() -> ExitCode {
    match Cli::parse().follow(process_env()) {
        Ok(Todo::Print(text)) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Ok(Todo::Run(config)) => start(*config),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(BAD_CONFIGURATION)
        }
    }
}

fn start(config: NodeConfig) -> ExitCode {
    init_tracing(&config);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "the runtime cannot start");
            return ExitCode::from(FAILED);
        }
    };
    // As a task of its own, so that a panic anywhere in it arrives here as an exit code.
    let ended = runtime.block_on(async { tokio::spawn(serve(config)).await });
    match ended {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => {
            tracing::error!(%error, "the node ended");
            ExitCode::from(if matches!(error, NodeError::Panicked { .. }) { INTERNAL } else { FAILED })
        }
        Err(_panicked) => ExitCode::from(INTERNAL),
    }
}

async fn serve(config: NodeConfig) -> Result<(), NodeError> {
    let listeners = Listeners::bind(&config).await?;
    tokio::spawn(admin::upkeep(admin::install_recorder_once()?));
    let shutdown = CancellationToken::new();
    tokio::spawn(cancel_on_signal(shutdown.clone()));
    run_on_redis(config, listeners, shutdown).await
}

async fn cancel_on_signal(shutdown: CancellationToken) {
    let (Ok(mut term), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
        tracing::error!("signals cannot be heard: only a kill ends this node");
        return;
    };
    tokio::select! {
        _ = term.recv() => tracing::info!("SIGTERM: draining"),
        _ = interrupt.recv() => tracing::info!("SIGINT: draining"),
    }
    shutdown.cancel();
}
