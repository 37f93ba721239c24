//! `federate`: hospitals train one model together, and nobody sees another's update.

mod average;
mod demo;
mod roster;

use blindvox_engine::{Device, Prng};
use blindvox_federated as federated;
use blindvox_federated::local::Federation;
use blindvox_federated::message::hash;
use blindvox_federated::plan::SchemeKind;
use blindvox_federated::scheme::paillier::dealer;
use blindvox_protocols::{Error, Result};

use crate::args_federate::{FederateArgs, FederateCommand, SchemeChoice};
use crate::input::Done;

/// Bits of a dealer's key in one process.
const PAILLIER_BITS: usize = 2048;

/// A federation in this process, with a dealer's key where the scheme has one.
fn federation(choice: SchemeChoice, names: &[&str], device: &Device) -> Result<(Federation, SchemeKind)> {
    let mut prng = Prng::from_os()?;
    let scheme = match choice {
        SchemeChoice::Plain => SchemeKind::Plain,
        SchemeChoice::Rlwe => SchemeKind::Rlwe,
        SchemeChoice::Paillier => {
            let holders = names.len().min(federated::roster::MOST_HOLDERS);
            let made = dealer::ceremony(PAILLIER_BITS, holders / 2 + 1, holders, &mut prng);
            let (key, shares) = made.map_err(told)?;
            let scheme = SchemeKind::Paillier(hash(&key.to_bytes()));
            return Ok((Federation::dealt(names, device, key, shares, &mut prng).map_err(told)?, scheme));
        }
    };
    Ok((Federation::new(names, None, device, &mut prng).map_err(told)?, scheme))
}

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
