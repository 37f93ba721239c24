//! `blindvox`: segment a medical volume between a hospital that keeps its scan and a service that keeps its model.
//!
//! | module | what |
//! |---|---|
//! | [`cli`] | commands and flags |
//! | [`segment`] | `segment` and the demo: both parties in one process |
//! | [`plain`] | `plain`: the same network without cryptography |
//! | [`calibrate`] | `calibrate`: choose each tensor's scale |
//! | [`doctor`] | `doctor`: what this machine offers |
//! | [`input`] | the model, the scan and true labels, and what is said about them |
//! | [`files`] | files to write |
//! | [`screen`] | progress and tables |
//! | [`preview`] | a picture of the result |

#[macro_use]
mod screen;

mod calibrate;
mod cli;
mod doctor;
mod files;
mod input;
mod plain;
mod preview;
mod segment;

use std::process::ExitCode;

use clap::Parser;
use input::Done;

fn main() -> ExitCode {
    let cli = match cli::Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) if !e.use_stderr() => {
            say!("{}", e.render().to_string().trim_end());
            return ExitCode::SUCCESS;
        }
        Err(e) => {
            eprintln!("{}", one_line(&e));
            return ExitCode::from(2);
        }
    };
    let done = match cli.command {
        None => segment::demo(),
        Some(cli::Command::Segment(args)) => segment::run(&args),
        Some(cli::Command::Plain(args)) => plain::run(&args),
        Some(cli::Command::Calibrate(args)) => calibrate::run(&args).map(|()| Done::Whole),
        Some(cli::Command::Doctor) => doctor::run().map(|()| Done::Whole),
    };
    match done {
        Ok(Done::Whole) => ExitCode::SUCCESS,
        Ok(Done::Part) => ExitCode::from(5),
        Err(e) => {
            eprintln!("error: {e}");
            ExitCode::from(if e.is_input() { 2 } else { 1 })
        }
    }
}

/// A usage error in one line, like every other error.
fn one_line(e: &clap::Error) -> String {
    let whole = e.render().to_string();
    let mut parts = whole.split("\n\n");
    let first = parts.next().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ");
    let tip = parts.find_map(|p| p.trim_start().strip_prefix("tip: ")).map(|t| format!(" ({})", t.trim()));
    let usage = whole.lines().find_map(|l| l.strip_prefix("Usage: ")).unwrap_or("blindvox");
    let command: Vec<_> = usage.split_whitespace().take_while(|w| !w.starts_with(['-', '<', '['])).collect();
    format!("{first}{} (see {} --help)", tip.unwrap_or_default(), command.join(" "))
}
