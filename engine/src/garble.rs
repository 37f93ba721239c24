//! Half-gates garbling (Zahur, Rosulek, Evans: "Two halves make a whole", 2015) of one gate over many instances.
//!
//! Labels of a wire lie in one array, an instance an element; a wire's one label is its zero label xor Delta, and the
//! lowest bit of a label is its colour (Delta's is 1). With H the [gate hash](GateHash) under the gate's first key, H'
//! under its second, and p the colour of a zero label, an AND gate with zero labels A, B, C has two table rows
//!
//! ```text
//! T_G = H(A) ^ H(A ^ Delta) ^ p_b Delta      T_E = H'(B) ^ H'(B ^ Delta) ^ A
//! C   = H(A) ^ p_a T_G ^ H'(B) ^ p_b (T_E ^ A)
//! ```
//!
//! and evaluates, on active labels a, b with colours s, to H(a) ^ s_a T_G ^ H'(b) ^ s_b (T_E ^ a). XOR gates are
//! free. Both inputs of a gate are the xor of two wires, and a third wire is added to its output,
//! because nearly every gate of an adder is surrounded by XORs: that saves their passes over memory.
//!
//! Keys are public and fresh for every gate and at most 256 instances. Table layout: all T_G, then all T_E.

pub(crate) mod keys;
#[cfg(target_arch = "x86_64")]
mod vaes;

pub use keys::{GateHash, GateKeys};

use std::hint::black_box;

use crate::aes::{Aes128, Body, INSTANCES_PER_KEY};
use crate::chacha::ChaCha12;

/// A row of a garbled table.
pub type Row = [u8; 16];

/// An AND gate's operands: (`a[0]` xor `a[1]`) and (`b[0]` xor `b[1]`), `sum` added to the output. All slices have
/// one length, at most [`INSTANCES_PER_KEY`]; what is not wanted is a slice of zeros.
#[derive(Clone, Copy)]
pub struct AndInputs<'a> {
    /// First input.
    pub a: [&'a [u128]; 2],
    /// Second input.
    pub b: [&'a [u128]; 2],
    /// Added to the output.
    pub sum: &'a [u128],
}

/// What garbling an AND gate gives.
pub struct Garbled<'a> {
    /// The output's zero labels.
    pub labels: &'a mut [u128],
    /// The table, two rows an instance.
    pub table: &'a mut [Row],
}

impl AndInputs<'_> {
    fn check(&self, out: usize, rows: usize) {
        let lens = [self.a[0], self.a[1], self.b[0], self.b[1], self.sum].map(<[u128]>::len);
        assert!(lens.iter().all(|&l| l == out) && out <= INSTANCES_PER_KEY, "operands of {lens:?} and {out} labels");
        assert_eq!(rows, 2 * out, "two table rows an instance");
    }
}

/// A public key of a gate hash, and gates under it.
pub trait GateKey: Sized {
    /// `out[i]` = H(`x[i]` xor `offset`).
    ///
    /// # Panics
    /// If the lengths differ.
    fn hash(&self, x: &[u128], offset: u128, out: &mut [u128]);

    /// Garbles: from zero labels to the output's zero labels and the table.
    /// `flips` says which inputs are used negated.
    ///
    /// # Panics
    /// If lengths do not fit.
    fn garble_and(keys: &[Self; 2], delta: u128, inputs: AndInputs<'_>, flips: [bool; 2], out: Garbled<'_>) {
        inputs.check(out.labels.len(), out.table.len());
        let flips = flips.map(|f| delta * u128::from(f));
        garble_by(|half, x, offset, out| keys[half].hash(x, offset, out), delta, inputs, flips, out);
    }

    /// Evaluates: from active labels to the output's active labels. Meanwhile brings the rows that are needed `next`
    /// near: tables come from another core or from memory, and waiting for them would take longer than the hashes.
    ///
    /// # Panics
    /// If lengths do not fit; `next` may have any.
    fn evaluate_and(keys: &[Self; 2], inputs: AndInputs<'_>, table: &[Row], next: &[Row], out: &mut [u128]) {
        let _ = next;
        inputs.check(out.len(), table.len());
        evaluate_by(|half, x, out| keys[half].hash(x, 0, out), inputs, table, out);
    }
}

impl GateKey for ChaCha12 {
    fn hash(&self, x: &[u128], offset: u128, out: &mut [u128]) {
        self.hash(x, offset, out);
    }
}

impl GateKey for Aes128 {
    fn hash(&self, x: &[u128], offset: u128, out: &mut [u128]) {
        self.hash(x, offset, out);
    }

    fn garble_and(keys: &[Self; 2], delta: u128, inputs: AndInputs<'_>, flips: [bool; 2], out: Garbled<'_>) {
        garble_with(Body::best(), keys, delta, inputs, flips, out);
    }

    fn evaluate_and(keys: &[Self; 2], inputs: AndInputs<'_>, table: &[Row], next: &[Row], out: &mut [u128]) {
        evaluate_with(Body::best(), keys, inputs, table, next, out);
    }
}

/// [`GateKey::garble_and`] of AES by a given body, which this processor must run ([`Body::available`]): for tests and
/// for checks of timing. `flips` says which inputs are used negated.
///
/// # Panics
/// If lengths do not fit.
pub fn garble_with(
    body: Body,
    keys: &[Aes128; 2],
    delta: u128,
    inputs: AndInputs<'_>,
    flips: [bool; 2],
    out: Garbled<'_>,
) {
    inputs.check(out.labels.len(), out.table.len());
    let flips = flips.map(|f| delta * u128::from(f));
    #[cfg(target_arch = "x86_64")]
    if body == Body::Vaes {
        // SAFETY: the body is only chosen on a processor that has its features.
        return unsafe { vaes::garble(keys, delta, inputs, flips, out.labels, out.table) };
    }
    garble_by(|half, x, offset, out| keys[half].hash_with(body, x, offset, out), delta, inputs, flips, out);
}

/// The formulas over any hash `(key, inputs, offset, out)`; `flips` are the offsets of negated inputs.
fn garble_by(
    hash: impl Fn(usize, &[u128], u128, &mut [u128]),
    delta: u128,
    inputs: AndInputs<'_>,
    flips: [u128; 2],
    out: Garbled<'_>,
) {
    let Garbled { labels: out, table } = out;
    let n = out.len();
    let (mut a, mut b) = ([0; INSTANCES_PER_KEY], [0; INSTANCES_PER_KEY]);
    for i in 0..n {
        a[i] = inputs.a[0][i] ^ inputs.a[1][i] ^ flips[0];
        b[i] = inputs.b[0][i] ^ inputs.b[1][i] ^ flips[1];
    }
    let mut hashes = [[0; INSTANCES_PER_KEY]; 4];
    for (h, (half, x, offset)) in hashes.iter_mut().zip([(0, &a, 0), (0, &a, delta), (1, &b, 0), (1, &b, delta)]) {
        hash(half, &x[..n], offset, &mut h[..n]);
    }
    let (generator, evaluator) = table.split_at_mut(n);
    for i in 0..n {
        let (pa, pb) = ((a[i] & 1).wrapping_neg(), (b[i] & 1).wrapping_neg());
        let tg = hashes[0][i] ^ hashes[1][i] ^ (pb & delta);
        let difference = hashes[2][i] ^ hashes[3][i];
        generator[i] = tg.to_le_bytes();
        evaluator[i] = (difference ^ a[i]).to_le_bytes();
        out[i] = hashes[0][i] ^ (pa & tg) ^ hashes[2][i] ^ (pb & difference) ^ inputs.sum[i];
    }
}

/// [`GateKey::evaluate_and`] of AES by a given body, as [`garble_with`].
///
/// # Panics
/// If lengths do not fit; `next` may have any.
pub fn evaluate_with(
    body: Body,
    keys: &[Aes128; 2],
    inputs: AndInputs<'_>,
    table: &[Row],
    next: &[Row],
    out: &mut [u128],
) {
    inputs.check(out.len(), table.len());
    #[cfg(target_arch = "x86_64")]
    if body == Body::Vaes {
        // SAFETY: the body is only chosen on a processor that has its features.
        return unsafe { vaes::evaluate(keys, inputs, table, next, out) };
    }
    evaluate_by(|half, x, out| keys[half].hash_with(body, x, 0, out), inputs, table, out);
}

/// The formula over any hash `(key, inputs, out)`.
fn evaluate_by(hash: impl Fn(usize, &[u128], &mut [u128]), inputs: AndInputs<'_>, table: &[Row], out: &mut [u128]) {
    let n = out.len();
    let (mut a, mut b) = ([0; INSTANCES_PER_KEY], [0; INSTANCES_PER_KEY]);
    for i in 0..n {
        a[i] = inputs.a[0][i] ^ inputs.a[1][i];
        b[i] = inputs.b[0][i] ^ inputs.b[1][i];
    }
    let mut hashes = [[0; INSTANCES_PER_KEY]; 2];
    hash(0, &a[..n], &mut hashes[0][..n]);
    hash(1, &b[..n], &mut hashes[1][..n]);
    let (generator, evaluator) = table.split_at(n);
    for i in 0..n {
        let (sa, sb) = ((a[i] & 1).wrapping_neg(), (b[i] & 1).wrapping_neg());
        let tg = u128::from_le_bytes(generator[i]);
        let te = u128::from_le_bytes(evaluator[i]);
        out[i] = hashes[0][i] ^ (sa & tg) ^ hashes[1][i] ^ (sb & (te ^ a[i])) ^ inputs.sum[i];
    }
}

/// `out[i]` = `a[i]` xor `b[i]`.
///
/// # Panics
/// If lengths differ.
pub fn xor(a: &[u128], b: &[u128], out: &mut [u128]) {
    assert!(a.len() == out.len() && b.len() == out.len(), "one length");
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx512f") {
        // SAFETY: the feature was just found.
        return unsafe { vaes::xor(a, b, out) };
    }
    out.iter_mut().zip(a).zip(b).for_each(|((o, a), b)| *o = a ^ b);
}

/// Adds `delta` to the labels whose bit is set: bit i % 128 of word i / 128 belongs to label i.
///
/// # Panics
/// With fewer bits than labels.
pub fn add_selected(labels: &mut [u128], bits: &[u128], delta: u128) {
    assert!(labels.len() <= 128 * bits.len(), "{} labels, {} words of bits", labels.len(), bits.len());
    #[cfg(target_arch = "x86_64")]
    if Body::best() == Body::Vaes {
        // SAFETY: the body is only chosen on a processor that has its features.
        return unsafe { vaes::add_selected(labels, bits, delta) };
    }
    add_selected_portable(labels, bits, delta);
}

fn add_selected_portable(labels: &mut [u128], bits: &[u128], delta: u128) {
    for (labels, word) in labels.chunks_mut(128).zip(bits) {
        for (i, label) in labels.iter_mut().enumerate() {
            // Seen through, the compiler makes a branch of the bit.
            let mask = black_box((word >> i) as u64 & 1).wrapping_neg();
            *label ^= delta & (u128::from(mask) << 64 | u128::from(mask));
        }
    }
}

/// The colours of up to 128 labels, label i's in bit i.
pub fn colours(labels: &[u128]) -> u128 {
    labels.iter().rev().fold(0, |word, label| (word << 1) | (label & 1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::prng::Prng;

    struct Case {
        keys: [Aes128; 2],
        delta: u128,
        wires: [Vec<u128>; 5],
    }

    impl Case {
        fn new(seed: u8, n: usize) -> Self {
            let mut prng = Prng::from_seed_for_tests([seed; 32]);
            let keys = prng.fill::<u128>(2);
            Self {
                keys: [Aes128::new(keys[0]), Aes128::new(keys[1])],
                delta: prng.fill::<u128>(1)[0] | 1,
                wires: std::array::from_fn(|_| prng.fill(n)),
            }
        }

        fn inputs(&self) -> AndInputs<'_> {
            inputs(&self.wires)
        }
    }

    fn inputs(w: &[Vec<u128>; 5]) -> AndInputs<'_> {
        AndInputs { a: [&w[0], &w[1]], b: [&w[2], &w[3]], sum: &w[4] }
    }

    proptest! {
        #[test]
        fn evaluation_finds_the_label_of_the_right_value(seed: u8, n in 0usize..=256, bits: [u64; 5], flips: [bool; 2]) {
            let case = Case::new(seed, n);
            let mut first = None;
            for body in Body::available() {
                let (mut zero, mut active) = (vec![0; n], vec![0; n]);
                let mut table = vec![[0; 16]; 2 * n];
                let garbled = Garbled { labels: &mut zero, table: &mut table };
                garble_with(body, &case.keys, case.delta, case.inputs(), flips, garbled);
                let bit = |wire: usize, i: usize| bits[wire].rotate_right(i as u32) & 1 == 1;
                let chosen = std::array::from_fn(|w| (0..n).map(|i| {
                    case.wires[w][i] ^ (case.delta * u128::from(bit(w, i)))
                }).collect::<Vec<_>>());
                evaluate_with(body, &case.keys, inputs(&chosen), &table, &table[n..], &mut active);
                for i in 0..n {
                    let value = ((bit(0, i) ^ bit(1, i) ^ flips[0]) & (bit(2, i) ^ bit(3, i) ^ flips[1])) ^ bit(4, i);
                    prop_assert_eq!(active[i] ^ zero[i], case.delta * u128::from(value));
                }
                let result = (zero, active, table);
                prop_assert!(first.get_or_insert_with(|| result.clone()) == &result, "{:?}", body);
            }
        }

        #[test]
        fn gates_of_either_hash_compute_and(seed: u8, n in 0usize..=256, bits: [u64; 5], flips: [bool; 2]) {
            let case = Case::new(seed, n);
            let bit = |wire: usize, i: usize| bits[wire].rotate_right(i as u32) & 1 == 1;
            let chosen = std::array::from_fn(|w| (0..n).map(|i| {
                case.wires[w][i] ^ (case.delta * u128::from(bit(w, i)))
            }).collect::<Vec<_>>());
            let mut tables = vec![];
            for hash in GateHash::ALL {
                let mut keys = GateKeys::new(hash, &[seed; 32], "test");
                keys.next_gates(3);
                let (mut zero, mut active) = (vec![0; n], vec![0; n]);
                let mut table = vec![[0; 16]; 2 * n];
                keys.garble_and(2, case.delta, case.inputs(), flips, Garbled { labels: &mut zero, table: &mut table });
                keys.evaluate_and(2, inputs(&chosen), &table, &[], &mut active);
                for i in 0..n {
                    let value = ((bit(0, i) ^ bit(1, i) ^ flips[0]) & (bit(2, i) ^ bit(3, i) ^ flips[1])) ^ bit(4, i);
                    prop_assert_eq!(active[i] ^ zero[i], case.delta * u128::from(value));
                }
                prop_assert!(n == 0 || !tables.contains(&table));
                tables.push(table);
            }
        }

        #[test]
        fn labels_are_selected_by_bits(seed: u8, n in 0usize..=256, bits: [u128; 2]) {
            let case = Case::new(seed, n);
            let (mut best, mut portable) = (case.wires[0].clone(), case.wires[0].clone());
            add_selected(&mut best, &bits, case.delta);
            add_selected_portable(&mut portable, &bits, case.delta);
            prop_assert_eq!(&best, &portable);
            let mut sum = vec![0; n];
            xor(&best, &case.wires[0], &mut sum);
            for (i, s) in sum.iter().enumerate() {
                prop_assert_eq!(*s, case.delta * (bits[i / 128] >> (i % 128) & 1));
            }
            let low = &sum[..n.min(128)];
            let mask = if low.len() == 128 { u128::MAX } else { (1 << low.len()) - 1 };
            prop_assert_eq!(colours(low), bits[0] & mask);
        }
    }
}
