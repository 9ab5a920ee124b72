//! `sectorbus-node`: reads the command line, starts one node, and turns how it ended into an exit code.

use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use sectorbus_node::cli::{Cli, LogLevel, Todo, init_tracing};
use sectorbus_node::config::{Changes, Rereading, Source, process_env};
use sectorbus_node::revoke::revoke;
use sectorbus_node::{Listeners, NodeConfig, NodeError, admin, run_on_redis};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

const FAILED: u8 = 1;
const BAD_CONFIGURATION: u8 = 2;
const INTERNAL: u8 = 70; // a panic inside: EX_SOFTWARE of sysexits.h

fn main() -> ExitCode {
    // A panic of this thread ends a process with 101 otherwise.
    std::panic::catch_unwind(asked).unwrap_or(ExitCode::from(INTERNAL))
}

fn asked() -> ExitCode {
    match Cli::parse().follow(process_env()) {
        Ok(Todo::Print(text)) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Ok(Todo::Run(config, source)) => start(*config, source),
        Ok(Todo::Revoke { config, what, kept }) => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let revoked = runtime
                .map_err(|error| error.to_string())
                .and_then(|runtime| runtime.block_on(revoke(&config, &what, kept)).map_err(|error| error.to_string()));
            match revoked {
                Ok(said) => {
                    print!("{said}");
                    ExitCode::SUCCESS
                }
                Err(error) => {
                    eprintln!("{error}");
                    ExitCode::from(FAILED)
                }
            }
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(BAD_CONFIGURATION)
        }
    }
}

fn start(config: NodeConfig, source: Source) -> ExitCode {
    let log_level = init_tracing(&config);
    let rereading = Rereading::new(source, config.clone());
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "the runtime cannot start");
            return ExitCode::from(FAILED);
        }
    };
    // As a task of its own, so that a panic anywhere in it arrives here as an exit code.
    let ended = runtime.block_on(async { tokio::spawn(serve(config, rereading, log_level)).await });
    match ended {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => {
            tracing::error!(%error, "the node ended");
            ExitCode::from(if matches!(error, NodeError::Panicked { .. }) { INTERNAL } else { FAILED })
        }
        Err(_panicked) => ExitCode::from(INTERNAL),
    }
}

async fn serve(config: NodeConfig, rereading: Rereading, log_level: LogLevel) -> Result<(), NodeError> {
    let (settings_tx, settings_rx) = watch::channel(Arc::new(config.clone()));
    tokio::spawn(reread_on_signal(rereading, log_level, settings_tx));
    let listeners = Listeners::bind(&config).await?;
    tokio::spawn(admin::upkeep(admin::install_recorder_once()?));
    let shutdown = CancellationToken::new();
    tokio::spawn(cancel_on_signal(shutdown.clone()));
    run_on_redis(config, listeners, shutdown, settings_rx).await
}

/// SIGHUP: reads the settings again. What is wrong changes nothing.
async fn reread_on_signal(mut rereading: Rereading, log_level: LogLevel, settings_tx: watch::Sender<Arc<NodeConfig>>) {
    let Ok(mut hangup) = signal(SignalKind::hangup()) else {
        tracing::error!("SIGHUP cannot be heard: settings are read at the start only");
        return;
    };
    while hangup.recv().await.is_some() {
        match rereading.again() {
            Ok((config, changes)) => {
                log_level.set(config.log_level);
                settings_tx.send_replace(Arc::new(config.clone()));
                tell(&changes);
            }
            Err(error) => tracing::error!(%error, "SIGHUP: the settings stay as they were"),
        }
    }
}

fn tell(changes: &Changes) {
    for setting in &changes.taken_over {
        tracing::info!(setting, "SIGHUP: taken over");
    }
    for setting in &changes.need_restart {
        tracing::warn!(setting, "SIGHUP: has changed and needs a restart");
    }
    for setting in &changes.kept {
        tracing::error!(
            setting,
            "SIGHUP: needs a restart, as no key for tokens would be left until then: stays as it was"
        );
    }
    if *changes == Changes::default() {
        tracing::info!("SIGHUP: no setting has changed");
    }
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
