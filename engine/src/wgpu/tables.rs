//! Roots on the device: each prime's once, at a number that it keeps, whatever bases have it. A basis is the list of
//! its primes' constants and numbers, 56 bytes a prime.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use super::context::{Context, Window};
use super::{GpuBuffer, MIN_N, WORD, whole, words};
use crate::backend::TableUse;
use crate::error::{Error, Result};
use crate::ring::ntt_table::Factor;
use crate::ring::{Basis, Modulus, Prime};

/// Points of a transform within a workgroup: those that fit 32 KiB of its memory.
pub(super) const CHUNK: usize = 4096;
/// Points that a lane holds.
const POINTS_A_LANE: usize = 16;
/// Bytes of a factor with its companion.
const FACTOR: usize = 2 * WORD;

/// The factors of a limb in the order in which the kernels read them: in the deepest levels, where every lane has nodes
/// of its own, the first of every lane before the second of any, so that neighbouring lanes read neighbouring factors.
fn by_lane<T: Copy>(factors: &[T]) -> Vec<T> {
    let (n, points) = (factors.len(), factors.len().min(CHUNK));
    let mut out = factors.to_vec();
    let lanes = points / POINTS_A_LANE;
    // A chunk's lanes begin with 256 nodes, the two, three or four levels from there on are theirs.
    for level in 0..(points / 256).trailing_zeros() {
        let nodes = 256 << level;
        let chunks = (n / points * nodes..2 * n / points * nodes).step_by(nodes);
        for first in chunks {
            let own = nodes / lanes;
            for (i, factor) in factors[first..first + nodes].iter().enumerate() {
                out[first + i % own * lanes + i / own] = *factor;
            }
        }
    }
    out
}

/// The primes of a basis on the device.
pub(crate) struct GpuTables {
    pub(super) basis: Basis,
    /// Seven words a limb, as `modulus.wgsl` says.
    limbs: Arc<GpuBuffer>,
}

impl GpuTables {
    pub(super) fn moduli(&self) -> Window<'_> {
        whole(&self.limbs)
    }
}

/// The roots of primes for one ring dimension, `[numbers, n]` factors with companions.
#[derive(Clone)]
pub(super) struct Roots {
    pub(super) forward: Arc<GpuBuffer>,
    pub(super) inverse: Arc<GpuBuffer>,
}

/// The primes of one dimension that are on the device.
struct Known {
    numbers: HashMap<Prime, usize>,
    room: usize,
    roots: Roots,
}

/// What a device has of primes and bases.
#[derive(Default)]
pub(super) struct Tables(Mutex<State>);

#[derive(Default)]
struct State {
    primes: HashMap<usize, Known>,
    bases: HashMap<Basis, Arc<GpuBuffer>>,
}

impl Tables {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// The primes of a basis, those uploaded that are not there yet.
    pub(super) fn of(&self, context: &Arc<Context>, basis: &Basis) -> Result<GpuTables> {
        if basis.n() < MIN_N {
            return Err(Error::Parameters(format!("n = {}: the GPU backend needs at least {MIN_N}", basis.n())));
        }
        let State { primes, bases } = &mut *self.lock();
        if let Some(limbs) = bases.get(basis) {
            return Ok(GpuTables { basis: basis.clone(), limbs: limbs.clone() });
        }
        let known = match primes.get_mut(&basis.n()) {
            Some(known) => known,
            None => primes.entry(basis.n()).or_insert(Known::new(context, basis)?),
        };
        let numbers = basis.primes().iter().map(|q| known.number(context, q)).collect::<Result<Vec<_>>>()?;
        let limbs = Arc::new(GpuBuffer::upload(context, bytemuck::cast_slice(&limbs_table(basis, &numbers)))?);
        bases.insert(basis.clone(), limbs.clone());
        Ok(GpuTables { basis: basis.clone(), limbs })
    }

    /// The roots of the primes for dimension `n`, as far as there are any.
    pub(super) fn roots(&self, n: usize) -> Roots {
        self.lock().primes.get(&n).expect("a basis of this dimension was made").roots.clone()
    }

    /// Whether there are primes of dimension `n`.
    pub(super) fn know(&self, n: usize) -> bool {
        self.lock().primes.contains_key(&n)
    }

    pub(super) fn used(&self) -> TableUse {
        let state = self.lock();
        let roots = |known: &Known| known.roots.forward.bytes() + known.roots.inverse.bytes();
        TableUse {
            primes: state.primes.values().map(|known| known.numbers.len()).sum(),
            bytes: state.primes.values().map(roots).sum::<usize>()
                + state.bases.values().map(|limbs| limbs.bytes()).sum::<usize>(),
        }
    }
}

impl Known {
    /// Room for the primes of a basis.
    fn new(context: &Arc<Context>, basis: &Basis) -> Result<Self> {
        let room = basis.len();
        Ok(Self { numbers: HashMap::new(), room, roots: Roots::zeros(context, basis.n(), room)? })
    }

    /// The number of a prime, whose roots are uploaded if they are not there.
    fn number(&mut self, context: &Arc<Context>, prime: &Prime) -> Result<usize> {
        if let Some(&number) = self.numbers.get(prime) {
            return Ok(number);
        }
        let (number, row) = (self.numbers.len(), prime.n() * FACTOR);
        if number == self.room {
            let most = context.limits.max_storage_buffer_binding_size as usize / row;
            if number == most {
                return Err(Error::Device(format!(
                    "{number} primes for n = {}: the window has room for no more",
                    prime.n()
                )));
            }
            let room = (2 * self.room).min(most);
            let larger = Roots::zeros(context, prime.n(), room)?;
            context.copy(whole(&self.roots.forward), larger.forward.raw(), 0);
            context.copy(whole(&self.roots.inverse), larger.inverse.raw(), 0);
            (self.room, self.roots) = (room, larger);
        }
        let upload = |to: &GpuBuffer, factors: &[Factor]| {
            let factors: Vec<[u32; 4]> = by_lane(factors).into_iter().map(words).collect();
            context.upload(to, number * row, bytemuck::cast_slice(&factors))
        };
        let table = prime.roots();
        upload(&self.roots.forward, table.forward_factors())?;
        // Number 0 belongs to no node: the last stage's root times n^-1.
        let mut factors = table.inverse_factors().to_vec();
        let last = table.modulus().mul(factors[1].value, table.n_inv().value);
        factors[0] = Factor { value: last, shoup: table.modulus().shoup(last) };
        upload(&self.roots.inverse, &factors)?;
        self.numbers.insert(prime.clone(), number);
        Ok(number)
    }
}

impl Roots {
    fn zeros(context: &Arc<Context>, n: usize, room: usize) -> Result<Self> {
        let zeros = || Ok(Arc::new(GpuBuffer::zeros(context, room * n * FACTOR)?));
        Ok(Self { forward: zeros()?, inverse: zeros()? })
    }
}

/// The table of `modulus.wgsl`.
fn limbs_table(basis: &Basis, numbers: &[usize]) -> Vec<u64> {
    let entry = |(prime, &number): (&Prime, &usize)| {
        let (q, n_inv) = (prime.modulus(), prime.roots().n_inv());
        let ratio = u128::MAX / u128::from(q.value());
        let (split, block) = lazy_sums(q);
        let lazy = u64::from(split) | u64::from(block) << 32;
        [q.value(), ratio as u64, (ratio >> 64) as u64, n_inv.value, n_inv.shoup, lazy, number as u64]
    };
    basis.primes().iter().zip(numbers).flat_map(entry).collect()
}

/// How `gemm.wgsl` splits residues, bits, and how many products it sums before it folds.
fn lazy_sums(q: Modulus) -> (u32, u32) {
    let split = q.bits().div_ceil(2);
    (split, 1 << (63 - 2 * split).min(30))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_of_a_lane_lie_a_row_of_lanes_apart() {
        for n in [1024usize, 2048, 4096, 16384] {
            let (points, natural) = (n.min(CHUNK), (0..n).collect::<Vec<_>>());
            let (lanes, found) = (points / 16, by_lane(&natural));
            assert_eq!(found[..256 * (n / points)], natural[..256 * (n / points)]);
            // The deepest level: lane 5 of the last chunk has neighbours, all read in turn by all lanes.
            let (nodes, own) = (points / 2, points / 2 / lanes);
            let first = n - nodes;
            for j in 0..own {
                assert_eq!(found[first + j * lanes + 5], first + 5 * own + j);
            }
            let mut sorted = found;
            sorted.sort_unstable();
            assert_eq!(sorted, natural);
        }
    }
}
