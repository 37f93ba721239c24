//! Files of a dealer's keys: the public key, signed by the dealer, and for each holder its share, sealed to the key of its
//! identity. A dealer is somebody of the roster.
//!
//! ```text
//! paillier.key    "blindvox key 1\n" | dealer, u16 | signature, 64 bytes | public key
//! NAME.share      "blindvox share 1\n" | digest of the public key, 32 bytes | sealed share
//! ```
//!
//! What is signed names the federation, and what is sealed is bound to it and to the holder.

use blindvox_engine::Prng;

use crate::error::{Error, Result};
use crate::message::hash;
use crate::roster::{AGGREGATOR, MemberId, Roster};
use crate::scheme::paillier::dealer;
use crate::scheme::paillier::keys::{KeyShare, PublicKey};
use crate::sealing::{open_by_identity, seal_to_identity};
use crate::signing::{SIGNATURE, Signer};

/// The name of the public key's file.
pub const PUBLIC: &str = "paillier.key";
const KEY_HEAD: &[u8] = b"blindvox key 1\n";
const SHARE_HEAD: &[u8] = b"blindvox share 1\n";

/// The name of a holder's file.
pub fn share_name(roster: &Roster, holder: MemberId) -> String {
    format!("{}.share", roster.name(holder))
}

fn signed(roster: &Roster, key: &[u8]) -> Vec<u8> {
    [b"blindvox federated key 1 ", &roster.id()[..], key].concat()
}

fn bound(roster: &Roster, key: &PublicKey, holder: MemberId) -> Vec<u8> {
    [b"dealt share", &roster.id()[..], &hash(&key.to_bytes()), &holder.to_le_bytes()].concat()
}

/// Deals a key of so many bits to the holders of a roster: files by their names, the public key first.
///
/// # Errors
/// [`Error::Input`] for another length, and for a dealer who is not of the roster.
pub fn deal(roster: &Roster, signer: &Signer, bits: usize, prng: &mut Prng) -> Result<Vec<(String, Vec<u8>)>> {
    let made = dealer::ceremony(bits, roster.threshold, roster.holders().count(), prng)?;
    files(roster, signer, &made, prng)
}

/// The files of a key that was dealt.
///
/// # Errors
/// [`Error::Input`] for a dealer who is not of the roster, [`Error::Message`] for a holder's key that is none.
pub fn files(
    roster: &Roster,
    signer: &Signer,
    (key, shares): &(PublicKey, Vec<KeyShare>),
    prng: &mut Prng,
) -> Result<Vec<(String, Vec<u8>)>> {
    let public = signer.public();
    let of_aggregator = (roster.aggregator.key == public).then_some(AGGREGATOR);
    let dealer = roster.find(&public).or(of_aggregator);
    let dealer = dealer.ok_or_else(|| Error::Input(format!("the roster has nobody with the dealer's key {public}")))?;
    let bytes = key.to_bytes();
    let signature = signer.sign(&signed(roster, &bytes));
    let mut files = vec![(PUBLIC.to_owned(), [KEY_HEAD, &dealer.to_le_bytes(), &signature, &bytes].concat())];
    for (holder, share) in roster.holders().zip(shares) {
        let to = &roster.members[usize::from(holder)].key;
        let sealed = seal_to_identity(to, &share.to_secret_bytes(), &bound(roster, key, holder), prng)
            .map_err(|e| e.of(roster.name(holder)))?;
        files.push((share_name(roster, holder), [SHARE_HEAD, &hash(&bytes), &sealed].concat()));
    }
    Ok(files)
}

/// The public key of a file, and who dealt it.
///
/// # Errors
/// [`Error::Input`] for bytes that are none, or that nobody of the roster signed for this federation.
pub fn public_key(roster: &Roster, file: &[u8], decode: Decode) -> Result<(PublicKey, MemberId)> {
    let wrong = || Error::input("not a dealer's key (`federate ceremony` makes one)");
    let rest = file.strip_prefix(KEY_HEAD).ok_or_else(wrong)?;
    let (dealer, rest) = rest.split_first_chunk().ok_or_else(wrong)?;
    let (signature, bytes) = rest.split_first_chunk::<SIGNATURE>().ok_or_else(wrong)?;
    let dealer = MemberId::from_le_bytes(*dealer);
    let person = roster.person(dealer).ok_or_else(wrong)?;
    if !person.key.verifies(&signed(roster, bytes), signature) {
        let name = &person.name;
        return Err(Error::Input(format!("its signature is not by {name}'s key for this federation")));
    }
    Ok((decode(bytes)?, dealer))
}

/// How a public key is read: [`PublicKey::from_bytes`] outside of tests.
pub type Decode = fn(&[u8]) -> Result<PublicKey>;

/// A holder's share of a key.
///
/// # Errors
/// [`Error::Input`] for a file that is none, or is for another key or holder.
pub fn share(roster: &Roster, key: &PublicKey, signer: &Signer, file: &[u8]) -> Result<KeyShare> {
    let rest = file.strip_prefix(SHARE_HEAD).ok_or_else(|| Error::input("not a share of a dealer's key"))?;
    let sealed = rest.strip_prefix(&hash(&key.to_bytes())[..]).ok_or_else(|| Error::input("a share of another key"))?;
    let holder = roster.find(&signer.public()).filter(|id| roster.point(*id).is_some());
    let holder = holder.ok_or_else(|| Error::input("the roster has no such holder"))?;
    let opened = open_by_identity(signer, sealed, &bound(roster, key, holder));
    let share = KeyShare::from_secret_bytes(key, &opened.map_err(|_| Error::input("a share for another holder"))?)?;
    match roster.point(holder) == Some(share.point()) {
        true => Ok(share),
        false => Err(Error::input("a share for another holder")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::roster::Person;

    #[test]
    fn shares_open_for_their_holders_and_keys_name_their_dealer() {
        let mut prng = Prng::from_seed_for_tests([5; 32]);
        let signers = [1, 2, 3, 9].map(|seed| Signer::from_seed(&[seed; 32]));
        let person = |name: &str, i: usize| Person { name: name.to_owned(), key: signers[i].public(), holder: false };
        let members = vec![person("a", 0), person("b", 1), person("c", 2)];
        let roster = Roster::new(person("sum", 3), members.clone(), None, 3).unwrap();
        let made = dealer::insecure_for_tests(0, 2, 3, &mut prng).unwrap();
        let files = files(&roster, &signers[3], &made, &mut prng).unwrap();
        let names: Vec<&str> = files.iter().map(|(name, _)| &name[..]).collect();
        assert_eq!(names, [PUBLIC, "a.share", "b.share", "c.share"]);
        let decode = PublicKey::from_bytes_insecure_for_tests;
        let (key, dealer) = public_key(&roster, &files[0].1, decode).unwrap();
        assert_eq!((key.to_bytes(), dealer), (made.0.to_bytes(), AGGREGATOR));
        for (i, signer) in signers[..3].iter().enumerate() {
            let opened = share(&roster, &key, signer, &files[i + 1].1).unwrap();
            assert_eq!(*opened.to_secret_bytes(), *made.1[i].to_secret_bytes());
            assert!(share(&roster, &key, signer, &files[(i + 1) % 3 + 1].1).is_err());
        }
        // Keys of tests are refused outside of them.
        assert!(public_key(&roster, &files[0].1, PublicKey::from_bytes).unwrap_err().to_string().contains("512 bits"));
        let other = Roster::new(person("sum", 3), members, Some(3), 3).unwrap();
        assert!(public_key(&other, &files[0].1, decode).unwrap_err().to_string().contains("sum's key"));
        let mut changed = files[0].1.clone();
        *changed.last_mut().unwrap() ^= 1;
        assert!(public_key(&roster, &changed, decode).is_err());
        assert!(super::files(&roster, &Signer::from_seed(&[44; 32]), &made, &mut prng).is_err());
    }
}
