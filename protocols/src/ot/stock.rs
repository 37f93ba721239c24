//! Transfers in stock: made ahead, with choices that nobody chose, in the order in which both parties made them.

use std::borrow::Cow;
use std::collections::VecDeque;

use zeroize::Zeroizing;

/// Labels not yet drawn; cleared when dropped.
#[derive(Default)]
pub(super) struct Stock {
    /// Each with the number of labels in it that are gone.
    full: VecDeque<(Zeroizing<Vec<u128>>, usize)>,
    /// Buffers that were emptied, no more than were full at a time.
    spare: Vec<Zeroizing<Vec<u128>>>,
    count: usize,
}

impl Stock {
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// A buffer of `len` labels to fill, whatever is in it; one that has served where there is one.
    pub(super) fn buffer(&mut self, len: usize) -> Zeroizing<Vec<u128>> {
        match self.spare.iter().rposition(|spare| spare.len() == len) {
            Some(at) => self.spare.swap_remove(at),
            None => Zeroizing::new(vec![0; len]),
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
    pub(super) fn draw(&mut self, out: &mut [u128]) {
        self.copy(0, out);
        self.pass(out.len());
    }

    /// `len` labels from number `at` on, which stay; a copy where they don't lie in one buffer.
    ///
    /// # Panics
    /// If there are fewer.
    pub(super) fn view(&self, at: usize, len: usize) -> Cow<'_, [u128]> {
        let mut before = at;
        for (labels, gone) in &self.full {
            let here = &labels[*gone..];
            if before + len <= here.len() {
                return Cow::Borrowed(&here[before..][..len]);
            }
            if before < here.len() {
                break;
            }
            before -= here.len();
        }
        let mut copied = vec![0; len];
        self.copy(at, &mut copied);
        Cow::Owned(copied)
    }

    fn copy(&self, mut at: usize, mut out: &mut [u128]) {
        assert!(at + out.len() <= self.count, "{} transfers drawn of {} in stock", out.len(), self.count - at);
        for (labels, gone) in &self.full {
            let here = &labels[*gone..];
            let from = at.min(here.len());
            at -= from;
            let (now, later) = out.split_at_mut(out.len().min(here.len() - from));
            now.copy_from_slice(&here[from..][..now.len()]);
            out = later;
        }
    }

    /// All labels are gone.
    pub(super) fn pass_all(&mut self) {
        self.pass(self.count);
    }

    /// The next `count` labels are gone.
    ///
    /// # Panics
    /// If there are fewer.
    pub(super) fn pass(&mut self, mut count: usize) {
        assert!(count <= self.count, "{count} transfers drawn of {} in stock", self.count);
        self.count -= count;
        while count > 0 {
            let (labels, gone) = self.full.front_mut().expect("the count is that of all buffers");
            let part = count.min(labels.len() - *gone);
            (*gone, count) = (*gone + part, count - part);
            if *gone == labels.len() {
                self.spare.extend(self.full.pop_front().map(|(labels, _)| labels));
            }
        }
    }
}
