//! How parties meet: both say what they speak and what they chose.
//!
//! | # | from -> to | content | bytes | phase |
//! |---|---|---|---|---|
//! | 1 | client -> server | hello: magic 8, version 3, gate hash 1, choices 1 | 12 | setup |
//! | 2 | server -> client | hello | 12 | setup |

use blindvox_engine::garble::GateHash;
use blindvox_net::channel::{Channel, Party};

use super::options::Options;
use super::presets::Ways;
use crate::error::{Error, Result};

/// The first bytes of a connection.
const MAGIC: [u8; 8] = *b"blindvox";
/// Bytes of a hello.
pub const HELLO_BYTES: usize = MAGIC.len() + 4;
/// Changed whenever messages change.
const VERSION: u16 = 3;

/// Exchanges hellos, and holds the peer's to this party's.
pub(super) fn greet(party: Party, options: &Options, channel: &mut Channel) -> Result<()> {
    let [v0, v1] = VERSION.to_le_bytes();
    let hash = options.gate_hash;
    let hello = [&MAGIC[..], &[v0, v1, hash.code(), options.ways.code()]].concat();
    let theirs = match party {
        Party::Client => {
            channel.send(hello.clone())?;
            channel.recv_exact(hello.len())?
        }
        Party::Server => {
            let theirs = channel.recv_exact(hello.len())?;
            channel.send(hello.clone())?;
            theirs
        }
    };
    // The client's first, on both sides.
    let (first, second) = if party == Party::Client { (&hello, &theirs) } else { (&theirs, &hello) };
    channel.bind(first);
    channel.bind(second);
    if theirs[..10] != hello[..10] || !Ways::is_code(theirs[11]) {
        return Err(Error::protocol(format!("the peer does not speak blindvox version {VERSION}")));
    }
    if theirs[10] != hello[10] {
        let theirs = match GateHash::from_code(theirs[10]) {
            Some(hash) => hash.to_string(),
            None => format!("number {}, which this version does not know", theirs[10]),
        };
        return Err(Error::protocol(format!("the gate hashes differ: {hash} here, the peer's is {theirs}")));
    }
    match Ways::difference(hello[11], theirs[11]) {
        Some(difference) => Err(Error::protocol(difference)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use blindvox_engine::Device;
    use blindvox_net::channel::local_pair;

    use super::*;

    #[test]
    fn parties_that_chose_differently_say_so() {
        let hello = |version: u16, hash, zero| {
            let [v0, v1] = version.to_le_bytes();
            [&MAGIC[..], &[v0, v1, hash, zero]].concat()
        };
        let message = |hash: GateHash, theirs: Vec<u8>| {
            let (mut client, mut server) = local_pair();
            server.send(theirs).unwrap();
            let options = Options { gate_hash: hash, ..Options::new(Device::cpu()) };
            let found = greet(Party::Client, &options, &mut client).map_err(|e| e.to_string());
            (server.recv().unwrap(), found)
        };
        let (aes, same) = message(GateHash::Aes, hello(VERSION, 0, 0));
        assert!(aes == hello(VERSION, 0, 0) && same.is_ok());
        let (chacha, found) = message(GateHash::ChaCha12, aes.clone());
        let found = found.unwrap_err();
        assert!(found.contains("ChaCha12 here") && found.contains("the peer's is AES-128"), "{found}");
        let found = message(GateHash::Aes, chacha).1.unwrap_err();
        assert!(found.contains("AES-128 here") && found.contains("the peer's is ChaCha12"), "{found}");
        assert!(message(GateHash::Aes, hello(VERSION, 9, 0)).1.unwrap_err().contains("number 9"));
        let found = [1, 2].map(|choices| message(GateHash::Aes, hello(VERSION, 0, choices)).1.unwrap_err());
        assert!(
            found[0].contains("comparisons are made by sign and selection here, by full circuits by the peer"),
            "{found:?}"
        );
        assert!(found[1].contains("square pairs are made as used here, ahead by the peer"), "{found:?}");
        let mut magic = hello(VERSION, 0, 0);
        magic[0] ^= 1;
        for other in [hello(VERSION + 1, 0, 0), hello(VERSION, 0, 4), magic] {
            assert!(message(GateHash::Aes, other).1.unwrap_err().contains("does not speak"));
        }
    }
}
