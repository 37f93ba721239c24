//! Where a party keeps its state: whole values by name, each replaced at once and on the disk before it counts.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use blindvox_models::atomic;
use zeroize::Zeroize;

use crate::error::{Error, Result};

/// Values by name.
pub trait Store: Send {
    /// The value, if there is one.
    ///
    /// # Errors
    /// [`Error::Io`].
    fn get(&self, name: &str) -> Result<Option<Vec<u8>>>;

    /// Replaces the value; it is on the disk afterwards.
    ///
    /// # Errors
    /// [`Error::Io`]; the older value is still there.
    fn put(&mut self, name: &str, value: &[u8]) -> Result<()>;

    /// Takes the value away, if there is one.
    ///
    /// # Errors
    /// [`Error::Io`].
    fn remove(&mut self, name: &str) -> Result<()>;
}

/// Files of a folder, their owner's alone.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// A folder that is there, or is made.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn open(path: &Path) -> Result<Self> {
        std::fs::create_dir_all(path).map_err(|source| Error::Io { path: path.to_owned(), source })?;
        Ok(Self(path.to_owned()))
    }
}

impl Store for Folder {
    fn get(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let path = self.0.join(name);
        match std::fs::read(&path) {
            Ok(value) => Ok(Some(value)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(Error::Io { path, source }),
        }
    }

    fn put(&mut self, name: &str, value: &[u8]) -> Result<()> {
        Ok(atomic::write_atomic(&self.0.join(name), |out| out.write_all(value))?)
    }

    fn remove(&mut self, name: &str) -> Result<()> {
        let path = self.0.join(name);
        match std::fs::remove_file(&path) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => Err(Error::Io { path, source }),
            _ => Ok(()),
        }
    }
}

/// Memory that outlives who uses it: for federations in one process, and for tests of restarts.
#[derive(Clone, Default)]
pub struct Memory(Arc<Mutex<HashMap<String, Vec<u8>>>>);

impl Memory {
    fn values(&self) -> MutexGuard<'_, HashMap<String, Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for Memory {
    fn get(&self, name: &str) -> Result<Option<Vec<u8>>> {
        Ok(self.values().get(name).cloned())
    }

    fn put(&mut self, name: &str, value: &[u8]) -> Result<()> {
        if let Some(mut old) = self.values().insert(name.to_owned(), value.to_vec()) {
            old.zeroize();
        }
        Ok(())
    }

    fn remove(&mut self, name: &str) -> Result<()> {
        if let Some(mut old) = self.values().remove(name) {
            old.zeroize();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_replaced_and_taken_away() {
        let folder = tempfile::tempdir().unwrap();
        let stores: [Box<dyn Store>; 2] =
            [Box::new(Folder::open(&folder.path().join("a/b")).unwrap()), Box::new(Memory::default())];
        for mut store in stores {
            assert_eq!(store.get("x").unwrap(), None);
            store.put("x", b"one").unwrap();
            store.put("x", b"two").unwrap();
            assert_eq!(store.get("x").unwrap().unwrap(), b"two");
            store.remove("x").unwrap();
            store.remove("x").unwrap();
            assert_eq!(store.get("x").unwrap(), None);
        }
        let mut store = Folder::open(folder.path()).unwrap();
        std::fs::create_dir(folder.path().join("taken")).unwrap();
        assert!(store.put("taken", b"x").unwrap_err().to_string().contains("taken"));
    }
}
