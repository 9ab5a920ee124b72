//! `sectorbus-nexus`: reads the command line, does what it asks, and turns how it ended into an exit code.

use std::process::ExitCode;

use clap::Parser;
use sectorbus_nexus::NexusConfig;
use sectorbus_nexus::cli::{Asked, Cli, Todo, init_tracing};
use sectorbus_nexus::run::{FAILED, INTERNAL, MISUSED, NexusError, bind, exit_code, pause, run, status};
use tokio::signal::unix::{SignalKind, signal};

fn main() -> ExitCode {
    // A panic of this thread ends a process with 101 otherwise.
    std::panic::catch_unwind(asked).unwrap_or(ExitCode::from(INTERNAL))
}

fn asked() -> ExitCode {
    let Asked { config, todo } = Cli::parse().asked();
    let config = match NexusConfig::load(&config) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(MISUSED);
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
            ExitCode::from(exit_code(runtime.block_on(async { tokio::spawn(serve(config)).await })))
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
            ExitCode::from(error.exit_code())
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
