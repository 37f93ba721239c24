//! Residues in main memory: cache-line aligned, cleared when dropped, recycled.

use std::sync::Mutex;

use bytemuck::{Pod, Zeroable};

/// Points of one panel line: eight words, a cache line and an AVX-512 register.
pub(super) const LINE: usize = 8;

/// One cache line of residues.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
pub(super) struct Line(pub(super) [u64; LINE]);

/// Lines kept for reuse at most: 512 MiB. Fresh pages cost several times what clearing known ones does.
const POOL_LINES: usize = (512 << 20) / size_of::<Line>();

/// Cleared memory waiting for its next use.
static POOL: Mutex<Pool> = Mutex::new(Pool { free: Vec::new(), lines: 0 });

struct Pool {
    free: Vec<Vec<Line>>,
    lines: usize,
}

impl Pool {
    fn take(&mut self, lines: usize) -> Option<Vec<Line>> {
        let at = self.free.iter().rposition(|b| b.len() == lines)?;
        self.lines -= lines;
        Some(self.free.swap_remove(at))
    }

    fn give(&mut self, buffer: Vec<Line>) {
        if self.lines + buffer.len() <= POOL_LINES {
            self.lines += buffer.len();
            self.free.push(buffer);
        }
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
        self.lines.fill(Line::zeroed());
        // The clearing is observed here, so it is not removed as a dead store.
        zeroize::optimization_barrier(self.lines.as_slice());
        pool().give(std::mem::take(&mut self.lines));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
