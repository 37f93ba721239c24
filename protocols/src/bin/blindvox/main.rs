//! `blindvox`: segment a medical volume between a hospital that keeps its scan and a service that keeps its model.
//!
//! | module | what |
//! |---|---|
//! | [`cli`] | commands and flags |
//! | [`segment`] | `segment` and the demo: both parties in one process |
//! | [`plain`] | `plain`: the same network without cryptography |
//! | [`calibrate`] | `calibrate`: choose each tensor's scale |
//! | [`doctor`] | `doctor`: what this machine offers |
//! | [`screen`] | progress and tables |
//! | [`preview`] | a picture of the result |

mod calibrate;
mod cli;
mod doctor;
mod plain;
mod preview;
mod screen;
mod segment;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let done = match cli::Cli::parse().command {
        None => segment::demo(),
        Some(cli::Command::Segment(args)) => segment::run(&args),
        Some(cli::Command::Plain(args)) => plain::run(&args),
        Some(cli::Command::Calibrate(args)) => calibrate::run(&args),
        Some(cli::Command::Doctor) => doctor::run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("error: {e}");
            ExitCode::from(if e.is_input() { 2 } else { 1 })
        }
    }
}
