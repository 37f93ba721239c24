//! `federate ceremony`: a trusted dealer's keys for Paillier.

use blindvox_engine::Prng;
use blindvox_federated::ceremony;
use blindvox_federated::roster::Roster;
use blindvox_models::atomic;
use blindvox_net::identity::Identity;
use blindvox_protocols::{Error, Result};

use super::{party, told};
use crate::args_federate_hosts::CeremonyArgs;
use crate::input::Done;
use crate::ui::files;

/// The command.
pub(crate) fn run(args: &CeremonyArgs) -> Result<Done> {
    let roster = Roster::load(&args.roster).map_err(told)?;
    let signer = party::signer(&Identity::load(&args.identity)?)?;
    let public = args.output.join(ceremony::PUBLIC);
    if public.symlink_metadata().is_ok() {
        let path = public.display();
        return Err(Error::Input(format!("{path}: found a key, expected none: members have shares of it")));
    }
    let made = ceremony::deal(&roster, &signer, args.bits, &mut Prng::from_os()?).map_err(told)?;
    let folder = files::Folder::make(&args.output)?;
    let stage = |(name, bytes): &(String, Vec<u8>)| files::stage(&args.output.join(name), bytes);
    atomic::commit_all(made.iter().map(stage).collect::<Result<Vec<_>>>()?)?;
    folder.keep();
    let security = if args.bits < 3072 { "112-bit security" } else { "128-bit security" };
    say!("Wrote {}, {} bits ({security}), for all, and a share for each of its holder:", public.display(), args.bits);
    made[1..].iter().for_each(|(name, _)| say!("  {}", args.output.join(name).display()));
    say!("Whoever ran this could have decrypted everything under this key.");
    Ok(Done::Whole)
}
