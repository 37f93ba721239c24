//! Blocking of the modular matrix product at eight frequencies, the entries being lines of eight words.
//!
//! The sum over k is cut into pieces that the lazy accumulators of the micro-kernel hold. The pieces of X, of all right
//! factors, are copied together as the micro-kernel reads them (in their panels, lines lie a power of two apart as
//! often as not) and stay in the second-level cache. Rows are cut into blocks whose piece of W does too; meanwhile the
//! next block is fetched from memory, whose latency the strided access would expose otherwise. The micro-kernel sums a
//! few rows by a few columns in registers, reduces once, and adds what earlier pieces gave. Results too large for the
//! caches are written around them.

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

/// Words of a block of W: with the next block, which is fetched meanwhile, and with the pieces of X it fits the
/// second-level cache.
const W_WORDS: usize = 16 << 10;

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
    #[cfg(target_arch = "x86_64")]
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
    let columns = || (0..cols).step_by(blocking.cols).map(|c| (c, blocking.cols.min(cols - c)));
    for k0 in (0..inner).step_by(blocking.depth) {
        let depth = blocking.depth.min(inner - k0);
        let piece = depth * cols * LINE;
        packed.resize(packed.len().max(sides.len() * piece), 0);
        for (side, packed) in sides.iter().zip(packed.chunks_exact_mut(piece)) {
            pack_columns(&side.x[k0 * cols * LINE..][..piece], cols, columns(), packed, &pack);
        }
        let block = (W_WORDS / (depth * LINE)).next_multiple_of(blocking.rows);
        for r0 in (0..rows).step_by(block) {
            let end = rows.min(r0 + block);
            let steps = sides.len() * columns().count() * (end - r0).div_ceil(blocking.rows);
            let mut upcoming = upcoming(size, w, Block { end, rows: block, k: k0, depth }, steps);
            for (side, packed) in sides.iter_mut().zip(packed.chunks_exact(piece)) {
                for (c, width) in columns() {
                    for r in (r0..end).step_by(blocking.rows) {
                        upcoming.step();
                        let tile = Tile {
                            depth,
                            w: &w[(r * inner + k0) * LINE..],
                            w_stride: inner * LINE,
                            x: &packed[c * depth * LINE..][..width * depth * LINE],
                            y: &mut side.y[(r * cols + c) * LINE..],
                            y_stride: cols * LINE,
                            accumulate: k0 > 0,
                            stream: stream && k0 + depth == inner,
                        };
                        kernel(blocking.rows.min(end - r), width, tile);
                    }
                }
            }
        }
    }
}

/// Brings a piece of X, `[depth][cols]` lines, to `[columns of a micro-kernel][depth][its width]`, reading it in order.
fn pack_columns(
    x: &[u64],
    cols: usize,
    columns: impl Iterator<Item = (usize, usize)> + Clone,
    packed: &mut [u64],
    pack: impl Fn(&mut [u64; LINE], &[u64; LINE]),
) {
    let (x, packed) = (x.as_chunks().0, packed.as_chunks_mut().0);
    let depth = x.len() / cols;
    for (k, row) in x.chunks_exact(cols).enumerate() {
        for (c, width) in columns.clone() {
            let to = &mut packed[c * depth + k * width..][..width];
            to.iter_mut().zip(&row[c..][..width]).for_each(|(to, from)| pack(to, from));
        }
    }
}

/// A block of W: up to `rows` rows that end before row `end`, `depth` columns from column `k` on.
struct Block {
    end: usize,
    rows: usize,
    k: usize,
    depth: usize,
}

/// The block of W after this one, to be fetched in `steps` steps.
fn upcoming(size: GemmShape, w: &[u64], Block { end, rows: block, k, depth }: Block, steps: usize) -> Upcoming<'_> {
    let GemmShape { rows, inner, .. } = size;
    // The last one is followed by the next panel's first.
    let (row, k) = match (end < rows, k + depth < inner) {
        (true, _) => (end, k),
        (false, true) => (0, k + depth),
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

/// Holds the rows of sums of products to one length, and returns it with the words that a left factor goes on by for
/// each of theirs: 0 where it repeats.
#[cfg(target_arch = "x86_64")]
pub(super) fn check_dots<const C: usize>(
    left: &[&[u64]],
    right: &[[&[u64]; C]],
    out: &[&mut [u64]; C],
) -> (usize, usize) {
    let len = out[0].len();
    let step = usize::from(len == LINE || left.iter().any(|l| l.len() != LINE));
    let fits = |l: &&[u64]| l.len() == if step == 0 { LINE } else { len };
    assert!(len.is_multiple_of(LINE) && left.len() == right.len() && left.iter().all(fits));
    assert!(out.iter().all(|o| o.len() == len) && right.iter().flatten().all(|r| r.len() == len));
    (len, step)
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
