//! Transfers in stock: made ahead, with choices that nobody chose, in the order in which both parties made them.

use std::collections::VecDeque;

use zeroize::Zeroizing;

/// Labels not yet drawn; cleared when dropped.
#[derive(Default)]
pub(super) struct Stock {
    /// Each with the number of labels in it that are gone.
    full: VecDeque<(Zeroizing<Vec<u128>>, usize)>,
    /// The last buffer that was emptied.
    spare: Option<Zeroizing<Vec<u128>>>,
    count: usize,
}

impl Stock {
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// A buffer of `len` labels to fill, whatever is in it; one that has served where there is one.
    pub(super) fn buffer(&mut self, len: usize) -> Zeroizing<Vec<u128>> {
        match self.spare.take() {
            Some(spare) if spare.len() == len => spare,
            _ => Zeroizing::new(vec![0; len]),
        }
    }

    /// Adds the labels of a buffer but for the first `spent`.
    pub(super) fn push(&mut self, labels: Zeroizing<Vec<u128>>, spent: usize) {
        self.count += labels.len() - spent;
        self.full.push_back((labels, spent));
    }

    /// The next labels.
    ///
    /// # Panics
    /// If there are fewer.
    pub(super) fn draw(&mut self, mut out: &mut [u128]) {
        assert!(out.len() <= self.count, "{} transfers drawn of {} in stock", out.len(), self.count);
        self.count -= out.len();
        while !out.is_empty() {
            let (labels, gone) = self.full.front_mut().expect("the count is that of all buffers");
            let part = out.len().min(labels.len() - *gone);
            let (now, later) = out.split_at_mut(part);
            now.copy_from_slice(&labels[*gone..][..part]);
            *gone += part;
            out = later;
            if *gone == labels.len() {
                self.spare = self.full.pop_front().map(|(labels, _)| labels);
            }
        }
    }
}
