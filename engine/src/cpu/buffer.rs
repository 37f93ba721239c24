//! Residues in main memory: cache-line aligned, cleared when dropped, recycled.
//!
//! Fresh pages cost more than the kernels that fill them: small ones are faulted in by the thousand, and an allocator
//! clears them at once, on the calling thread. So large buffers are mapped, in huge pages where the system has them,
//! and everything is kept for its next use.

use std::collections::VecDeque;
use std::sync::Mutex;

use bytemuck::{Pod, Zeroable};
use memmap2::MmapMut;
use rayon::prelude::*;

/// Points of one panel line: eight words, a cache line and an AVX-512 register.
pub(super) const LINE: usize = 8;

/// One cache line of residues.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
pub(super) struct Line(pub(super) [u64; LINE]);

/// Lines kept for reuse at most: 1.5 GiB.
const POOL_LINES: usize = (3 << 29) / size_of::<Line>();

/// Buffers of at least so many lines (1 MiB) are mapped.
const MAPPED_LINES: usize = (1 << 20) / size_of::<Line>();

/// Lines of the smallest mapping, 64 MiB: of address space, as pages that were never written take no memory. Few sizes
/// mean that a buffer finds a used one.
const SLAB_LINES: usize = (64 << 20) / size_of::<Line>();

/// Whole lines, all zero when made.
struct Memory {
    lines: Lines,
    /// Lines that were ever in use, and take memory.
    touched: usize,
}

enum Lines {
    Heap(Vec<Line>),
    Mapped(MmapMut),
}

impl Memory {
    fn zeroed(lines: usize) -> Self {
        let mapped = if lines >= MAPPED_LINES { map(lines.next_power_of_two().max(SLAB_LINES)) } else { None };
        let lines = mapped.map_or_else(|| Lines::Heap(bytemuck::zeroed_vec(lines)), Lines::Mapped);
        Self { lines, touched: 0 }
    }

    fn lines(&self) -> &[Line] {
        match &self.lines {
            Lines::Heap(lines) => lines,
            Lines::Mapped(map) => bytemuck::cast_slice(map),
        }
    }

    fn lines_mut(&mut self) -> &mut [Line] {
        match &mut self.lines {
            Lines::Heap(lines) => lines,
            Lines::Mapped(map) => bytemuck::cast_slice_mut(map),
        }
    }

    /// How many lines.
    fn len(&self) -> usize {
        self.lines().len()
    }

    /// Clears the first `used` lines, which are all that are not zero.
    fn clear(&mut self, used: usize) {
        self.touched = self.touched.max(used);
        let lines = &mut self.lines_mut()[..used];
        if used < MAPPED_LINES {
            lines.fill(Line::zeroed());
        } else {
            lines.par_chunks_mut(MAPPED_LINES / 4).for_each(|part| part.fill(Line::zeroed()));
        }
        // The clearing is observed here, so it is not removed as a dead store.
        zeroize::optimization_barrier(self.lines());
    }
}

/// Fresh pages, huge ones where the system has them.
fn map(lines: usize) -> Option<MmapMut> {
    let map = MmapMut::map_anon(lines * size_of::<Line>()).ok()?;
    // Only advice.
    #[cfg(target_os = "linux")]
    let _ = map.advise(memmap2::Advice::HugePage);
    Some(map)
}

/// Cleared memory waiting for its next use.
static POOL: Mutex<Pool> = Mutex::new(Pool { free: VecDeque::new(), touched: 0 });

/// The longest unused first.
struct Pool {
    free: VecDeque<Memory>,
    /// Lines that take memory.
    touched: usize,
}

impl Pool {
    /// The smallest that is large enough, and of those the one that was touched most; none far too large.
    fn take(&mut self, lines: usize) -> Option<Memory> {
        let most = if lines < MAPPED_LINES { lines + lines / 2 } else { usize::MAX };
        let fitting = self.free.iter().enumerate().filter(|(_, m)| (lines..=most).contains(&m.len()));
        let (at, _) = fitting.min_by_key(|(_, m)| (m.len(), usize::MAX - m.touched))?;
        let memory = self.free.remove(at)?;
        self.touched -= memory.touched;
        Some(memory)
    }

    /// Keeps memory and gives up what nothing has asked for longest; returns that, to be freed outside of the lock.
    fn give(&mut self, memory: Memory) -> Vec<Memory> {
        let mut surplus = Vec::new();
        self.touched += memory.touched;
        self.free.push_back(memory);
        while self.touched > POOL_LINES
            && let Some(oldest) = self.free.pop_front()
        {
            self.touched -= oldest.touched;
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
pub(crate) struct CpuBuffer {
    memory: Memory,
    words: usize,
    pub(super) layout: Layout,
}

impl CpuBuffer {
    /// `words` zero residues.
    pub(super) fn zeros(words: usize) -> Self {
        let count = size_class(words.div_ceil(LINE));
        let recycled = pool().take(count);
        Self { memory: recycled.unwrap_or_else(|| Memory::zeroed(count)), words, layout: Layout::Zero }
    }

    /// As [`Self::zeros`], to be filled in the given layout.
    pub(super) fn new(words: usize, layout: Layout) -> Self {
        let mut buffer = Self::zeros(words);
        buffer.layout = layout;
        buffer
    }

    pub(super) fn words(&self) -> &[u64] {
        &bytemuck::cast_slice(self.memory.lines())[..self.words]
    }

    pub(super) fn words_mut(&mut self) -> &mut [u64] {
        &mut bytemuck::cast_slice_mut(self.memory.lines_mut())[..self.words]
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
        self.memory.clear(self.words.div_ceil(LINE));
        let nothing = Memory { lines: Lines::Heap(Vec::new()), touched: 0 };
        let surplus = pool().give(std::mem::replace(&mut self.memory, nothing));
        drop(surplus);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(lines: usize, touched: usize) -> Memory {
        Memory { touched, ..Memory::zeroed(lines) }
    }

    #[test]
    fn a_pool_gives_what_fits_best_and_keeps_what_came_last() {
        let mut pool = Pool { free: VecDeque::new(), touched: 0 };
        for lines in [15, 12, 16, 10] {
            assert!(pool.give(memory(lines, lines)).is_empty());
        }
        assert_eq!(pool.take(11).map(|m| m.len()), Some(12));
        assert_eq!(pool.take(11).map(|m| m.len()), Some(15));
        assert_eq!(pool.take(11).map(|m| m.len()), Some(16));
        assert!(pool.take(11).is_none() && pool.touched == 10);
        let surplus = pool.give(memory(POOL_LINES - 5, POOL_LINES - 5));
        assert_eq!((surplus.iter().map(Memory::len).collect::<Vec<_>>(), pool.touched), (vec![10], POOL_LINES - 5));
        assert!(pool.take(10).is_none());
    }

    #[test]
    fn large_buffers_share_sizes_and_reuse_what_was_touched() {
        let mut pool = Pool { free: VecDeque::new(), touched: 0 };
        for touched in [MAPPED_LINES, 3 * MAPPED_LINES, 2 * MAPPED_LINES] {
            assert!(pool.give(memory(touched, touched)).is_empty());
        }
        assert_eq!(pool.take(SLAB_LINES).map(|m| (m.len(), m.touched)), Some((SLAB_LINES, 3 * MAPPED_LINES)));
        assert_eq!(pool.take(MAPPED_LINES).map(|m| (m.len(), m.touched)), Some((SLAB_LINES, 2 * MAPPED_LINES)));
        assert!(pool.take(SLAB_LINES + 1).is_none());
    }

    #[test]
    fn recycled_memory_is_clear_and_aligned() {
        for (round, words) in [12_345, 345, 12_345, 1_234_567, 123_456, 1_234_567].into_iter().enumerate() {
            let mut b = CpuBuffer::new(words, Layout::Rows);
            assert!(b.words().iter().all(|&w| w == 0) && b.words().len() == words, "round {round}");
            assert_eq!(b.words().as_ptr() as usize % 64, 0);
            b.words_mut().fill(u64::MAX);
            assert_eq!(b.clone().words(), b.words());
        }
    }
}
