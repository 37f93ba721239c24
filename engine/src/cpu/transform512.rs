//! The negacyclic transforms on AVX-512 registers, for any butterfly: a macro, because a function with target features
//! cannot be generic over functions with target features and still be inlined.
//!
//! Stages are done three or four at a time (radix 8, 16; 2 and 4 where the count does not divide), depth first, so that blocks of
//! 32 KiB and less stay in the first-level cache. The six stages next to the NTT domain are one pass over 64 points: three between
//! registers, an 8x8 transposition, three between registers again, which are now the lanes of the former. So they end transposed,
//! in the order of panels; the canonical order takes a second transposition. Up to radix 8 two independent columns or blocks go side by side: a
//! butterfly's latency is about ten cycles, and the processor's window is too short to find the next column by itself.
//! Passes are functions of their own, because together they would share, and spill, registers.
//!
//! A value is the first or the second of its next butterfly, and both results of one butterfly are the same there. The first is what
//! an addition sees, and must be exact; the second is only multiplied, which ignores high bits. So half of the butterflies
//! leave their results loose: see [`LOOSE`].
//!
//! The module that invokes the macro provides, for its prime's constants `C` and a factor `W`:
//!
//! | name | what |
//! |---|---|
//! | `uniform(&Uniform) -> W` | a factor for all lanes |
//! | `lanes::<LARGE>(c, &Line, &Line) -> W` | a factor a lane, from values and companions, or from companions alone |
//! | `forward::<EVEN, IN, OUT>(c, x, y, w)` | (x + w y, x - w y), lazily; `EVEN` in stages 0, 2, 4 of a pass |
//! | `inverse::<IN, OUT>(c, x, y, w)` | (x + y, w (x - y)), lazily |
//! | `inverse_last(c, x, y, w0, w1)` | (w0 (x + y), w1 (x - y)), reduced |
//! | `finish::<KIND>(c, x)` | a forward result, reduced |

/// The stages that one pass does on a block of `log` stages, of which the last six are the pass over 64 points. Radix 16 only
/// next to those: further out its 16 parts would lie a multiple of 4 KiB apart, and a cache set holds 12.
pub(super) fn pass_stages(log: u32) -> u32 {
    match log - 6 {
        r @ 1..=4 => r,
        _ => 3,
    }
}

/// From this n on the forward transform, too, makes lane values from their companions: the tables and the data together would
/// fill a second-level cache of 1 MiB, whose sets physical pages load unevenly. The inverse does so at any n, at no measurable cost.
pub(super) const LARGE_N: usize = 1 << 15;

/// How a value is held between stages, as the arithmetic defines it: good for a product, but perhaps with high bits that mean nothing.
pub(super) const LOOSE: u8 = 0;
/// An exact value, a butterfly's first result.
pub(super) const SUM: u8 = 1;
/// An exact value, a butterfly's second result.
pub(super) const DIFFERENCE: u8 = 2;
/// Any exact value.
pub(super) const EXACT: u8 = 3;
/// A residue, which the first butterfly of all takes as it is.
pub(super) const REDUCED: u8 = 4;

/// Forward butterflies with one factor: parity of the stage, how x comes in, how both results go out.
macro_rules! down {
    ($c:ident, $x:ident, $w:expr; $($even:tt $in:tt $out:tt: $($i:literal $j:literal),*);*) => {{
        let w = $w;
        $($( ($x[$i], $x[$j]) = forward_each::<$even, { $in }, { $out }, _>($c, $x[$i], $x[$j], w); )*)*
    }};
}

/// Inverse butterflies with one factor: how x and y come in. Products go out loosely.
macro_rules! up {
    ($roots:expr, $c:ident, $x:ident, $w:expr; $($in:tt: $($i:literal $j:literal),*);*) => {{
        let w = $w;
        $($( ($x[$i], $x[$j]) = inverse_each::<{ $in }, LOOSE, _>($c, $x[$i], $x[$j], w); )*)*
    }};
}

/// The same in the last stage of a pass: products go out exactly.
macro_rules! up_exact {
    ($roots:expr, $c:ident, $x:ident, $w:expr; $($in:tt: $($i:literal $j:literal),*);*) => {{
        let w = $w;
        $($( ($x[$i], $x[$j]) = inverse_each::<{ $in }, EXACT, _>($c, $x[$i], $x[$j], w); )*)*
    }};
}

/// The last stage of all, which brings 1/n in: `$w` gives both factors.
macro_rules! up_last {
    ($roots:expr, $c:ident, $x:ident, $w:expr; $($in:tt: $($i:literal $j:literal),*);*) => {{
        $($( ($x[$i], $x[$j]) = inverse_last_each($roots, $c, $x[$i], $x[$j]); )*)*
    }};
}

/// All stages of radix 2, 4, 8 or 16, first to last; `$w(s, b)` is the factor of block b in stage s. What is the first value of
/// a butterfly in the next stage goes out exactly, the second ones loosely.
macro_rules! stages_down {
    (1, $even:literal $odd:literal, $c:ident, $x:ident, $w:expr, $in:ident, $last:ident) => {{
        down!($c, $x, $w(0, 0); $even $in $last: 0 1);
    }};
    (2, $even:literal $odd:literal, $c:ident, $x:ident, $w:expr, $in:ident, $last:ident) => {{
        down!($c, $x, $w(0, 0); $even $in EXACT: 0 2; $even $in LOOSE: 1 3);
        down!($c, $x, $w(1, 0); $odd SUM $last: 0 1);
        down!($c, $x, $w(1, 1); $odd DIFFERENCE $last: 2 3);
    }};
    (3, $even:literal $odd:literal, $c:ident, $x:ident, $w:expr, $in:ident, $last:ident) => {{
        down!($c, $x, $w(0, 0); $even $in EXACT: 0 4, 1 5; $even $in LOOSE: 2 6, 3 7);
        down!($c, $x, $w(1, 0); $odd SUM EXACT: 0 2; $odd SUM LOOSE: 1 3);
        down!($c, $x, $w(1, 1); $odd DIFFERENCE EXACT: 4 6; $odd DIFFERENCE LOOSE: 5 7);
        down!($c, $x, $w(2, 0); $even SUM $last: 0 1);
        down!($c, $x, $w(2, 1); $even DIFFERENCE $last: 2 3);
        down!($c, $x, $w(2, 2); $even SUM $last: 4 5);
        down!($c, $x, $w(2, 3); $even DIFFERENCE $last: 6 7);
    }};
    (4, $even:literal $odd:literal, $c:ident, $x:ident, $w:expr, $in:ident, $last:ident) => {{
        down!($c, $x, $w(0, 0); $even $in EXACT: 0 8, 1 9, 2 10, 3 11; $even $in LOOSE: 4 12, 5 13, 6 14, 7 15);
        down!($c, $x, $w(1, 0); $odd SUM EXACT: 0 4, 1 5; $odd SUM LOOSE: 2 6, 3 7);
        down!($c, $x, $w(1, 1); $odd DIFFERENCE EXACT: 8 12, 9 13; $odd DIFFERENCE LOOSE: 10 14, 11 15);
        down!($c, $x, $w(2, 0); $even SUM EXACT: 0 2; $even SUM LOOSE: 1 3);
        down!($c, $x, $w(2, 1); $even DIFFERENCE EXACT: 4 6; $even DIFFERENCE LOOSE: 5 7);
        down!($c, $x, $w(2, 2); $even SUM EXACT: 8 10; $even SUM LOOSE: 9 11);
        down!($c, $x, $w(2, 3); $even DIFFERENCE EXACT: 12 14; $even DIFFERENCE LOOSE: 13 15);
        down!($c, $x, $w(3, 0); $odd SUM $last: 0 1);
        down!($c, $x, $w(3, 1); $odd DIFFERENCE $last: 2 3);
        down!($c, $x, $w(3, 2); $odd SUM $last: 4 5);
        down!($c, $x, $w(3, 3); $odd DIFFERENCE $last: 6 7);
        down!($c, $x, $w(3, 4); $odd SUM $last: 8 9);
        down!($c, $x, $w(3, 5); $odd DIFFERENCE $last: 10 11);
        down!($c, $x, $w(3, 6); $odd SUM $last: 12 13);
        down!($c, $x, $w(3, 7); $odd DIFFERENCE $last: 14 15);
    }};
}

/// The same stages in the opposite order; `$last` does the first stage's butterflies.
macro_rules! stages_up {
    (1, $in:ident, $last:ident, $roots:expr, $c:ident, $x:ident, $w:expr) => {{
        $last!($roots, $c, $x, $w(0, 0); $in: 0 1);
    }};
    (2, $in:ident, $last:ident, $roots:expr, $c:ident, $x:ident, $w:expr) => {{
        up!($roots, $c, $x, $w(1, 0); $in: 0 1);
        up!($roots, $c, $x, $w(1, 1); $in: 2 3);
        $last!($roots, $c, $x, $w(0, 0); EXACT: 0 2; LOOSE: 1 3);
    }};
    (3, $in:ident, $last:ident, $roots:expr, $c:ident, $x:ident, $w:expr) => {{
        up!($roots, $c, $x, $w(2, 0); $in: 0 1);
        up!($roots, $c, $x, $w(2, 1); $in: 2 3);
        up!($roots, $c, $x, $w(2, 2); $in: 4 5);
        up!($roots, $c, $x, $w(2, 3); $in: 6 7);
        up!($roots, $c, $x, $w(1, 0); EXACT: 0 2; LOOSE: 1 3);
        up!($roots, $c, $x, $w(1, 1); EXACT: 4 6; LOOSE: 5 7);
        $last!($roots, $c, $x, $w(0, 0); EXACT: 0 4, 1 5; LOOSE: 2 6, 3 7);
    }};
    (4, $in:ident, $last:ident, $roots:expr, $c:ident, $x:ident, $w:expr) => {{
        up!($roots, $c, $x, $w(3, 0); $in: 0 1);
        up!($roots, $c, $x, $w(3, 1); $in: 2 3);
        up!($roots, $c, $x, $w(3, 2); $in: 4 5);
        up!($roots, $c, $x, $w(3, 3); $in: 6 7);
        up!($roots, $c, $x, $w(3, 4); $in: 8 9);
        up!($roots, $c, $x, $w(3, 5); $in: 10 11);
        up!($roots, $c, $x, $w(3, 6); $in: 12 13);
        up!($roots, $c, $x, $w(3, 7); $in: 14 15);
        up!($roots, $c, $x, $w(2, 0); EXACT: 0 2; LOOSE: 1 3);
        up!($roots, $c, $x, $w(2, 1); EXACT: 4 6; LOOSE: 5 7);
        up!($roots, $c, $x, $w(2, 2); EXACT: 8 10; LOOSE: 9 11);
        up!($roots, $c, $x, $w(2, 3); EXACT: 12 14; LOOSE: 13 15);
        up!($roots, $c, $x, $w(1, 0); EXACT: 0 4, 1 5; LOOSE: 2 6, 3 7);
        up!($roots, $c, $x, $w(1, 1); EXACT: 8 12, 9 13; LOOSE: 10 14, 11 15);
        $last!($roots, $c, $x, $w(0, 0); EXACT: 0 8, 1 9, 2 10, 3 11; LOOSE: 4 12, 5 13, 6 14, 7 15);
    }};
}

macro_rules! transforms {
    ($features:literal) => {
        use $crate::cpu::panels::Order;
        use $crate::cpu::transform512::{
            DIFFERENCE, EXACT, LARGE_N, LOOSE, REDUCED, SUM, down, pass_stages, stages_down, stages_up, up, up_exact, up_last,
        };
        use $crate::cpu::twiddles::{MIN_N, Roots, Uniform};
        use $crate::cpu::vec512::{load, store, transpose};

        /// The forward transform of `a`, in place: `order` is that of the points. Reduced in and out.
        #[target_feature(enable = $features)]
        pub(in $crate::cpu) fn forward_transform(roots: &Roots, a: &mut [u64], order: Order) {
            let n = roots.n;
            assert!(a.len() == n && n >= MIN_N);
            assert!(roots.forward.uniform.len() == n / 8);
            let job = Forward { c: C::new(roots), roots, canonical: order == Order::Canonical };
            // SAFETY: `a` has n words, and the tables the lengths checked above.
            unsafe { job.block(a.as_mut_ptr(), n.trailing_zeros(), 0) }
        }

        /// The inverse transform of `a`, in place, 1/n included: `order` is that of the points. Reduced in and out.
        #[target_feature(enable = $features)]
        pub(in $crate::cpu) fn inverse_transform(roots: &Roots, a: &mut [u64], order: Order) {
            let n = roots.n;
            assert!(a.len() == n && n >= MIN_N);
            assert!(roots.inverse.uniform.len() == n / 8);
            let job = Inverse { c: C::new(roots), roots, canonical: order == Order::Canonical };
            // SAFETY: `a` has n words, and the tables the lengths checked above.
            unsafe { job.block(a.as_mut_ptr(), n.trailing_zeros(), 0) }
        }

        /// A butterfly on each of G independent columns.
        #[inline]
        #[target_feature(enable = $features)]
        fn forward_each<const EVEN: bool, const IN: u8, const OUT: u8, const G: usize>(
            c: &C,
            mut x: [V; G],
            mut y: [V; G],
            w: [W; G],
        ) -> ([V; G], [V; G]) {
            for g in 0..G {
                (x[g], y[g]) = forward::<EVEN, IN, OUT>(c, x[g], y[g], w[g]);
            }
            (x, y)
        }

        /// A butterfly on each of G independent columns.
        #[inline]
        #[target_feature(enable = $features)]
        fn inverse_each<const IN: u8, const OUT: u8, const G: usize>(
            c: &C,
            mut x: [V; G],
            mut y: [V; G],
            w: [W; G],
        ) -> ([V; G], [V; G]) {
            for g in 0..G {
                (x[g], y[g]) = inverse::<IN, OUT>(c, x[g], y[g], w[g]);
            }
            (x, y)
        }

        /// The last stage on each of G independent columns.
        #[inline]
        #[target_feature(enable = $features)]
        fn inverse_last_each<const G: usize>(roots: &Roots, c: &C, mut x: [V; G], mut y: [V; G]) -> ([V; G], [V; G]) {
            let (w0, w1) = (uniform(&roots.n_inv), uniform(&roots.n_inv_last));
            for g in 0..G {
                (x[g], y[g]) = inverse_last(c, x[g], y[g], w0, w1);
            }
            (x, y)
        }

        /// G blocks of 8x8, each transposed.
        #[inline]
        #[target_feature(enable = $features)]
        fn transpose_each<const G: usize>(mut x: [[V; G]; 8]) -> [[V; G]; 8] {
            for g in 0..G {
                let t = transpose([x[0][g], x[1][g], x[2][g], x[3][g], x[4][g], x[5][g], x[6][g], x[7][g]]);
                for k in 0..8 {
                    x[k][g] = t[k];
                }
            }
            x
        }

        struct Forward<'a> {
            c: C,
            roots: &'a Roots,
            canonical: bool,
        }

        impl Forward<'_> {
            /// All stages of block `group` of the stage with n / 2^log groups.
            ///
            /// # Safety
            /// `a` must be valid for the block's 2^log words, `group` below n / 2^log, and the assertions of the caller hold.
            #[target_feature(enable = $features)]
            unsafe fn block(&self, a: *mut u64, log: u32, group: usize) {
                // SAFETY: sub-blocks lie within the block; indices follow from the caller's promise.
                unsafe {
                    if log == 6 {
                        return if self.canonical { self.tail::<1, true, false>(a, group) } else { self.tail::<1, false, false>(a, group) };
                    }
                    let stages = pass_stages(log);
                    let groups = self.roots.n >> log;
                    let sub = log - stages;
                    match (stages, groups == 1) {
                        (1, false) => self.pass1::<false>(a, 1 << sub, groups, group),
                        (2, false) => self.pass2::<false>(a, 1 << sub, groups, group),
                        (3, false) => self.pass3::<false>(a, 1 << sub, groups, group),
                        (_, false) => self.pass4::<false>(a, 1 << sub, groups, group),
                        (1, true) => self.pass1::<true>(a, 1 << sub, groups, group),
                        (2, true) => self.pass2::<true>(a, 1 << sub, groups, group),
                        (3, true) => self.pass3::<true>(a, 1 << sub, groups, group),
                        (_, true) => self.pass4::<true>(a, 1 << sub, groups, group),
                    }
                    if sub == 6 {
                        let (first, count) = (group << stages, 1 << stages);
                        return match (self.canonical, self.roots.n >= LARGE_N) {
                            (false, false) => self.tails::<false, false>(a, first, count),
                            (false, true) => self.tails::<false, true>(a, first, count),
                            (true, false) => self.tails::<true, false>(a, first, count),
                            (true, true) => self.tails::<true, true>(a, first, count),
                        };
                    }
                    for s in 0..1 << stages {
                        self.block(a.add(s << sub), sub, (group << stages) + s);
                    }
                }
            }

            transforms!(@forward pass1, 1, 2, 2, $features);
            transforms!(@forward pass2, 2, 4, 2, $features);
            transforms!(@forward pass3, 3, 8, 2, $features);
            transforms!(@forward pass4, 4, 16, 1, $features);

            /// The last six stages on `count` blocks of 64 points from `group` on, an even number.
            ///
            /// # Safety
            /// As for `block`.
            #[inline(never)]
            #[target_feature(enable = $features)]
            unsafe fn tails<const CANONICAL: bool, const LARGE: bool>(&self, a: *mut u64, group: usize, count: usize) {
                for s in (0..count).step_by(2) {
                    // SAFETY: the caller's promise.
                    unsafe { self.tail::<2, CANONICAL, LARGE>(a.add(64 * s), group + s) };
                }
            }

            /// The last six stages on G blocks of 64 points from `group` on, reduced and written out.
            ///
            /// # Safety
            /// As for `block`.
            #[inline]
            #[target_feature(enable = $features)]
            unsafe fn tail<const G: usize, const CANONICAL: bool, const LARGE: bool>(&self, a: *mut u64, group: usize) {
                let c = &self.c;
                let groups = self.roots.n / MIN_N;
                let table = &self.roots.forward;
                let (values, companions) =
                    (&table.lane_values[group..group + G], &table.lane_companions[group..group + G]);
                // SAFETY: 64 G words at `a`; uniform indices are below n / 8.
                unsafe {
                    let mut x: [[V; G]; 8] = std::array::from_fn(|k| std::array::from_fn(|g| load(a.add(64 * g + 8 * k))));
                    let w = |s: usize, b: usize| -> [W; G] {
                        std::array::from_fn(|g| uniform(table.uniform.get_unchecked(((groups + group + g) << s) + b)))
                    };
                    stages_down!(3, true false, c, x, w, LOOSE, LOOSE);
                    let mut x = transpose_each(x);
                    let w = |s: usize, b: usize| -> [W; G] {
                        let slot = (1 << s) - 1 + b;
                        std::array::from_fn(|g| lanes::<LARGE>(c, &values[g][slot], &companions[g][slot]))
                    };
                    // Stages 3 to 5 of the pass: what is even among them is odd in the pass.
                    let line = |g: usize, k: usize| a.add(64 * g + 8 * k);
                    if CANONICAL {
                        stages_down!(3, false true, c, x, w, LOOSE, LOOSE);
                        let x = transpose_each(x);
                        for g in 0..G {
                            for k in 0..8 {
                                store(line(g, k), finish::<LOOSE>(c, x[k][g]));
                            }
                        }
                        return;
                    }
                    stages_down!(3, false true, c, x, w, LOOSE, EXACT);
                    for g in 0..G {
                        for k in (0..8).step_by(2) {
                            let (sum, difference) = (finish::<SUM>(c, x[k][g]), finish::<DIFFERENCE>(c, x[k + 1][g]));
                            store(line(g, k), sum);
                            store(line(g, k + 1), difference);
                        }
                    }
                }
            }
        }

        struct Inverse<'a> {
            c: C,
            roots: &'a Roots,
            canonical: bool,
        }

        impl Inverse<'_> {
            /// All stages of block `group` of the stage with n / 2^log groups.
            ///
            /// # Safety
            /// As for the forward direction's.
            #[target_feature(enable = $features)]
            unsafe fn block(&self, a: *mut u64, log: u32, group: usize) {
                // SAFETY: sub-blocks lie within the block; indices follow from the caller's promise.
                unsafe {
                    if log == 6 {
                        return if self.canonical { self.head::<1, true, true>(a, group) } else { self.head::<1, true, false>(a, group) };
                    }
                    let stages = pass_stages(log);
                    let sub = log - stages;
                    if sub == 6 {
                        let (first, count) = (group << stages, 1 << stages);
                        if self.canonical {
                            self.heads::<true>(a, first, count)
                        } else {
                            self.heads::<false>(a, first, count)
                        }
                    } else {
                        for s in 0..1 << stages {
                            self.block(a.add(s << sub), sub, (group << stages) + s);
                        }
                    }
                    let groups = self.roots.n >> log;
                    match (stages, groups == 1) {
                        (1, false) => self.pass1::<false>(a, 1 << sub, groups, group),
                        (2, false) => self.pass2::<false>(a, 1 << sub, groups, group),
                        (3, false) => self.pass3::<false>(a, 1 << sub, groups, group),
                        (_, false) => self.pass4::<false>(a, 1 << sub, groups, group),
                        (1, true) => self.pass1::<true>(a, 1 << sub, groups, group),
                        (2, true) => self.pass2::<true>(a, 1 << sub, groups, group),
                        (3, true) => self.pass3::<true>(a, 1 << sub, groups, group),
                        (_, true) => self.pass4::<true>(a, 1 << sub, groups, group),
                    }
                }
            }

            transforms!(@inverse pass1, 1, 2, 2, $features);
            transforms!(@inverse pass2, 2, 4, 2, $features);
            transforms!(@inverse pass3, 3, 8, 2, $features);
            transforms!(@inverse pass4, 4, 16, 1, $features);

            /// The first six stages on `count` blocks of 64 points from `group` on, an even number.
            ///
            /// # Safety
            /// As for `block`.
            #[inline(never)]
            #[target_feature(enable = $features)]
            unsafe fn heads<const CANONICAL: bool>(&self, a: *mut u64, group: usize, count: usize) {
                for s in (0..count).step_by(2) {
                    // SAFETY: the caller's promise.
                    unsafe { self.head::<2, false, CANONICAL>(a.add(64 * s), group + s) };
                }
            }

            /// The first six stages on G blocks of 64 points from `group` on, and the last ones too for a block that is all.
            ///
            /// # Safety
            /// As for `block`.
            #[inline]
            #[target_feature(enable = $features)]
            unsafe fn head<const G: usize, const LAST: bool, const CANONICAL: bool>(&self, a: *mut u64, group: usize) {
                let c = &self.c;
                let groups = self.roots.n / MIN_N;
                let table = &self.roots.inverse;
                let (values, companions) =
                    (&table.lane_values[group..group + G], &table.lane_companions[group..group + G]);
                // SAFETY: 64 G words at `a`; uniform indices are below n / 8.
                unsafe {
                    let x: [[V; G]; 8] = std::array::from_fn(|k| std::array::from_fn(|g| load(a.add(64 * g + 8 * k))));
                    let mut x = if CANONICAL { transpose_each(x) } else { x };
                    let w = |s: usize, b: usize| -> [W; G] {
                        let slot = (1 << s) - 1 + b;
                        std::array::from_fn(|g| lanes::<true>(c, &values[g][slot], &companions[g][slot]))
                    };
                    stages_up!(3, REDUCED, up_exact, self.roots, c, x, w);
                    let mut x = transpose_each(x);
                    let w = |s: usize, b: usize| -> [W; G] {
                        std::array::from_fn(|g| uniform(table.uniform.get_unchecked(((groups + group + g) << s) + b)))
                    };
                    if LAST {
                        stages_up!(3, EXACT, up_last, self.roots, c, x, w);
                    } else {
                        stages_up!(3, EXACT, up_exact, self.roots, c, x, w);
                    }
                    for (k, x) in x.into_iter().enumerate() {
                        for (g, x) in x.into_iter().enumerate() {
                            store(a.add(64 * g + 8 * k), x);
                        }
                    }
                }
            }
        }
    };

    (@forward $name:ident, $log:tt, $radix:literal, $columns:literal, $features:literal) => {
        /// # Safety
        /// As for `block`, `a` being a block of $radix parts of `step` words.
        #[inline(never)]
        #[target_feature(enable = $features)]
        unsafe fn $name<const FIRST: bool>(&self, a: *mut u64, step: usize, groups: usize, group: usize) {
            let c = &self.c;
            let table = &self.roots.forward.uniform;
            for i in (0..step).step_by(8 * $columns) {
                // SAFETY: parts lie within the block, and the factors' indices below 2^stages * groups <= n / 64.
                unsafe {
                    let mut x: [[V; $columns]; $radix] =
                        std::array::from_fn(|k| std::array::from_fn(|g| load(a.add(k * step + i + 8 * g))));
                    let w = |s: usize, b: usize| {
                        [uniform(table.get_unchecked(((groups + group) << s) + b)); $columns]
                    };
                    if FIRST {
                        stages_down!($log, true false, c, x, w, REDUCED, LOOSE);
                    } else {
                        stages_down!($log, true false, c, x, w, LOOSE, LOOSE);
                    };
                    for (k, x) in x.into_iter().enumerate() {
                        for (g, x) in x.into_iter().enumerate() {
                            store(a.add(k * step + i + 8 * g), x);
                        }
                    }
                }
            }
        }
    };

    (@inverse $name:ident, $log:tt, $radix:literal, $columns:literal, $features:literal) => {
        /// # Safety
        /// As for `block`, `a` being a block of $radix parts of `step` words.
        #[inline(never)]
        #[target_feature(enable = $features)]
        unsafe fn $name<const LAST: bool>(&self, a: *mut u64, step: usize, groups: usize, group: usize) {
            let c = &self.c;
            let table = &self.roots.inverse.uniform;
            for i in (0..step).step_by(8 * $columns) {
                // SAFETY: parts lie within the block, and the factors' indices below 2^stages * groups <= n / 64.
                unsafe {
                    let mut x: [[V; $columns]; $radix] =
                        std::array::from_fn(|k| std::array::from_fn(|g| load(a.add(k * step + i + 8 * g))));
                    let w = |s: usize, b: usize| {
                        [uniform(table.get_unchecked(((groups + group) << s) + b)); $columns]
                    };
                    if LAST {
                        stages_up!($log, EXACT, up_last, self.roots, c, x, w);
                    } else {
                        stages_up!($log, EXACT, up_exact, self.roots, c, x, w);
                    }
                    for (k, x) in x.into_iter().enumerate() {
                        for (g, x) in x.into_iter().enumerate() {
                            store(a.add(k * step + i + 8 * g), x);
                        }
                    }
                }
            }
        }
    };
}

pub(super) use {down, stages_down, stages_up, transforms, up, up_exact, up_last};
