//! `sectorbus-load`: the load tool. Figures on stdout, progress and remarks on stderr.

use std::process::ExitCode;

use clap::Parser;
use sectorbus_tests::load::command_line::Cli;

fn main() -> ExitCode {
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_max_level(tracing::Level::WARN).init();
    match Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sectorbus-load: {error:#}");
            ExitCode::FAILURE
        }
    }
}
