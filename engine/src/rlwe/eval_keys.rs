//! Sets of switching keys: for the automorphisms that were asked for and no other, and for products.

use std::collections::BTreeMap;

use super::gadget::SwitchingKey;
use super::keys::SecretKey;
use super::params::Params;
use super::wire;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::poly::{PolyBatch, Rows};
use crate::prng::Prng;
use crate::ring::Galois;
use crate::ring::sampler::PublicSeed;

/// What keys to make, each for a level (the number of primes) and all below: a lower one is a smaller key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyRequest {
    relinearisation: Option<usize>,
    galois: BTreeMap<usize, usize>,
}

impl KeyRequest {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// And for products.
    pub fn relinearisation(mut self, level: usize) -> Self {
        self.relinearisation = self.relinearisation.max(Some(level));
        self
    }

    /// And for the automorphism x -> x^element, unless that is the identity.
    pub fn galois(mut self, element: usize, level: usize) -> Self {
        if element != 1 {
            let known = self.galois.entry(element).or_default();
            *known = level.max(*known);
        }
        self
    }

    /// The elements asked for, with their levels.
    pub fn elements(&self) -> &BTreeMap<usize, usize> {
        &self.galois
    }

    /// The level that products are asked for at.
    pub fn relinearisation_level(&self) -> Option<usize> {
        self.relinearisation
    }

    /// (element, level) of all, products as element 0.
    fn entries(&self) -> Vec<(usize, usize)> {
        let products = self.relinearisation.map(|level| (0, level));
        products.into_iter().chain(self.galois.iter().map(|(&g, &level)| (g, level))).collect()
    }

    fn from_entries(entries: &[(usize, usize)]) -> Self {
        entries.iter().fold(Self::new(), |request, &(element, level)| match element {
            0 => request.relinearisation(level),
            _ => request.galois(element, level),
        })
    }

    fn check(&self, params: &Params) -> Result<()> {
        for (element, level) in self.entries() {
            let galois = if element == 0 { Ok(()) } else { Galois::new(params.n(), element).map(drop) };
            if galois.and(params.extended(level)).is_err() {
                return Err(Error::Parameters(format!(
                    "a key for element {element} at level {level}: {} has no such, or no primes of key switching",
                    params.describe()
                )));
            }
        }
        Ok(())
    }
}

/// Switching keys for one secret. Their uniform halves come of one public seed.
pub struct EvalKeys {
    params: Params,
    seed: PublicSeed,
    keys: BTreeMap<usize, SwitchingKey>,
}

impl SecretKey {
    /// The keys that were asked for.
    ///
    /// # Errors
    /// [`Error::Parameters`] for elements and levels that there are not.
    pub fn eval_keys(&self, request: &KeyRequest, prng: &mut Prng) -> Result<EvalKeys> {
        let params = self.params();
        request.check(params)?;
        let mut seed = PublicSeed::default();
        prng.fill_bytes(&mut seed);
        let (mut first, mut keys) = (0, BTreeMap::new());
        for (element, level) in request.entries() {
            let basis = params.extended(level)?;
            let s = self.on(&basis)?;
            let b = if element == 0 {
                let mut square = s.duplicate()?;
                square.mul_assign(&s)?;
                self.switching_halves(level, &square, &s, (&seed, first), prng)?
            } else {
                let inverse = Galois::new(params.n(), element)?.inverse() as usize;
                self.switching_halves(level, &s, &s.automorphism(inverse)?, (&seed, first), prng)?
            };
            keys.insert(element, SwitchingKey::new(level, &b, &seed, first)?);
            first += params.digits(level) as u32;
        }
        Ok(EvalKeys { params: params.clone(), seed, keys })
    }
}

const MAGIC: &[u8; 8] = b"bvevalk1";
/// Magic, digest, seed and the number of keys.
const HEAD: usize = 8 + 32 + 16 + 4;
/// Element and level.
const ENTRY: usize = 4 + 2;

impl EvalKeys {
    /// What they are keys for.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// What there are keys for.
    pub fn request(&self) -> KeyRequest {
        let entries: Vec<_> = self.keys.iter().map(|(&element, key)| (element, key.level())).collect();
        KeyRequest::from_entries(&entries)
    }

    /// The key for x -> x^element.
    ///
    /// # Errors
    /// [`Error::Parameters`] where there is none.
    pub fn galois(&self, element: usize) -> Result<&SwitchingKey> {
        let missing = || Error::Parameters(format!("no key for the automorphism x -> x^{element}"));
        self.keys.get(&element).filter(|_| element != 0).ok_or_else(missing)
    }

    /// The key for products.
    ///
    /// # Errors
    /// [`Error::Parameters`] where there is none.
    pub fn relinearisation(&self) -> Result<&SwitchingKey> {
        self.keys.get(&0).ok_or_else(|| Error::Parameters("no key for products".to_owned()))
    }

    /// Bytes in memory.
    pub fn memory(&self) -> usize {
        self.keys.values().map(SwitchingKey::memory).sum()
    }

    /// Bytes on the wire of what is asked for.
    ///
    /// # Errors
    /// [`Error::Parameters`] for elements and levels that there are not.
    pub fn wire_len(params: &Params, request: &KeyRequest) -> Result<usize> {
        request.check(params)?;
        let rows = request
            .entries()
            .into_iter()
            .map(|(_, level)| Ok(ENTRY + wire::packed_rows_len(&params.extended(level)?, params.digits(level))));
        Ok(HEAD + rows.sum::<Result<usize>>()?)
    }

    /// The parameters' digest, the seed, what the keys are for, and the packed points of their halves b.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut out = MAGIC.to_vec();
        out.extend(self.params.digest());
        out.extend(self.seed);
        out.extend((self.keys.len() as u32).to_le_bytes());
        for (&element, key) in &self.keys {
            out.extend((element as u32).to_le_bytes());
            out.extend((key.level() as u16).to_le_bytes());
        }
        for key in self.keys.values() {
            let b = key.b()?;
            wire::pack_rows(b.basis(), &b.download()?, &mut out);
        }
        Ok(out)
    }

    /// Reads what [`Self::to_bytes`] wrote. Nothing is allocated before the length is known to be right.
    ///
    /// # Errors
    /// [`Error::Decode`] for anything else, other parameters' keys included, and for residues that are not reduced.
    pub fn from_bytes(params: &Params, device: &Device, bytes: &[u8]) -> Result<Self> {
        let bad = |what: String| Error::Decode(format!("evaluation keys: {what}"));
        let mut reader = wire::Reader::new(bytes);
        if reader.array()? != *MAGIC {
            return Err(bad("not written by this version".to_owned()));
        }
        if reader.array()? != params.digest() {
            return Err(bad(format!("for other parameters than {}", params.describe())));
        }
        let seed: PublicSeed = reader.array()?;
        let count = u32::from_le_bytes(reader.array()?) as usize;
        let mut entries: Vec<(usize, usize)> = Vec::new();
        for _ in 0..count {
            let element = u32::from_le_bytes(reader.array()?) as usize;
            let level = usize::from(u16::from_le_bytes(reader.array()?));
            if element == 1 || entries.last().is_some_and(|&(last, _)| last >= element) {
                return Err(bad(format!("element {element} is out of order")));
            }
            entries.push((element, level));
        }
        let expected = Self::wire_len(params, &KeyRequest::from_entries(&entries)).map_err(|e| bad(e.to_string()))?;
        if bytes.len() != expected {
            return Err(bad(format!("{} bytes where {expected} were expected", bytes.len())));
        }
        let (mut first, mut keys) = (0, BTreeMap::new());
        for (element, level) in entries {
            let (basis, digits) = (params.extended(level)?, params.digits(level));
            let rows = reader.take(wire::packed_rows_len(&basis, digits))?;
            let b = PolyBatch::<Rows>::upload(device, &basis, &wire::unpack_rows(&basis, digits, rows)?)?;
            keys.insert(element, SwitchingKey::new(level, &b, &seed, first)?);
            first += digits as u32;
        }
        Ok(Self { params: params.clone(), seed, keys })
    }
}
