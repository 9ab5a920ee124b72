//! `sectorbus-nexus`: reads the command line, does what it asks, and turns how it ended into an exit code.

use std::process::ExitCode;

use clap::Parser;
use sectorbus_nexus::NexusConfig;
use sectorbus_nexus::cli::{Asked, Cli, Todo, init_tracing};
use sectorbus_nexus::run::{NexusError, bind, pause, run, status};
use tokio::signal::unix::{SignalKind, signal};

const FAILED: u8 = 1;
const BAD_CONFIGURATION: u8 = 2;
const INTERNAL: u8 = 70; // a panic inside: EX_SOFTWARE of sysexits.h

fn main() -> ExitCode {
    let Asked { config, todo } = Cli::parse().asked();
    let config = match NexusConfig::load(&config) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(BAD_CONFIGURATION);
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("the runtime cannot start: {error}");
            return ExitCode::from(FAILED);
        }
    };
    match todo {
        Todo::Run => {
            init_tracing(&config);
            // As a task of its own, so that a panic anywhere in it arrives here as an exit code.
            match runtime.block_on(async { tokio::spawn(serve(config)).await }) {
                Ok(Ok(())) => ExitCode::SUCCESS,
                Ok(Err(error)) => {
                    tracing::error!(%error, "the nexus ended");
                    ExitCode::from(if error.is_panic() { INTERNAL } else { FAILED })
                }
                Err(_panicked) => ExitCode::from(INTERNAL),
            }
        }
        Todo::Status { json } => said(runtime.block_on(status(&config, json))),
        Todo::Pause { link, paused } => said(runtime.block_on(pause(&config, &link, paused))),
    }
}

fn said(outcome: Result<String, NexusError>) -> ExitCode {
    match outcome {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(if error.is_misuse() { BAD_CONFIGURATION } else { FAILED })
        }
    }
}

async fn serve(config: NexusConfig) -> Result<(), NexusError> {
    let listener = bind(&config).await?;
    run(config, listener, told_to_end()).await
}

/// Until SIGTERM or SIGINT.
async fn told_to_end() {
    let (Ok(mut term), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
        tracing::error!("signals cannot be heard: only a kill ends this nexus");
        return std::future::pending().await;
    };
    tokio::select! {
        _ = term.recv() => tracing::info!("SIGTERM: handing over"),
        _ = interrupt.recv() => tracing::info!("SIGINT: handing over"),
    }
}
