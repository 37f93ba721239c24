//! Residues in main memory: cache-line aligned, cleared when dropped, recycled.

use std::collections::VecDeque;
use std::sync::Mutex;

use bytemuck::{Pod, Zeroable};

/// Points of one panel line: eight words, a cache line and an AVX-512 register.
pub(super) const LINE: usize = 8;

/// One cache line of residues.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
pub(super) struct Line(pub(super) [u64; LINE]);

/// Lines kept for reuse at most: 1 GiB. Fresh pages cost several times what clearing known ones does.
const POOL_LINES: usize = (1 << 30) / size_of::<Line>();

/// Cleared memory waiting for its next use.
static POOL: Mutex<Pool> = Mutex::new(Pool { free: VecDeque::new(), lines: 0 });

/// The longest unused first.
struct Pool {
    free: VecDeque<Vec<Line>>,
    lines: usize,
}

impl Pool {
    /// The smallest buffer that is large enough, unless more than a third of it would be idle.
    fn take(&mut self, lines: usize) -> Option<Vec<Line>> {
        let fitting = self.free.iter().enumerate().filter(|(_, b)| (lines..=lines + lines / 2).contains(&b.len()));
        let (at, _) = fitting.min_by_key(|(_, b)| b.len())?;
        let buffer = self.free.remove(at)?;
        self.lines -= buffer.len();
        Some(buffer)
    }

    /// Keeps a buffer and gives up those that nothing has asked for longest; returns them, to be freed outside of the lock.
    fn give(&mut self, buffer: Vec<Line>) -> Vec<Vec<Line>> {
        let mut surplus = Vec::new();
        self.lines += buffer.len();
        self.free.push_back(buffer);
        while self.lines > POOL_LINES
            && let Some(oldest) = self.free.pop_front()
        {
            self.lines -= oldest.len();
            surplus.push(oldest);
        }
        surplus
    }
}

/// Eight sizes an octave, so that buffers of one layer serve the next.
fn size_class(lines: usize) -> usize {
    lines.next_multiple_of((lines.next_power_of_two() / 16).max(1))
}

fn pool() -> std::sync::MutexGuard<'static, Pool> {
    POOL.lock().unwrap_or_else(|e| e.into_inner())
}

/// What order the residues are in; zeros are the same in both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// All zero: either.
    Zero,
    /// `[batch, limbs, n]`.
    Rows,
    /// `[limbs][n / F][batch][F]`: see [`panels`](super::panels).
    Panels,
}

/// Residues in main memory, cleared when dropped.
pub struct CpuBuffer {
    lines: Vec<Line>,
    words: usize,
    pub(super) layout: Layout,
}

impl CpuBuffer {
    /// `words` zero residues.
    pub(super) fn zeros(words: usize) -> Self {
        let count = size_class(words.div_ceil(LINE));
        let lines = pool().take(count).unwrap_or_else(|| bytemuck::zeroed_vec(count));
        Self { lines, words, layout: Layout::Zero }
    }

    /// As [`Self::zeros`], to be filled in the given layout.
    pub(super) fn new(words: usize, layout: Layout) -> Self {
        let mut buffer = Self::zeros(words);
        buffer.layout = layout;
        buffer
    }

    pub(super) fn words(&self) -> &[u64] {
        &bytemuck::cast_slice(&self.lines)[..self.words]
    }

    pub(super) fn words_mut(&mut self) -> &mut [u64] {
        &mut bytemuck::cast_slice_mut(&mut self.lines)[..self.words]
    }
}

impl Clone for CpuBuffer {
    fn clone(&self) -> Self {
        let mut copy = Self::new(self.words, self.layout);
        copy.words_mut().copy_from_slice(self.words());
        copy
    }
}

impl Drop for CpuBuffer {
    fn drop(&mut self) {
        // What is beyond the words was never written.
        let used = self.words.div_ceil(LINE);
        self.lines[..used].fill(Line::zeroed());
        // The clearing is observed here, so it is not removed as a dead store.
        zeroize::optimization_barrier(self.lines.as_slice());
        let surplus = pool().give(std::mem::take(&mut self.lines));
        drop(surplus);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_gives_what_fits_best_and_keeps_what_came_last() {
        let mut pool = Pool { free: VecDeque::new(), lines: 0 };
        let buffer = |lines| bytemuck::zeroed_vec::<Line>(lines);
        for lines in [15, 12, 16, 10] {
            assert!(pool.give(buffer(lines)).is_empty());
        }
        assert_eq!(pool.take(11).map(|b| b.len()), Some(12));
        assert_eq!(pool.take(11).map(|b| b.len()), Some(15));
        assert_eq!(pool.take(11).map(|b| b.len()), Some(16));
        assert!(pool.take(11).is_none() && pool.lines == 10);
        let surplus = pool.give(buffer(POOL_LINES - 5));
        assert_eq!((surplus.iter().map(Vec::len).collect::<Vec<_>>(), pool.lines), (vec![10], POOL_LINES - 5));
        assert!(pool.take(10).is_none());
    }

    #[test]
    fn recycled_memory_is_clear_and_aligned() {
        for round in 0..3 {
            let mut b = CpuBuffer::new(12_345, Layout::Rows);
            assert!(b.words().iter().all(|&w| w == 0) && b.words().len() == 12_345, "round {round}");
            assert_eq!(b.words().as_ptr() as usize % 64, 0);
            b.words_mut().fill(u64::MAX);
            assert_eq!(b.clone().words(), b.words());
        }
    }
}
