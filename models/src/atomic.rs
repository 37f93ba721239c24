//! Files that appear whole or not at all.
//!
//! Content is written to a temporary file in the same folder and takes its place at the end. Where the system can do
//! that (Linux, on most file systems) the temporary file has no name, so nothing is left even of a process that is
//! killed; elsewhere its name cannot be foretold, it is made exclusively, and a signal waits until it is gone (see
//! [`Signals`]). A new file is its owner's alone (mode 0600), because what is written here is about a patient; a file
//! that is replaced keeps its mode. A link is replaced, not followed; a device or a pipe is written to as it is.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use atomic_write_file::AtomicWriteFile;

use crate::error::{Error, Result};

/// Writes a file, so that `path` is never half written.
///
/// # Errors
/// [`Error::Io`]; what `path` was before is still there.
pub fn write_atomic(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
    stage(path, write)?.commit()
}

/// A file that is written but not yet in its place. Dropping it leaves no trace.
pub struct Staged {
    path: PathBuf,
    place: Place,
}

enum Place {
    Beside(AtomicWriteFile, Option<Named>),
    Device(File, Vec<u8>),
}

/// Writes a file beside `path`, to be put there by [`Staged::commit`].
///
/// # Errors
/// [`Error::Io`].
pub fn stage(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<Staged> {
    let attempt = || {
        let mut content = Vec::new();
        write(&mut content)?;
        let mut place = Place::open(path)?;
        match &mut place {
            Place::Beside(file, _) => {
                file.write_all(&content)?;
                file.sync_all()?;
            }
            Place::Device(_, later) => *later = content,
        }
        Ok(place)
    };
    match attempt() {
        Ok(place) => Ok(Staged { path: path.to_owned(), place }),
        Err(source) => Err(Error::Io { path: path.to_owned(), source }),
    }
}

/// Puts files in their places, all or none: where one fails, those that are new are removed again.
///
/// # Errors
/// [`Error::Io`].
pub fn commit_all(files: Vec<Staged>) -> Result<()> {
    let mut new = Vec::new();
    for file in files {
        let (path, is_new) = (file.path.clone(), file.path.symlink_metadata().is_err());
        if let Err(e) = file.commit() {
            for path in new {
                let _ = std::fs::remove_file(path);
            }
            return Err(e);
        }
        new.extend(is_new.then_some(path));
    }
    Ok(())
}

/// Checks that a file can be written to `path`, and leaves no trace.
///
/// # Errors
/// What the system says.
pub fn check(path: &Path) -> io::Result<()> {
    Place::open(path).map(drop)
}

impl Staged {
    /// Puts the file in its place.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn commit(self) -> Result<()> {
        let Self { path, place } = self;
        let done = match place {
            Place::Beside(file, named) => {
                // On its way from no name to its own a file has another for a moment.
                let _named = named.unwrap_or_else(Named::begin);
                let own = file.metadata().ok().and_then(|m| identity(&m));
                file.commit().inspect_err(|_| forget(&path, own))
            }
            Place::Device(mut file, content) => file.write_all(&content),
        };
        done.map_err(|source| Error::Io { path, source })
    }
}

impl Place {
    fn open(path: &Path) -> io::Result<Self> {
        if is_device(path) {
            return Ok(Self::Device(OpenOptions::new().append(true).open(path)?, Vec::new()));
        }
        let mut options = AtomicWriteFile::options();
        // The mode of a link is nobody's choice.
        options_for(&mut options, !path.is_symlink());
        let named = Named::begin();
        let file = options.open(path)?;
        let has_name = links(&file) != Some(0);
        Ok(Self::Beside(file, has_name.then_some(named)))
    }
}

/// Whether a path leads to something that cannot be replaced: a device, a pipe, a terminal.
fn is_device(path: &Path) -> bool {
    let descriptors = ["/dev", "/dev/fd", "/proc/self/fd"].map(Path::new);
    path.parent().is_some_and(|folder| descriptors.contains(&folder))
        || path.metadata().is_ok_and(|m| !m.is_file() && !m.is_dir())
}

#[cfg(unix)]
fn options_for(options: &mut atomic_write_file::OpenOptions, keep_mode: bool) {
    use atomic_write_file::unix::OpenOptionsExt;
    use std::os::unix::fs::OpenOptionsExt as _;

    options.mode(0o600).preserve_mode(keep_mode).try_preserve_owner(keep_mode);
}

#[cfg(not(unix))]
fn options_for(_: &mut atomic_write_file::OpenOptions, _: bool) {}

/// By what a file is known whatever its name is, where the system tells.
fn identity(file: &Metadata) -> Option<(u64, u64)> {
    #[cfg(unix)]
    return Some((std::os::unix::fs::MetadataExt::dev(file), std::os::unix::fs::MetadataExt::ino(file)));
    #[cfg(not(unix))]
    return {
        let _ = file;
        None
    };
}

/// Removes the name beside `path` that a file was given on its way and has kept, because it couldn't take its place.
fn forget(path: &Path, own: Option<(u64, u64)>) {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    for entry in folder.read_dir().into_iter().flatten().flatten() {
        if own.is_some() && entry.metadata().ok().and_then(|m| identity(&m)) == own {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// Names that a temporary file has, where the system tells.
fn links(file: &AtomicWriteFile) -> Option<u64> {
    #[cfg(unix)]
    return std::os::unix::fs::MetadataExt::nlink(&file.as_file().metadata().ok()?).into();
    #[cfg(not(unix))]
    return None;
}

/// What a handler of signals needs to know.
#[derive(Clone, Default)]
pub struct Signals {
    /// True while the process may end at once: no temporary file has a name.
    pub may_end: Arc<AtomicBool>,
    /// To be set by a signal that came at another time: the process is to end when it has written its files.
    pub came: Arc<AtomicBool>,
}

/// The state of this process.
pub fn signals() -> &'static Signals {
    static SIGNALS: OnceLock<Signals> = OnceLock::new();
    SIGNALS.get_or_init(|| Signals { may_end: Arc::new(AtomicBool::new(true)), ..Signals::default() })
}

/// Temporary files with a name, in all threads.
static NAMED: Mutex<usize> = Mutex::new(0);

/// Held while a temporary file has a name.
struct Named(());

impl Named {
    fn begin() -> Self {
        Self::count(|named| named + 1);
        Self(())
    }

    fn count(change: impl FnOnce(usize) -> usize) {
        let mut named = NAMED.lock().unwrap_or_else(|e| e.into_inner());
        *named = change(*named);
        signals().may_end.store(*named == 0, Ordering::SeqCst);
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        Self::count(|named| named - 1);
    }
}

/// While it lives a signal doesn't end the process: who holds it looks at [`Signals::came`].
pub struct HeldSignals(Named);

/// Lets this program see to signals itself.
pub fn hold_signals() -> HeldSignals {
    HeldSignals(Named::begin())
}

impl HeldSignals {
    /// Whether a signal came.
    pub fn came(&self) -> bool {
        let Self(Named(())) = self;
        signals().came.load(Ordering::SeqCst)
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use super::*;

    fn mode(path: &Path) -> u32 {
        path.metadata().unwrap().mode() & 0o7777
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = folder.read_dir().unwrap();
        let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_new_file_is_private_and_a_replaced_one_keeps_its_mode() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        write_atomic(&path, |out| out.write_all(b"new")).unwrap();
        assert_eq!(mode(&path), 0o600);
        for kept in [0o644, 0o660, 0o400] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(kept)).unwrap();
            write_atomic(&path, |out| out.write_all(&kept.to_le_bytes())).unwrap();
            assert_eq!((mode(&path), std::fs::read(&path).unwrap()), (kept, kept.to_le_bytes().to_vec()));
        }
        assert_eq!(names(folder.path()), ["a"]);
    }

    #[test]
    fn a_link_is_replaced_and_its_target_untouched() {
        let folder = tempfile::tempdir().unwrap();
        let (link, target) = (folder.path().join("link"), folder.path().join("target"));
        std::fs::write(&target, b"another's").unwrap();
        symlink(&target, &link).unwrap();
        write_atomic(&link, |out| out.write_all(b"mine")).unwrap();
        assert_eq!(std::fs::read(&target).unwrap(), b"another's");
        assert!(!link.is_symlink());
        assert_eq!((mode(&link), std::fs::read(&link).unwrap()), (0o600, b"mine".to_vec()));
    }

    #[test]
    fn what_fails_or_is_dropped_leaves_the_older_file_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, b"older").unwrap();
        let failed = write_atomic(&path, |_| Err(io::ErrorKind::StorageFull.into()));
        assert!(matches!(failed, Err(Error::Io { .. })));
        let staged = stage(&path, |out| out.write_all(b"newer")).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"older");
        drop(staged);
        check(&path).unwrap();
        assert_eq!((names(folder.path()), std::fs::read(&path).unwrap()), (vec!["a".to_owned()], b"older".to_vec()));
        stage(&path, |out| out.write_all(b"newer")).unwrap().commit().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"newer");
    }

    #[test]
    fn files_are_put_in_their_places_together_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let paths = ["a", "b"].map(|name| folder.path().join(name));
        let staged = |path: &PathBuf| stage(path, |out| out.write_all(b"x")).unwrap();
        let both = paths.iter().map(staged).collect();
        std::fs::create_dir(&paths[1]).unwrap();
        assert!(commit_all(both).is_err());
        assert_eq!(names(folder.path()), ["b"]);
        std::fs::remove_dir(&paths[1]).unwrap();
        commit_all(paths.iter().map(staged).collect()).unwrap();
        assert_eq!(names(folder.path()), ["a", "b"]);
    }

    #[test]
    fn a_staged_file_has_no_name_or_signals_wait() {
        let folder = tempfile::tempdir().unwrap();
        let staged = stage(&folder.path().join("a"), |out| out.write_all(b"x")).unwrap();
        let Place::Beside(_, named) = &staged.place else { panic!("a folder for files") };
        assert_eq!(names(folder.path()).len(), usize::from(named.is_some()));
    }

    #[test]
    fn devices_are_written_to_and_stay_devices() {
        write_atomic(Path::new("/dev/null"), |out| out.write_all(b"x")).unwrap();
        assert!(!Path::new("/dev/null").metadata().unwrap().is_file());
        let full = Path::new("/dev/full");
        if full.exists() {
            assert!(write_atomic(full, |out| out.write_all(b"x")).is_err());
        }
    }
}
