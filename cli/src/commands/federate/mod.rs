//! `federate`: hospitals train one model together, and nobody sees another's update.

mod audit;
mod average;
mod ceremony;
mod demo;
mod join;
mod party;
mod roster;
mod serve;

use std::path::Path;

use blindvox_engine::{Device, Prng};
use blindvox_federated as federated;
use blindvox_federated::local::Federation;
use blindvox_federated::message::hash;
use blindvox_federated::model::Model;
use blindvox_federated::plan::{Plan, SchemeKind};
use blindvox_federated::scheme::paillier::dealer;
use blindvox_protocols::{Error, Result};
use regex::Regex;

use crate::args_federate::{Precision, SchemeChoice};
use crate::args_federate_hosts::{FederateArgs, FederateCommand};
use crate::input::Done;

pub(crate) use audit::run as audit;

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

/// Bits of an encoded number in a federation of so many `who`.
fn bits(precision: Precision, count: usize, who: &str) -> Result<u32> {
    let bits = match precision {
        Precision::Fine => Plan::widest(count, 3),
        Precision::Compact => Plan::widest(count, 4),
        Precision::Bits(bits) => bits,
    };
    let most = 31 - count.next_power_of_two().ilog2();
    if !(2..=most).contains(&bits) {
        return Err(Error::Input(format!("--precision: found {bits} bits, expected 2 to {most} for {count} {who}")));
    }
    Ok(bits)
}

fn check_clip(clip: Option<f64>) -> Result<()> {
    match clip {
        Some(clip) if !(clip.is_finite() && clip > 0.0) => {
            Err(Error::Input(format!("--clip: found {clip}, expected a number above 0")))
        }
        _ => Ok(()),
    }
}

fn check_proofs(prove: bool, scheme: SchemeChoice) -> Result<()> {
    if prove && scheme != SchemeChoice::Paillier {
        let scheme = scheme.name();
        return Err(Error::Input(format!(
            "--prove: found --scheme {scheme}, expected paillier, which alone has proofs"
        )));
    }
    Ok(())
}

/// Tensors that are not averaged, by --exclude.
struct Exclude(Option<Regex>);

impl Exclude {
    /// A regular expression of whole names.
    fn parse(text: Option<&str>) -> Result<Self> {
        let whole = |text: &str| {
            let wrong = |_| Error::Input(format!("--exclude {text}: expected a regular expression of tensors' names"));
            Regex::new(&format!("^(?:{text})$")).map_err(wrong)
        };
        text.map(whole).transpose().map(Self)
    }

    /// A model without them.
    fn load(&self, path: &Path) -> Result<Model> {
        let kept = |name: &str| self.0.as_ref().is_none_or(|excluded| !excluded.is_match(name));
        Model::load(path).and_then(|model| model.keeping(kept)).map_err(told)
    }
}

/// The `federate` commands.
pub(crate) fn run(args: &FederateArgs) -> Result<Done> {
    match &args.command {
        FederateCommand::Roster(args) => roster::run(args),
        FederateCommand::Ceremony(args) => ceremony::run(args),
        FederateCommand::Serve(args) => serve::run(args),
        FederateCommand::Join(args) => join::join(args),
        FederateCommand::Submit(args) => join::submit(args),
        FederateCommand::Fetch(args) => join::fetch(args),
        FederateCommand::Status(args) => join::status(args),
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
        federated::Error::Net(e) => e.into(),
        e => Error::Input(e.to_string()),
    }
}
