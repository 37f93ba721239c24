//! `keygen` and `fingerprint`: who a host is.

use std::path::Path;

use blindvox_models::atomic::{self, Staged};
use blindvox_net::identity::{Certificate, keygen};
use blindvox_protocols::{Error, Result};

use crate::args_hosts::{FingerprintArgs, KeygenArgs};
use crate::input::Done;
use crate::ui::files;

/// The `keygen` command.
pub(crate) fn generate(args: &KeygenArgs) -> Result<Done> {
    let made = keygen(&args.name, args.days)?;
    let [private, public] = ["pem", "crt"].map(|suffix| args.out.join(format!("{}.{suffix}", args.name)));
    if !args.out.is_dir() {
        return Err(Error::Input(format!("--out {}: found no folder", args.out.display())));
    }
    for path in [&private, &public] {
        if path.symlink_metadata().is_ok() && !args.force {
            return Err(Error::Input(format!(
                "{}: found a file, expected none (--force replaces it: clients then trust another key)",
                path.display()
            )));
        }
    }
    atomic::commit_all(vec![
        stage_private(&private, made.private.as_bytes())?,
        files::stage(&public, made.public.as_bytes())?,
    ])?;
    readable(&public)?;
    say!("{}", made.pin);
    say!("Wrote {}, for this host alone, and {}, to give away", private.display(), public.display());
    Ok(Done::Whole)
}

/// A file that is replaced would keep its mode, and a key is its owner's alone.
fn stage_private(path: &Path, content: &[u8]) -> Result<Staged> {
    if path.symlink_metadata().is_ok() {
        std::fs::remove_file(path).map_err(|source| Error::Io { path: path.to_owned(), source })?;
    }
    files::stage(path, content)
}

/// A certificate is for everybody.
#[cfg(unix)]
fn readable(path: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;

    let mode = std::fs::Permissions::from_mode(0o644);
    std::fs::set_permissions(path, mode).map_err(|source| Error::Io { path: path.to_owned(), source })
}

#[cfg(not(unix))]
fn readable(_: &Path) -> Result<()> {
    Ok(())
}

/// The `fingerprint` command.
pub(crate) fn fingerprint(args: &FingerprintArgs) -> Result<Done> {
    say!("{}", Certificate::load(&args.certificate)?.pin);
    Ok(Done::Whole)
}
