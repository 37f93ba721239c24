//! Products modulo n^2 of one number a lane, for any vectors: a macro, as functions with processor features can't be
//! generic over them.
//!
//! The module that invokes it provides `V`, `Line` and, of digits of BITS bits:
//!
//! | function | value |
//! |---|---|
//! | `lo(s, a, b)`, `hi(s, a, b)` | s plus the two halves of a b; or s + a b and s, where columns hold whole products |
//! | `quotient(t, i)` | the low digit of t i |
//! | `low(s)`, `carry(s)` | s modulo 2^BITS, and s / 2^BITS |
//! | `complement(d)` | 2^BITS - 1 - d of a digit |
//! | `equal(a, b)`, `pick(s, mask, x)` | all ones where a = b; s or (mask and x) |
//! | `nothing(s)` | checks that a carry is zero, where ranges are tested |
//!
//! With n of up to 4096 bits, a column is the sum of at most 3 digits whole products, or 6 digits halves of them: below
//! 2^61 with digits of 26 or 52 bits in columns of 64, below 2^124 with 58 in 128. No sum wraps around.
//!
//! K columns at a time are in registers. A tile is the rows that reach all its columns, and triangles of those that
//! reach some.

macro_rules! kernels {
    ($k:literal columns $($j:literal)+ $(; $(#[$features:meta])+)?) => {
        use std::ops::Range;

        use $crate::bigint::numbers::{Constants, Scratch};

        /// Columns of a tile.
        const K: usize = $k;

        /// Sums of a tile: low halves, and high halves of the products one column below.
        struct Tile {
            low: [V; K],
            high: [V; K],
        }

        $($(#[$features])+)?
        #[inline]
        fn new_tile() -> Tile {
            Tile { low: [zero(); K], high: [zero(); K] }
        }

        $($(#[$features])+)?
        #[inline]
        fn stretch(x: &[Line], at: usize) -> &[Line; K] {
            x[at..].first_chunk().expect("a tile of digits")
        }

        /// Adds a b_0, a b_1, .. to columns FROM to TO - 1: a part of a row, unrolled as its length is a constant.
        $($(#[$features])+)?
        #[inline]
        fn part<const FROM: usize, const TO: usize>(tile: &mut Tile, a: &Line, b: &[Line]) {
            let (a, b) = (load(a), &b[..TO.saturating_sub(FROM)]);
            for k in FROM..TO {
                let b = load(&b[k - FROM]);
                tile.low[k] = lo(tile.low[k], a, b);
                tile.high[k] = hi(tile.high[k], a, b);
            }
        }

        /// What the last rows add to columns c to c + K - 1, c >= digits, of which they reach the first.
        $($(#[$features])+)?
        #[inline]
        fn last_rows(tile: &mut Tile, x: &[Line], y: &[Line], c: usize) {
            let (x, y) = (stretch(x, c - x.len()), stretch(y, y.len() - K));
            $(part::<0, $j>(tile, &x[$j], &y[K - $j..]);)+
        }

        /// Rows i of x times y that reach columns c to c + K - 1.
        $($(#[$features])+)?
        #[inline]
        fn rows(tile: &mut Tile, x: &[Line], y: &[Line], c: usize, rows: Range<usize>) {
            for i in rows {
                let (a, b) = (load(&x[i]), stretch(y, c - i));
                let mut digits = [zero(); K];
                for k in 0..K {
                    digits[k] = load(&b[k]);
                }
                for k in 0..K {
                    tile.low[k] = lo(tile.low[k], a, digits[k]);
                }
                for k in 0..K {
                    tile.high[k] = hi(tile.high[k], a, digits[k]);
                }
            }
        }

        /// Adds a tile to columns c to c + K, twice it if DOUBLE.
        $($(#[$features])+)?
        #[inline]
        fn fold<const DOUBLE: bool>(tile: &Tile, c: usize, columns: &mut [Line]) {
            let columns: &mut [Line; K + 1] = columns[c..].first_chunk_mut().expect("a tile of columns");
            for k in 0..=K {
                let low = if k < K { tile.low[k] } else { zero() };
                let sum = if k > 0 { add(low, tile.high[k - 1]) } else { low };
                let sum = if DOUBLE { add(sum, sum) } else { sum };
                let sum = add(load(&columns[k]), sum);
                store(&mut columns[k], sum);
            }
        }

        /// Adds columns c to c + K - 1 of x y.
        $($(#[$features])+)?
        #[inline(never)]
        fn product_tile<const DOUBLE: bool>(x: &[Line], y: &[Line], c: usize, columns: &mut [Line]) {
            let digits = x.len();
            let mut tile = new_tile();
            if c < digits {
                rows(&mut tile, x, y, c, 0..c);
                let (x, y) = (stretch(x, c), stretch(y, 0));
                $(part::<$j, K>(&mut tile, &x[$j], y);)+
            } else {
                last_rows(&mut tile, x, y, c);
                rows(&mut tile, x, y, c, c + K - digits..digits);
            }
            fold::<DOUBLE>(&tile, c, columns);
        }

        $($(#[$features])+)?
        #[inline]
        fn product<const DOUBLE: bool>(x: &[Line], y: &[Line], columns: &mut [Line]) {
            for c in (0..2 * x.len()).step_by(K) {
                product_tile::<DOUBLE>(x, y, c, columns);
            }
        }

        /// Adds twice the products x_i x_j, i < j, to columns c to c + K - 1.
        $($(#[$features])+)?
        #[inline(never)]
        fn square_tile(x: &[Line], c: usize, columns: &mut [Line]) {
            let digits = x.len();
            let mut tile = new_tile();
            if c + K == 2 * digits {
                let x = stretch(x, digits - K);
                // Row j reaches column k where j < K + k - j.
                $(part::<{ (2 * $j + 1_usize).saturating_sub(K) }, $j>(
                    &mut tile,
                    &x[$j],
                    &x[K + (2 * $j + 1_usize).saturating_sub(K) - $j..],
                );)+
            } else {
                if c >= digits {
                    last_rows(&mut tile, x, x, c);
                }
                rows(&mut tile, x, x, c, (c + K).saturating_sub(digits)..c / 2);
                // Row c / 2 + s reaches columns above 2 s.
                let x = stretch(x, c / 2);
                $(part::<{ 2 * $j + 1 }, K>(&mut tile, &x[$j], &x[$j + 1..]);)+
            }
            fold::<true>(&tile, c, columns);
        }

        $($(#[$features])+)?
        #[inline]
        fn square_columns(x: &[Line], columns: &mut [Line]) {
            for c in (0..2 * x.len()).step_by(K) {
                square_tile(x, c, columns);
            }
            for (a, columns) in x.iter().zip(columns.as_chunks_mut::<2>().0) {
                let a = load(a);
                let (even, odd) = (lo(load(&columns[0]), a, a), hi(load(&columns[1]), a, a));
                store(&mut columns[0], even);
                store(&mut columns[1], odd);
            }
        }

        /// Quotient digit J of a tile, and what it adds to the tile's columns.
        $($(#[$features])+)?
        #[inline]
        fn quotient_digit<const J: usize>(t: &mut [V; K + 1], n: &[Line; K], inverse: V, digit: &mut Line) {
            let q = quotient(t[J], inverse);
            store(digit, q);
            let b = load(&n[0]);
            let whole = lo(t[J], q, b);
            t[J + 1] = add(hi(t[J + 1], q, b), carry(whole));
            for k in 1..K - J {
                let b = load(&n[k]);
                t[J + k] = lo(t[J + k], q, b);
                t[J + k + 1] = hi(t[J + k + 1], q, b);
            }
        }

        /// Quotient digits c to c + K - 1: those that make columns c to c + K - 1 zero.
        $($(#[$features])+)?
        #[inline(never)]
        fn quotient_tile(constants: &Constants<Line>, c: usize, scratch: &mut Scratch<Line>) {
            let n = &constants.n[..];
            let mut tile = new_tile();
            rows(&mut tile, &scratch.quotients, n, c, 0..c);
            fold::<false>(&tile, c, &mut scratch.columns);
            let columns: &mut [Line; K + 1] = scratch.columns[c..].first_chunk_mut().expect("a tile of columns");
            let (n, inverse) = (stretch(n, 0), splat(constants.inverse));
            let mut t = [zero(); K + 1];
            for k in 0..=K {
                t[k] = load(&columns[k]);
            }
            let quotients: &mut [Line; K] = scratch.quotients[c..].first_chunk_mut().expect("a tile of digits");
            $(quotient_digit::<$j>(&mut t, n, inverse, &mut quotients[$j]);)+
            store(&mut columns[K], t[K]);
        }

        /// The columns, plus their quotients times n, divided by R.
        $($(#[$features])+)?
        #[inline]
        fn reduce(constants: &Constants<Line>, scratch: &mut Scratch<Line>, out: &mut [Line]) {
            let digits = out.len();
            for c in (0..digits).step_by(K) {
                quotient_tile(constants, c, scratch);
            }
            for c in (digits..2 * digits).step_by(K) {
                product_tile::<false>(&scratch.quotients, &constants.n, c, &mut scratch.columns);
            }
            let mut carried = zero();
            for (column, out) in scratch.columns[digits..].iter().zip(out) {
                let sum = add(load(column), carried);
                store(out, low(sum));
                carried = carry(sum);
            }
            nothing(add(carried, load(&scratch.columns[2 * digits])));
        }

        /// The half r1, of the columns of x0 y1 + x1 y0, and mu.
        $($(#[$features])+)?
        #[inline]
        fn second(constants: &Constants<Line>, scratch: &mut Scratch<Line>, out: &mut [Line]) {
            let (columns, upper) = scratch.columns.split_at_mut(out.len());
            for (column, q) in columns.iter_mut().zip(scratch.quotients.iter()) {
                let sum = add(load(column), complement(load(q)));
                store(column, sum);
            }
            let first = add(load(&columns[0]), splat(1));
            store(&mut columns[0], first);
            for (column, n) in upper.iter_mut().zip(&constants.n_minus_one) {
                let sum = add(load(column), load(n));
                store(column, sum);
            }
            reduce(constants, scratch, out);
        }

        $($(#[$features])+)?
        pub(super) fn multiply(
            constants: &Constants<Line>,
            x: &[Line],
            y: &[Line],
            scratch: &mut Scratch<Line>,
            out: &mut [Line],
        ) {
            let digits = constants.digits;
            let ((x0, x1), (y0, y1)) = (x.split_at(digits), y.split_at(digits));
            let (out0, out1) = out.split_at_mut(digits);
            scratch.columns.fill(Line::ZERO);
            product::<false>(x0, y0, &mut scratch.columns);
            reduce(constants, scratch, out0);
            scratch.columns.fill(Line::ZERO);
            product::<false>(x0, y1, &mut scratch.columns);
            product::<false>(x1, y0, &mut scratch.columns);
            second(constants, scratch, out1);
        }

        $($(#[$features])+)?
        pub(super) fn square(
            constants: &Constants<Line>,
            x: &[Line],
            scratch: &mut Scratch<Line>,
            out: &mut [Line],
        ) {
            let digits = constants.digits;
            let ((x0, x1), (out0, out1)) = (x.split_at(digits), out.split_at_mut(digits));
            scratch.columns.fill(Line::ZERO);
            square_columns(x0, &mut scratch.columns);
            reduce(constants, scratch, out0);
            scratch.columns.fill(Line::ZERO);
            product::<true>(x0, x1, &mut scratch.columns);
            second(constants, scratch, out1);
        }

        $($(#[$features])+)?
        pub(super) fn select(table: &[Line], index: &Line, out: &mut [Line]) {
            let (index, width) = (load(index), out.len());
            for (block, out) in out.as_chunks_mut::<K>().0.iter_mut().enumerate() {
                let mut found = [zero(); K];
                for (j, entry) in table.chunks_exact(width).enumerate() {
                    let (mask, entry) = (equal(index, splat(j as u64)), stretch(entry, K * block));
                    for k in 0..K {
                        found[k] = pick(found[k], mask, load(&entry[k]));
                    }
                }
                for k in 0..K {
                    store(&mut out[k], found[k]);
                }
            }
        }

        $($(#[$features])+)?
        pub(super) fn look_up(table: &[u64], index: &Line, out: &mut [Line]) {
            let (index, width) = (load(index), out.len());
            for (block, out) in out.as_chunks_mut::<K>().0.iter_mut().enumerate() {
                let mut found = [zero(); K];
                for (j, entry) in table.chunks_exact(width).enumerate() {
                    let mask = equal(index, splat(j as u64));
                    let entry: &[u64; K] = entry[K * block..].first_chunk().expect("a tile of digits");
                    for k in 0..K {
                        found[k] = pick(found[k], mask, splat(entry[k]));
                    }
                }
                for k in 0..K {
                    store(&mut out[k], found[k]);
                }
            }
        }
    };
}

/// Makes a body of the kernels above: a type that only exists where the processor has what they need.
macro_rules! body {
    ($(#[$doc:meta])* $name:ident, $bits:literal, $line:ident) => {
        $(#[$doc])*
        pub(in $crate::bigint) struct $name($crate::bigint::numbers::Constants<$line>);

        impl $name {
            /// `None` where the processor can't.
            pub(in $crate::bigint) fn new(n: &[u64]) -> Option<Self> {
                runs_here().then(|| Self($crate::bigint::numbers::Constants::new(n, $bits, K)))
            }
        }

        impl $crate::bigint::numbers::Numbers for $name {
            type Line = $line;
            const BITS: u32 = $bits;

            fn constants(&self) -> &Constants<$line> {
                &self.0
            }

            fn multiply(&self, x: &[$line], y: &[$line], scratch: &mut Scratch<$line>, out: &mut [$line]) {
                // SAFETY: there is a `self` only where the processor has the features.
                unsafe { multiply(&self.0, x, y, scratch, out) }
            }

            fn square(&self, x: &[$line], scratch: &mut Scratch<$line>, out: &mut [$line]) {
                // SAFETY: there is a `self` only where the processor has the features.
                unsafe { square(&self.0, x, scratch, out) }
            }

            fn select(&self, table: &[$line], index: &$line, out: &mut [$line]) {
                // SAFETY: there is a `self` only where the processor has the features.
                unsafe { select(table, index, out) }
            }

            fn look_up(&self, table: &[u64], index: &$line, out: &mut [$line]) {
                // SAFETY: there is a `self` only where the processor has the features.
                unsafe { look_up(table, index, out) }
            }
        }
    };
}

pub(super) use {body, kernels};
