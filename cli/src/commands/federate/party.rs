//! A party from its flags: who it is, what it has, and that nobody else writes where it does.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use blindvox_engine::Prng;
use blindvox_federated::ceremony;
use blindvox_federated::member::Member;
use blindvox_federated::net::way::Way;
use blindvox_federated::roster::Roster;
use blindvox_federated::round::Means;
use blindvox_federated::scheme::paillier::keys::PublicKey;
use blindvox_federated::signing::Signer;
use blindvox_federated::store::{Folder, Store};
use blindvox_net::identity::Identity;
use blindvox_protocols::{Error, Result};

use super::told;
use crate::args_federate_hosts::{MemberArgs, PartyArgs};
use crate::gpu;

/// Whose the state is.
const WHOSE: &str = "whose";

/// An identity's key for signatures.
pub(super) fn signer(identity: &Identity) -> Result<Signer> {
    let seed = identity.ed25519_seed();
    let other = || {
        let path = identity.path.display();
        Error::Input(format!("{path}: found another kind of key, expected Ed25519 (`blindvox keygen`)"))
    };
    let seed = seed.ok_or_else(other)?;
    Ok(Signer::from_seed(&seed))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|source| Error::Io { path: path.to_owned(), source })
}

/// A party.
pub(super) struct Party<'a> {
    args: &'a PartyArgs,
    pub roster: Arc<Roster>,
    pub identity: Identity,
    pub means: Means,
    /// Held as long as this party is.
    _lock: File,
}

impl<'a> Party<'a> {
    /// Reads what the flags name.
    ///
    /// # Errors
    /// [`Error::Input`], [`Error::Identity`] naming the file; [`Error::Input`] for a state of another's, or in use.
    pub(super) fn load(args: &'a PartyArgs) -> Result<Self> {
        let roster = Arc::new(Roster::load(&args.roster).map_err(told)?);
        let identity = Identity::load(&args.identity)?;
        let means = means(args, &roster, &signer(&identity)?)?;
        let folder = args.state.display();
        let mut store = Folder::open(&args.state).map_err(told)?;
        let path = args.state.join("lock");
        let lock = File::create(&path).map_err(|source| Error::Io { path, source })?;
        if lock.try_lock().is_err() {
            return Err(Error::Input(format!("--state {folder}: another process works with it")));
        }
        let whose = [&roster.id()[..], &signer(&identity)?.public().0].concat();
        match store.get(WHOSE).map_err(told)? {
            None => store.put(WHOSE, &whose).map_err(told)?,
            Some(there) if there == whose => {}
            Some(_) => {
                return Err(Error::Input(format!(
                    "--state {folder}: found the state of another federation or party, expected its own or none"
                )));
            }
        }
        Ok(Self { args, roster, identity, means, _lock: lock })
    }

    /// Its files.
    pub(super) fn store(&self) -> Result<Box<dyn Store>> {
        Ok(Box::new(Folder::open(&self.args.state).map_err(told)?))
    }

    /// It as a member, with its way.
    pub(super) fn member(&self, args: &MemberArgs) -> Result<(Member, Way)> {
        let patience = std::time::Duration::from_secs(args.patience.into());
        let way = Way::new(&self.roster, &self.identity, &args.server, patience).map_err(told)?;
        let signer = signer(&self.identity)?;
        let member = Member::open(&self.roster, signer, self.store()?, &self.means, Prng::from_os()?);
        let named = |e: Error| match e {
            Error::Input(what) => Error::Input(format!("{}: {what}", self.args.roster.display())),
            e => e,
        };
        Ok((member.map_err(told).map_err(named)?, way))
    }
}

/// What a party computes with: the device, and a dealer's key.
fn means(args: &PartyArgs, roster: &Roster, signer: &Signer) -> Result<Means> {
    let mut means = Means::new(&gpu::device(args.backend, args.adapter.as_deref())?);
    let Some(folder) = &args.keys else { return Ok(means) };
    let named = |path: &Path, e| match told(e) {
        Error::Input(what) => Error::Input(format!("{}: {what}", path.display())),
        e => e,
    };
    let path = folder.join(ceremony::PUBLIC);
    let (key, dealer) =
        ceremony::public_key(roster, &read(&path)?, PublicKey::from_bytes).map_err(|e| named(&path, e))?;
    let (bits, security) = (key.bits(), key.security_bits());
    say!("{}: {bits} bits ({security}-bit security), dealt by {}", path.display(), roster.name(dealer));
    if let Some(holder) = roster.find(&signer.public()).filter(|id| roster.point(*id).is_some()) {
        let path = folder.join(ceremony::share_name(roster, holder));
        let share = ceremony::share(roster, &key, signer, &read(&path)?).map_err(|e| named(&path, e))?;
        means.share = Some(Arc::new(share));
    }
    means.dealt = Some(Arc::new(key));
    Ok(means)
}
