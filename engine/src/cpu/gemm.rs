//! Blocking of the modular matrix product at eight frequencies, the entries being lines of eight words.
//!
//! The sum over k is cut into pieces that the lazy accumulators of the micro-kernel hold; rows into blocks whose piece of W stays in the
//! second-level cache; columns into the micro-kernel's width, whose piece of X is copied together into the first-level
//! cache (in its panel it lies a power of two apart as often as not). Meanwhile the next pieces are fetched from memory, whose latency the strided access
//! would expose otherwise. Several right factors share each block of W. The micro-kernel then sums a few rows by a few columns in registers, reduces once, and adds what earlier pieces
//! gave. Results too large for the caches are written around them.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};

use super::buffer::LINE;
use crate::backend::GemmShape;

/// What a micro-kernel is given: lines of W rows `w_stride` words apart, a packed piece of X `[k][columns]`, lines
/// of Y rows `y_stride` words apart, and whether Y holds earlier pieces' sums.
pub(super) struct Tile<'a> {
    pub(super) depth: usize,
    pub(super) w: &'a [u64],
    pub(super) w_stride: usize,
    pub(super) x: &'a [u64],
    pub(super) y: &'a mut [u64],
    pub(super) y_stride: usize,
    pub(super) accumulate: bool,
    /// Whether to write Y around the caches; lines are aligned then.
    pub(super) stream: bool,
}

/// Sizes of a blocking.
pub(super) struct Blocking {
    /// Products a lazy sum holds.
    pub(super) depth: usize,
    /// Rows and columns of the micro-kernel.
    pub(super) rows: usize,
    pub(super) cols: usize,
}

/// Words of a block of W: with the next block, which is fetched meanwhile, it fits the second-level cache.
const W_WORDS: usize = 24 << 10;

/// Results of more words than this leave the caches before they are read again.
pub(super) const STREAM_WORDS: usize = 1 << 20;

/// A right factor's panel and its product's.
pub(super) struct Side<'a> {
    pub(super) x: &'a [u64],
    pub(super) y: &'a mut [u64],
}

/// One panel of the products: W and whatever follows it in memory, each X with its Y, and whether Y is streamed.
pub(super) struct Panel<'a> {
    pub(super) w: &'a [u64],
    pub(super) sides: Vec<Side<'a>>,
    pub(super) stream: bool,
}

/// Fetches the line at a word of `words`, if there is one, to the second-level cache.
#[inline]
fn prefetch(words: &[u64], at: usize) {
    if let Some(word) = words.get(at) {
        // SAFETY: a prefetch of any address is harmless.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(std::ptr::from_ref(word).cast()) };
    }
}

/// A block of W that is wanted next, fetched a few lines at a time.
struct Upcoming<'a> {
    w: &'a [u64],
    /// The word of its first line; lines of a row, and words from row to row.
    first: usize,
    depth: usize,
    stride: usize,
    /// Lines fetched, to be fetched, and a step's.
    done: usize,
    lines: usize,
    each: usize,
}

impl Upcoming<'_> {
    fn step(&mut self) {
        let end = self.lines.min(self.done + self.each);
        for line in self.done..end {
            prefetch(self.w, self.first + line / self.depth * self.stride + line % self.depth * LINE);
        }
        self.done = end;
    }
}

/// Calls `kernel(rows, columns, tile)` for all tiles of one panel; `pack` copies a line of X.
pub(super) fn for_each_tile(
    size: GemmShape,
    blocking: &Blocking,
    panel: Panel<'_>,
    packed: &mut Vec<u64>,
    pack: impl Fn(&mut [u64; LINE], &[u64; LINE]),
    kernel: impl Fn(usize, usize, Tile<'_>),
) {
    let GemmShape { rows, inner, cols } = size;
    let Panel { w, mut sides, stream } = panel;
    packed.resize(blocking.depth.min(inner) * blocking.cols.min(cols) * LINE, 0);
    for k0 in (0..inner).step_by(blocking.depth) {
        let depth = blocking.depth.min(inner - k0);
        let block = (W_WORDS / (depth * LINE)).next_multiple_of(blocking.rows);
        for r0 in (0..rows).step_by(block) {
            let end = rows.min(r0 + block);
            let heights = (end - r0).div_ceil(blocking.rows);
            let steps = sides.len() * cols.div_ceil(blocking.cols) * heights;
            let mut upcoming = upcoming(size, w, k0, depth, end, block, steps);
            for Side { x, y } in &mut sides {
                for c0 in (0..cols).step_by(blocking.cols) {
                    let width = blocking.cols.min(cols - c0);
                    for (k, to) in packed.chunks_exact_mut(width * LINE).take(depth).enumerate() {
                        let from = &x[((k0 + k) * cols + c0) * LINE..][..width * LINE];
                        to.as_chunks_mut().0.iter_mut().zip(from.as_chunks().0).for_each(|(t, f)| pack(t, f));
                    }
                    let per_tile = depth.div_ceil(heights);
                    for (i, r) in (r0..end).step_by(blocking.rows).enumerate() {
                        let height = blocking.rows.min(end - r);
                        for k in (k0 + i * per_tile)..(k0 + depth).min(k0 + (i + 1) * per_tile) {
                            (c0 + width..cols.min(c0 + width + blocking.cols))
                                .for_each(|c| prefetch(x, (k * cols + c) * LINE));
                        }
                        upcoming.step();
                        let tile = Tile {
                            depth,
                            w: &w[(r * inner + k0) * LINE..],
                            w_stride: inner * LINE,
                            x: packed,
                            y: &mut y[(r * cols + c0) * LINE..],
                            y_stride: cols * LINE,
                            accumulate: k0 > 0,
                            stream: stream && k0 + depth == inner,
                        };
                        kernel(height, width, tile);
                    }
                }
            }
        }
    }
}

/// The block of W after rows `..end` at depth `k0`, to be fetched in `steps` steps.
fn upcoming(
    size: GemmShape,
    w: &[u64],
    k0: usize,
    depth: usize,
    end: usize,
    block: usize,
    steps: usize,
) -> Upcoming<'_> {
    let GemmShape { rows, inner, .. } = size;
    // The last one is followed by the next panel's first.
    let (row, k) = match (end < rows, k0 + depth < inner) {
        (true, _) => (end, k0),
        (false, true) => (0, k0 + depth),
        (false, false) => (rows, 0),
    };
    let depth = depth.min(inner - k);
    let lines = block.min(if row == rows { rows } else { rows - row }) * depth;
    Upcoming {
        w,
        first: (row * inner + k) * LINE,
        depth,
        stride: inner * LINE,
        done: 0,
        lines,
        each: lines.div_ceil(steps),
    }
}

/// Calls a micro-kernel generic over its rows and columns for sizes known at run time.
macro_rules! by_size {
    ($kernel:ident, $rows:expr, $cols:expr, $args:tt; $($r:literal $c:literal),*) => {
        match ($rows, $cols) {
            $(($r, $c) => $kernel::<$r, $c> $args,)*
            size => unreachable!("no micro-kernel of {size:?}"),
        }
    };
}

pub(super) use by_size;
