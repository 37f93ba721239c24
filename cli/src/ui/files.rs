//! Files to write: checked before the run, so that none is found impossible after it.

use std::path::{Path, PathBuf};

use blindvox_models::atomic::{self, Staged};
use blindvox_protocols::{Error, Result};

/// Checks that each of `outputs` (a flag and its file) can be written, and that no two of them nor an input are one
/// file.
///
/// # Errors
/// [`Error::Input`] naming the flag, the file and what is wrong.
pub(crate) fn check_outputs(inputs: &[(&str, &Path)], outputs: &[(&str, &Path)]) -> Result<()> {
    let mut taken: Vec<(&str, PathBuf)> = Vec::new();
    for (flag, path) in inputs {
        taken.extend(std::fs::canonicalize(path).map(|whole| (*flag, whole)));
    }
    for (flag, path) in outputs {
        let whole = writable(flag, path)?;
        if let Some((other, _)) = taken.iter().find(|(_, p)| *p == whole) {
            let path = path.display();
            return Err(Error::Input(format!("{flag} {path}: found the file of {other}, expected one of its own")));
        }
        taken.push((flag, whole));
    }
    Ok(())
}

/// Checks the name of a volume to be written.
///
/// # Errors
/// [`Error::Input`] naming the flag and the file.
pub(crate) fn check_volume_name(flag: &str, path: &Path) -> Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if name.ends_with(".nii") || name.ends_with(".nii.gz") {
        return Ok(());
    }
    Err(Error::Input(format!("{flag} {}: expected a name that ends in .nii or .nii.gz", path.display())))
}

/// The whole path of a file in an existing folder that takes new files.
fn writable(flag: &str, path: &Path) -> Result<PathBuf> {
    let wrong = |what: String| Error::Input(format!("{flag} {}: {what}", path.display()));
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !folder.is_dir() {
        return Err(wrong(format!("the folder {} does not exist", folder.display())));
    }
    if path.is_dir() {
        return Err(wrong("found a folder, expected a file".to_owned()));
    }
    let name = path.file_name().ok_or_else(|| wrong("expected the name of a file".to_owned()))?;
    let folder = std::fs::canonicalize(folder).map_err(|e| wrong(e.to_string()))?;
    let whole = folder.join(name);
    atomic::check(&whole).map_err(|e| wrong(e.to_string()))?;
    // An existing file counts as itself, whatever link leads to it.
    Ok(std::fs::canonicalize(&whole).unwrap_or(whole))
}

/// Writes a file beside `path`, to be put there once all are written.
///
/// # Errors
/// [`Error::Io`].
pub(crate) fn stage(path: &Path, content: &[u8]) -> Result<Staged> {
    Ok(atomic::stage(path, |out| out.write_all(content))?)
}

/// A folder for outputs, taken away again unless [`Folder::keep`] is called.
pub(crate) struct Folder(Option<PathBuf>);

impl Folder {
    /// Makes the folder if it isn't there; one that was there is left as it is.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(crate) fn make(path: &Path) -> Result<Self> {
        let there = path.is_dir();
        std::fs::create_dir_all(path).map_err(|source| Error::Io { path: path.to_owned(), source })?;
        Ok(Self((!there).then(|| path.to_owned())))
    }

    /// What is in it stays.
    pub(crate) fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            // Empty: files are put in their places together, or not at all.
            let _ = std::fs::remove_dir(path);
        }
    }
}
