//! `blindvox`: segment a medical volume between a hospital that keeps its scan and a service that keeps its model.
//!
//! | module | what |
//! |---|---|
//! | [`allocator`] | what becomes of freed memory |
//! | [`args`], [`args_hosts`], [`args_federate`], [`args_federate_hosts`], [`args_slots`] | commands and flags |
//! | [`remote`] | a client's way to a service |
//! | [`service`] | the service |
//! | [`commands`] | a file a command: `segment` (and the demo), `predict`, `serve`, `plain`, `calibrate`, `doctor` |
//! | [`input`] | the model, the scan and true labels, and what is said about them |
//! | [`memory`] | runs that keep within so much memory |
//! | [`gpu`] | the device that the flags ask for |
//! | [`threads`] | the thread pool |
//! | [`ui`] | progress and tables, pictures, files to write |

#[macro_use]
mod ui;

mod allocator;
mod args;
mod args_federate;
mod args_federate_hosts;
mod args_hosts;
mod args_slots;
mod commands;
mod dealer;
mod gpu;
mod input;
mod memory;
mod remote;
mod service;
mod size;
mod threads;

use std::io::Write;
use std::process::ExitCode;
use std::sync::atomic::Ordering;

use blindvox_models::atomic;
use blindvox_protocols::{Error, Result};
use clap::Parser;
use input::Done;
use signal_hook::consts::{SIGINT, SIGTERM};

/// The exit code of a command that did [`Done::Part`].
const PART: u8 = 5;
/// That of a process that was interrupted.
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    allocator::keep_freed_memory();
    watch_signals();
    threads::start();
    let done = match args::Cli::try_parse() {
        Ok(cli) => run(cli),
        Err(e) if !e.use_stderr() => {
            say!("{}", e.render().to_string().trim_end());
            Ok(Done::Whole)
        }
        Err(e) => {
            complain(&one_line(&e));
            return ExitCode::from(2);
        }
    };
    let done = done.and_then(|done| ui::screen::check().map(|()| done));
    if atomic::signals().came.load(Ordering::SeqCst) {
        return ExitCode::from(INTERRUPTED);
    }
    match done {
        Ok(Done::Whole) => ExitCode::SUCCESS,
        Ok(Done::Part) => ExitCode::from(PART),
        Err(e) => {
            match &e {
                Error::Refused(_) => complain(&e.to_string()),
                // Nothing was lost: there was no connection yet.
                Error::Connection(what) if what.starts_with("connect to ") => complain(&format!("error: {what}")),
                e => complain(&format!("error: {e}")),
            }
            ExitCode::from(exit_code(&e))
        }
    }
}

fn run(cli: args::Cli) -> Result<Done> {
    match cli.command {
        None => commands::segment::demo(),
        Some(args::Command::Segment(args)) => commands::segment::run(&args),
        Some(args::Command::Classify(args)) => commands::classify::run(&args),
        Some(args::Command::Ckks(command)) => commands::ckks::run(&command),
        Some(args::Command::Predict(args)) => commands::predict::run(&args),
        Some(args::Command::Plain(args)) => commands::plain::run(&args),
        Some(args::Command::Import(args)) => commands::import::run(&args),
        Some(args::Command::Calibrate(args)) => commands::calibrate::run(&args),
        Some(args::Command::Keygen(args)) => commands::identity::generate(&args),
        Some(args::Command::Fingerprint(args)) => commands::identity::fingerprint(&args),
        Some(args::Command::Serve(args)) => commands::serve::run(&args),
        Some(args::Command::Deal(args)) => commands::deal::run(&args),
        Some(args::Command::Models(args)) => commands::operate::models(&args),
        Some(args::Command::Health(args)) => commands::operate::health(&args),
        Some(args::Command::Audit(args)) => commands::operate::audit(&args),
        Some(args::Command::Estimate(args)) => commands::estimate::run(&args),
        Some(args::Command::Federate(args)) => commands::federate::run(&args),
        Some(args::Command::Doctor(args)) => commands::doctor::run(&args),
    }
}

/// Ends the process at an interrupt: at once, unless a file is being put in its place.
fn watch_signals() {
    let atomic::Signals { may_end, came } = atomic::signals();
    for signal in [SIGINT, SIGTERM] {
        // Refused only for signals that can't be handled: then the system's own way of ending is left.
        let _ = signal_hook::flag::register_conditional_shutdown(signal, INTERRUPTED.into(), may_end.clone());
        let _ = signal_hook::flag::register(signal, came.clone());
    }
}

/// Says one line of trouble, also where nobody hears it.
fn complain(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// 2: the user can mend it; 3: the service refused; 4: the connection; 1: anything else.
fn exit_code(e: &Error) -> u8 {
    match e {
        Error::Connection(_) => 4,
        Error::Refused(_) => 3,
        Error::Cancelled => INTERRUPTED,
        e if e.is_input() => 2,
        _ => 1,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_have_the_exit_codes_of_the_grammar() {
        let io = |kind: std::io::ErrorKind| Error::Io { path: "a".into(), source: kind.into() };
        for (error, code) in [
            (Error::Input("a".into()), 2),
            (Error::Model("a".into()), 2),
            (io(std::io::ErrorKind::NotFound), 2),
            (io(std::io::ErrorKind::StorageFull), 1),
            (Error::Connection("a".into()), 4),
            (Error::Refused(blindvox_net::Refusal::new(blindvox_net::Code::Busy, "a")), 3),
            (Error::Identity("a".into()), 2),
            (Error::Cancelled, 130),
            (Error::Protocol("a".into()), 1),
            (Error::Thread { what: "a", source: std::io::ErrorKind::WouldBlock.into() }, 1),
        ] {
            assert_eq!(exit_code(&error), code, "{error}");
        }
    }
}
