//! Maxima and minima of windows: a tournament on differences. max(a, b) = b + relu(a - b), min(a, b) = a - relu(a - b),
//! for |a - b| < 2^31; a level takes an opening and its comparison.

use zeroize::Zeroizing;

use super::layer::{add, sub};
use super::streams::Words;

/// Which one is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// The largest.
    Max,
    /// The smallest.
    Min,
}

/// The elements of windows: \[place in the window\]\[channel, D, H, W of windows\]\[row\].
pub fn gather(x: &[u32], dims: [usize; 3], window: [usize; 3], rows: usize) -> Vec<Words> {
    let [d, h, w] = dims;
    let [wd, wh, ww] = window;
    let channels = x.len() / (d * h * w * rows);
    let place = |[a, b, c]: [usize; 3]| {
        let mut out = Zeroizing::new(Vec::with_capacity(x.len() / (wd * wh * ww)));
        for channel in 0..channels {
            for (z, y, v) in windows(dims, window) {
                let at = ((channel * d + z * wd + a) * h + y * wh + b) * w + v * ww + c;
                out.extend_from_slice(&x[at * rows..(at + 1) * rows]);
            }
        }
        out
    };
    (0..wd * wh * ww).map(|t| place([t / (wh * ww), t / ww % wh, t % ww])).collect()
}

fn windows([d, h, w]: [usize; 3], [wd, wh, ww]: [usize; 3]) -> impl Iterator<Item = (usize, usize, usize)> {
    (0..d / wd).flat_map(move |z| (0..h / wh).flat_map(move |y| (0..w / ww).map(move |v| (z, y, v))))
}

/// Matches of each level of a tournament of so many.
pub fn levels(mut size: usize) -> Vec<usize> {
    let mut levels = Vec::new();
    while size > 1 {
        levels.push(size / 2);
        size = size.div_ceil(2);
    }
    levels
}

/// The differences of a level's matches, one after another.
pub fn matches(players: &[Words]) -> Words {
    let all = players.chunks_exact(2).flat_map(|pair| sub(&pair[0], &pair[1]).to_vec());
    Zeroizing::new(all.collect())
}

/// Who goes on to the next level, from the rectified differences.
pub fn winners(players: Vec<Words>, rectified: &[u32], kept: Kept) -> Vec<Words> {
    let n = players[0].len();
    let winner = |(at, pair): (usize, &[Words])| match pair {
        [a, b] => {
            let more = &rectified[at * n..(at + 1) * n];
            if kept == Kept::Max { add(b, more) } else { sub(a, more) }
        }
        rest => rest[0].clone(),
    };
    players.chunks(2).enumerate().map(winner).collect()
}
