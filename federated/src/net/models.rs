//! Model files by their digests: the one that is trained, and the one that comes after it. A party that is killed between
//! writing a model and saying so finds both.

use crate::error::Result;
use crate::message::{Digest, hash};
use crate::store::Store;

/// The model that a round trains.
pub const MODEL: &str = "model.safetensors";
/// The one that it came to.
const NEXT: &str = "next.safetensors";

/// The file of this digest; the newer one takes the older one's place when it is asked for.
///
/// # Errors
/// Those of the store.
pub fn find(store: &mut dyn Store, digest: &Digest) -> Result<Option<Vec<u8>>> {
    let is = |bytes: &Vec<u8>| hash(bytes) == *digest;
    if let Some(model) = store.get(MODEL)?.filter(is) {
        return Ok(Some(model));
    }
    let next = store.get(NEXT)?.filter(is);
    if let Some(next) = &next {
        store.put(MODEL, next)?;
        store.remove(NEXT)?;
    }
    Ok(next)
}

/// Keeps what a round came to, beside what it trained.
///
/// # Errors
/// Those of the store.
pub fn put_next(store: &mut dyn Store, bytes: &[u8]) -> Result<()> {
    store.put(NEXT, bytes)
}

/// The newest file that is there.
///
/// # Errors
/// Those of the store.
pub fn newest(store: &dyn Store) -> Result<Option<Vec<u8>>> {
    Ok(match store.get(NEXT)? {
        None => store.get(MODEL)?,
        next => next,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Memory;

    #[test]
    fn the_next_model_takes_the_place_of_the_last_when_it_is_asked_for() {
        let mut store = Memory::default();
        store.put(MODEL, b"one").unwrap();
        put_next(&mut store, b"two").unwrap();
        assert_eq!(newest(&store).unwrap().unwrap(), b"two");
        assert_eq!(find(&mut store, &hash(b"one")).unwrap().unwrap(), b"one");
        assert_eq!(find(&mut store, &hash(b"two")).unwrap().unwrap(), b"two");
        assert_eq!(find(&mut store, &hash(b"one")).unwrap(), None);
        assert_eq!(
            (store.get(MODEL).unwrap().unwrap(), newest(&store).unwrap().unwrap()),
            (b"two".into(), b"two".into())
        );
    }
}
