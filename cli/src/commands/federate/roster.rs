//! `federate roster`: who is in a federation.

use std::path::Path;

use blindvox_federated::roster::{Person, Roster};
use blindvox_federated::signing::PublicKey;
use blindvox_models::atomic;
use blindvox_net::identity::Certificate;
use blindvox_protocols::{Error, Result};

use super::told;
use crate::args_federate::RosterArgs;
use crate::input::Done;
use crate::ui::files;

/// The command.
pub(crate) fn run(args: &RosterArgs) -> Result<Done> {
    let members = args.members.iter().map(|path| person(path)).collect::<Result<Vec<_>>>()?;
    let roster = Roster::new(person(&args.aggregator)?, members, args.threshold, args.min_clients).map_err(told)?;
    files::check_outputs(&[], &[("-o", &args.output)])?;
    atomic::commit_all(vec![files::stage(&args.output, roster.to_text().map_err(told)?.as_bytes())?])?;
    let holders = roster.holders().count();
    say!("federation {}", blindvox_federated::message::shown(&roster.id()));
    say!(
        "{} members, {} of {holders} holders open a sum of {} updates or more; {} holders may answer twice before the \
         difference of two sums can be opened",
        roster.members.len(),
        roster.threshold,
        roster.min_clients,
        roster.faithless(),
    );
    Ok(Done::Whole)
}

fn person(path: &Path) -> Result<Person> {
    let wrong = |what: &str| Error::Input(format!("{}: {what}", path.display()));
    let certificate = Certificate::load(path)?;
    let key = certificate.ed25519().ok_or_else(|| wrong("found another kind of key, expected Ed25519 (`keygen`)"))?;
    let name = certificate.names().into_iter().next().ok_or_else(|| wrong("found no name in it, expected one"))?;
    Ok(Person { name, key: PublicKey(key), holder: false })
}
