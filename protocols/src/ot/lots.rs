//! Random transfers from stock in lots, which threads hash side by side: the same transfers under the same keys as in
//! one piece after the other.

use std::borrow::Cow;

use blindvox_engine::aes::{Aes128, INSTANCES_PER_KEY, KeySequence};
use zeroize::Zeroizing;

use super::stock::Stock;
use super::{OtReceiver, OtSender};

/// Transfers of one direction and the keys that hash them, [`INSTANCES_PER_KEY`] each.
pub(crate) struct Lot<'a> {
    labels: Labels<'a>,
    keys: &'a [Aes128],
    /// The sender's Delta; zero at the receiver.
    delta: u128,
}

/// Where they lie in stock, or a copy of what lies in two buffers.
enum Labels<'a> {
    Stocked(&'a [u128]),
    Copied(Zeroizing<Vec<u128>>),
}

/// What a thread hashes with.
type Hashes = Zeroizing<[u128; INSTANCES_PER_KEY]>;

impl Lot<'_> {
    fn labels(&self) -> &[u128] {
        match &self.labels {
            Labels::Stocked(labels) => labels,
            Labels::Copied(labels) => labels,
        }
    }

    /// The low 32 bits of the hashes of labels xor `offset`.
    fn hash(&self, offset: u128, pads: &mut [u32]) {
        let mut hashes: Hashes = Zeroizing::new([0; INSTANCES_PER_KEY]);
        let pieces = self.labels().chunks(INSTANCES_PER_KEY).zip(pads.chunks_mut(INSTANCES_PER_KEY));
        for ((labels, pads), key) in pieces.zip(self.keys) {
            let hashes = &mut hashes[..labels.len()];
            key.hash(labels, offset, hashes);
            pads.iter_mut().zip(&*hashes).for_each(|(p, h)| *p = *h as u32);
        }
    }

    /// Both pads of each transfer, at its sender: of v, and of v xor Delta.
    pub(crate) fn both(&self, zero: &mut [u32], one: &mut [u32]) {
        self.hash(0, zero);
        self.hash(self.delta, one);
    }

    /// The chosen pad of each transfer and its choice, at its receiver.
    pub(crate) fn chosen(&self, pads: &mut [u32], choices: &mut [u8]) {
        self.hash(0, pads);
        choices.iter_mut().zip(self.labels()).for_each(|(c, w)| *c = *w as u8 & 1);
    }
}

/// Calls `work` with lots of the next transfers, which are then gone.
fn with_lots<R>(
    stock: &mut Stock,
    keys: &mut KeySequence,
    delta: u128,
    sizes: impl Iterator<Item = usize> + Clone,
    work: impl FnOnce(&[Lot<'_>]) -> R,
) -> R {
    let mut ciphers = vec![Aes128::default(); sizes.clone().map(|n| n.div_ceil(INSTANCES_PER_KEY)).sum()];
    keys.next_keys(&mut ciphers);
    let (mut at, mut rest) = (0, &ciphers[..]);
    let lots: Vec<Lot<'_>> = sizes
        .map(|n| {
            let (keys, more) = rest.split_at(n.div_ceil(INSTANCES_PER_KEY));
            rest = more;
            let labels = match stock.view(at, n) {
                Cow::Borrowed(labels) => Labels::Stocked(labels),
                Cow::Owned(labels) => Labels::Copied(Zeroizing::new(labels)),
            };
            at += n;
            Lot { labels, keys, delta }
        })
        .collect();
    let result = work(&lots);
    drop(lots);
    stock.pass(at);
    result
}

impl OtSender {
    /// Calls `work` with the next random transfers in lots of these sizes. There must be as many in stock.
    pub(crate) fn with_lots<R>(
        &mut self,
        sizes: impl Iterator<Item = usize> + Clone,
        work: impl FnOnce(&[Lot<'_>]) -> R,
    ) -> R {
        let delta = self.delta();
        with_lots(&mut self.stock, &mut self.hash_keys, delta, sizes, work)
    }
}

impl OtReceiver {
    /// As [`OtSender::with_lots`].
    pub(crate) fn with_lots<R>(
        &mut self,
        sizes: impl Iterator<Item = usize> + Clone,
        work: impl FnOnce(&[Lot<'_>]) -> R,
    ) -> R {
        with_lots(&mut self.stock, &mut self.hash_keys, 0, sizes, work)
    }
}
