//! The one binary: a subcommand, or the name it is called by, chooses an applet.
//!
//! Owns the command line and the assembly of processes; every ability lives in a crate of its own.

mod agent;
mod cli;
mod demo;
mod hello;
mod images;
mod inbox;
mod install;
mod local;
mod logs;
mod lookup;
mod report;
mod server;
mod status;

use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::run() {
        Ok(code) => code,
        Err(error) => {
            report::failure(&error);
            ExitCode::FAILURE
        }
    }
}
