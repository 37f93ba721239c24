//! `federate`: hospitals train one model together, and nobody sees another's update.

mod average;
mod demo;
mod roster;

use blindvox_federated as federated;
use blindvox_protocols::{Error, Result};

use crate::args_federate::{FederateArgs, FederateCommand};
use crate::input::Done;

/// The `federate` commands.
pub(crate) fn run(args: &FederateArgs) -> Result<Done> {
    match &args.command {
        FederateCommand::Roster(args) => roster::run(args),
        FederateCommand::Average(args) => average::run(args),
        FederateCommand::Demo(args) => demo::run(args),
    }
}

/// An error of a federation, as the program knows them.
fn told(e: federated::Error) -> Error {
    match e {
        federated::Error::Engine(e) => Error::Engine(e),
        federated::Error::Io { path, source } => Error::Io { path, source },
        federated::Error::Message(what) => Error::Protocol(what),
        e => Error::Input(e.to_string()),
    }
}
