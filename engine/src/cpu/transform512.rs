//! The negacyclic transforms on AVX-512 registers, for any butterfly: a macro, because a function with target features
//! cannot be generic over functions with target features and still be inlined.
//!
//! Stages are done three or four at a time (radix 8, 16; 2 and 4 where the count does not divide), depth first, so that blocks of 32 KiB and less stay in the first-level cache. The six
//! stages next to the NTT domain are one pass over 64 points: three between registers, an 8x8 transposition, three between registers
//! again (which are now the lanes of the former), and back. Up to radix 8 two independent columns or blocks go side by side: a
//! butterfly's latency is about ten cycles, and the processor's window is too short to find the next column by itself.
//!
//! The module that invokes the macro provides, for its prime's constants `C` and a factor `W`:
//!
//! | name | what |
//! |---|---|
//! | `uniform(&Uniform) -> W` | a factor for all lanes |
//! | `lanes(&Line, &Line) -> W` | a factor a lane |
//! | `forward::<EVEN>(c, x, y, w)` | (x + w y, x - w y), lazily; `EVEN` in stages 0, 2, 4 of a pass |
//! | `inverse(c, x, y, w)` | (x + y, w (x - y)), lazily |
//! | `inverse_last(c, x, y, w0, w1)` | (w0 (x + y), w1 (x - y)), reduced |
//! | `finish(c, x)` | a forward result, reduced |

/// The stages that one pass does on a block of `log` stages, of which the last six are the pass over 64 points. Radix 16 only
/// next to those: further out its 16 parts would lie a multiple of 4 KiB apart, and a cache set holds 12.
pub(super) fn pass_stages(log: u32) -> u32 {
    match log - 6 {
        r @ 1..=4 => r,
        _ => 3,
    }
}

macro_rules! butterflies {
    ($op:expr, $x:ident, $w:expr; $($i:literal $j:literal),*) => {{
        let w = $w;
        $( ($x[$i], $x[$j]) = $op($x[$i], $x[$j], w); )*
    }};
}

/// All stages of radix 2, 4, 8 or 16, first to last; `$w(s, b)` is the factor of block b in stage s.
macro_rules! stages_down {
    (1, $even:expr, $odd:expr, $x:ident, $w:expr) => {{
        butterflies!($even, $x, $w(0, 0); 0 1);
    }};
    (2, $even:expr, $odd:expr, $x:ident, $w:expr) => {{
        butterflies!($even, $x, $w(0, 0); 0 2, 1 3);
        butterflies!($odd, $x, $w(1, 0); 0 1);
        butterflies!($odd, $x, $w(1, 1); 2 3);
    }};
    (3, $even:expr, $odd:expr, $x:ident, $w:expr) => {{
        butterflies!($even, $x, $w(0, 0); 0 4, 1 5, 2 6, 3 7);
        butterflies!($odd, $x, $w(1, 0); 0 2, 1 3);
        butterflies!($odd, $x, $w(1, 1); 4 6, 5 7);
        butterflies!($even, $x, $w(2, 0); 0 1);
        butterflies!($even, $x, $w(2, 1); 2 3);
        butterflies!($even, $x, $w(2, 2); 4 5);
        butterflies!($even, $x, $w(2, 3); 6 7);
    }};
    (4, $even:expr, $odd:expr, $x:ident, $w:expr) => {{
        butterflies!($even, $x, $w(0, 0); 0 8, 1 9, 2 10, 3 11, 4 12, 5 13, 6 14, 7 15);
        butterflies!($odd, $x, $w(1, 0); 0 4, 1 5, 2 6, 3 7);
        butterflies!($odd, $x, $w(1, 1); 8 12, 9 13, 10 14, 11 15);
        butterflies!($even, $x, $w(2, 0); 0 2, 1 3);
        butterflies!($even, $x, $w(2, 1); 4 6, 5 7);
        butterflies!($even, $x, $w(2, 2); 8 10, 9 11);
        butterflies!($even, $x, $w(2, 3); 12 14, 13 15);
        butterflies!($odd, $x, $w(3, 0); 0 1);
        butterflies!($odd, $x, $w(3, 1); 2 3);
        butterflies!($odd, $x, $w(3, 2); 4 5);
        butterflies!($odd, $x, $w(3, 3); 6 7);
        butterflies!($odd, $x, $w(3, 4); 8 9);
        butterflies!($odd, $x, $w(3, 5); 10 11);
        butterflies!($odd, $x, $w(3, 6); 12 13);
        butterflies!($odd, $x, $w(3, 7); 14 15);
    }};
}

/// The same stages in the opposite order; `$last` is the operation of the first stage's butterflies.
macro_rules! stages_up {
    (1, $op:expr, $last:expr, $x:ident, $w:expr) => {{
        butterflies!($last, $x, $w(0, 0); 0 1);
    }};
    (2, $op:expr, $last:expr, $x:ident, $w:expr) => {{
        butterflies!($op, $x, $w(1, 0); 0 1);
        butterflies!($op, $x, $w(1, 1); 2 3);
        butterflies!($last, $x, $w(0, 0); 0 2, 1 3);
    }};
    (3, $op:expr, $last:expr, $x:ident, $w:expr) => {{
        butterflies!($op, $x, $w(2, 0); 0 1);
        butterflies!($op, $x, $w(2, 1); 2 3);
        butterflies!($op, $x, $w(2, 2); 4 5);
        butterflies!($op, $x, $w(2, 3); 6 7);
        butterflies!($op, $x, $w(1, 0); 0 2, 1 3);
        butterflies!($op, $x, $w(1, 1); 4 6, 5 7);
        butterflies!($last, $x, $w(0, 0); 0 4, 1 5, 2 6, 3 7);
    }};
    (4, $op:expr, $last:expr, $x:ident, $w:expr) => {{
        butterflies!($op, $x, $w(3, 0); 0 1);
        butterflies!($op, $x, $w(3, 1); 2 3);
        butterflies!($op, $x, $w(3, 2); 4 5);
        butterflies!($op, $x, $w(3, 3); 6 7);
        butterflies!($op, $x, $w(3, 4); 8 9);
        butterflies!($op, $x, $w(3, 5); 10 11);
        butterflies!($op, $x, $w(3, 6); 12 13);
        butterflies!($op, $x, $w(3, 7); 14 15);
        butterflies!($op, $x, $w(2, 0); 0 2, 1 3);
        butterflies!($op, $x, $w(2, 1); 4 6, 5 7);
        butterflies!($op, $x, $w(2, 2); 8 10, 9 11);
        butterflies!($op, $x, $w(2, 3); 12 14, 13 15);
        butterflies!($op, $x, $w(1, 0); 0 4, 1 5, 2 6, 3 7);
        butterflies!($op, $x, $w(1, 1); 8 12, 9 13, 10 14, 11 15);
        butterflies!($last, $x, $w(0, 0); 0 8, 1 9, 2 10, 3 11, 4 12, 5 13, 6 14, 7 15);
    }};
}

macro_rules! transforms {
    ($features:literal) => {
        use $crate::cpu::gemm::STREAM_WORDS;
        use $crate::cpu::panels::{PanelRow, PanelView};
        use $crate::cpu::transform512::{butterflies, pass_stages, stages_down, stages_up};
        use $crate::cpu::twiddles::{LaneBlock, MIN_N, Roots, Uniform};
        use $crate::cpu::vec512::{load, store, stream, transpose};

        /// The forward transform of `a`, to `out` or in place; `a` is overwritten anyway. Reduced in and out.
        #[target_feature(enable = $features)]
        pub(in $crate::cpu) fn forward_transform(roots: &Roots, a: &mut [u64], out: Option<PanelRow<'_>>) {
            let n = roots.n;
            assert!(a.len() == n && out.as_ref().is_none_or(|o| o.n() == n) && n >= MIN_N);
            assert!(roots.forward.uniform.len() == n / 8 && roots.forward.lanes.len() == n / MIN_N);
            let a = a.as_mut_ptr();
            let (out, stride) = out.map_or((a, 8), |mut o| o.raw());
            let stream = out.cast::<V>().is_aligned() && roots.n / 8 * stride > STREAM_WORDS;
            let job = Forward { c: C::new(roots), roots, out, stride, stream };
            // SAFETY: `a` has n words, `out` n / 8 lines at its stride, and the tables the lengths checked above. In place,
            // points are read before they are written.
            unsafe { job.block(a, n.trailing_zeros(), 0) }
            if stream {
                _mm_sfence();
            }
        }

        /// The inverse transform, 1/n included, of `from` to `a`, or of `a` in place. Reduced in and out.
        #[target_feature(enable = $features)]
        pub(in $crate::cpu) fn inverse_transform(roots: &Roots, from: Option<PanelView<'_>>, a: &mut [u64]) {
            let n = roots.n;
            assert!(a.len() == n && from.is_none_or(|f| f.n() == n) && n >= MIN_N);
            assert!(roots.inverse.uniform.len() == n / 8 && roots.inverse.lanes.len() == n / MIN_N);
            let a = a.as_mut_ptr();
            let (from, stride) = from.map_or((a.cast_const(), 8), PanelView::raw);
            let job = Inverse { c: C::new(roots), roots, from, stride };
            // SAFETY: `a` has n words, `from` n / 8 lines at its stride, and the tables the lengths checked above. In place,
            // points are read before they are written.
            unsafe { job.block(a, n.trailing_zeros(), 0) }
        }

        /// A butterfly on each of G independent columns.
        #[inline]
        #[target_feature(enable = $features)]
        fn forward_each<const EVEN: bool, const G: usize>(c: &C, mut x: [V; G], mut y: [V; G], w: [W; G]) -> ([V; G], [V; G]) {
            for g in 0..G {
                (x[g], y[g]) = forward::<EVEN>(c, x[g], y[g], w[g]);
            }
            (x, y)
        }

        /// A butterfly on each of G independent columns.
        #[inline]
        #[target_feature(enable = $features)]
        fn inverse_each<const G: usize>(c: &C, mut x: [V; G], mut y: [V; G], w: [W; G]) -> ([V; G], [V; G]) {
            for g in 0..G {
                (x[g], y[g]) = inverse(c, x[g], y[g], w[g]);
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
            out: *mut u64,
            stride: usize,
            /// Lines of `out` are aligned and will have left the caches before they are read.
            stream: bool,
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
                        return self.tail::<1>(a, group);
                    }
                    let stages = pass_stages(log);
                    let groups = self.roots.n >> log;
                    match stages {
                        1 => self.pass1(a, 1 << (log - 1), groups, group),
                        2 => self.pass2(a, 1 << (log - 2), groups, group),
                        3 => self.pass3(a, 1 << (log - 3), groups, group),
                        _ => self.pass4(a, 1 << (log - 4), groups, group),
                    }
                    let sub = log - stages;
                    if sub == 6 {
                        for s in (0..1 << stages).step_by(2) {
                            self.tail::<2>(a.add(s << sub), (group << stages) + s);
                        }
                        return;
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

            /// The last six stages on G blocks of 64 points from `group` on, reduced and written out.
            ///
            /// # Safety
            /// As for `block`.
            #[inline]
            #[target_feature(enable = $features)]
            unsafe fn tail<const G: usize>(&self, a: *const u64, group: usize) {
                let c = &self.c;
                let groups = self.roots.n / MIN_N;
                let table = &self.roots.forward;
                let blocks: &[LaneBlock] = &table.lanes[group..group + G];
                let even = |x, y, w| forward_each::<true, G>(c, x, y, w);
                let odd = |x, y, w| forward_each::<false, G>(c, x, y, w);
                // SAFETY: 64 G words at `a`; uniform indices are below n / 8, lines of `out` too.
                unsafe {
                    let mut x: [[V; G]; 8] = std::array::from_fn(|k| std::array::from_fn(|g| load(a.add(64 * g + 8 * k))));
                    let w = |s: usize, b: usize| -> [W; G] {
                        std::array::from_fn(|g| uniform(table.uniform.get_unchecked(((groups + group + g) << s) + b)))
                    };
                    stages_down!(3, even, odd, x, w);
                    let mut x = transpose_each(x);
                    let w = |s: usize, b: usize| -> [W; G] {
                        let slot = 2 * ((1 << s) - 1 + b);
                        std::array::from_fn(|g| lanes(&blocks[g][slot], &blocks[g][slot + 1]))
                    };
                    // Stages 3 to 5 of the pass: what is even among them is odd in the pass.
                    stages_down!(3, odd, even, x, w);
                    let x = transpose_each(x);
                    for g in 0..G {
                        let out = self.out.add(8 * (group + g) * self.stride);
                        for (k, x) in x.iter().enumerate() {
                            let (line, x) = (out.add(k * self.stride), finish(c, x[g]));
                            if self.stream { stream(line, x) } else { store(line, x) }
                        }
                    }
                }
            }
        }

        struct Inverse<'a> {
            c: C,
            roots: &'a Roots,
            from: *const u64,
            stride: usize,
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
                        return self.head::<1>(a, group);
                    }
                    let stages = pass_stages(log);
                    let sub = log - stages;
                    if sub == 6 {
                        for s in (0..1 << stages).step_by(2) {
                            self.head::<2>(a.add(s << sub), (group << stages) + s);
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

            /// The first six stages on G blocks of 64 points from `group` on.
            ///
            /// # Safety
            /// As for `block`.
            #[inline]
            #[target_feature(enable = $features)]
            unsafe fn head<const G: usize>(&self, a: *mut u64, group: usize) {
                let c = &self.c;
                let groups = self.roots.n / MIN_N;
                let table = &self.roots.inverse;
                let blocks: &[LaneBlock] = &table.lanes[group..group + G];
                let step = |x, y, w| inverse_each::<G>(c, x, y, w);
                // SAFETY: 64 G words at `a`; uniform indices are below n / 8, lines of `from` too.
                unsafe {
                    let from = self.from.add(8 * group * self.stride);
                    let x: [[V; G]; 8] =
                        std::array::from_fn(|k| std::array::from_fn(|g| load(from.add((8 * g + k) * self.stride))));
                    let mut x = transpose_each(x);
                    let w = |s: usize, b: usize| -> [W; G] {
                        let slot = 2 * ((1 << s) - 1 + b);
                        std::array::from_fn(|g| lanes(&blocks[g][slot], &blocks[g][slot + 1]))
                    };
                    stages_up!(3, step, step, x, w);
                    let mut x = transpose_each(x);
                    let w = |s: usize, b: usize| -> [W; G] {
                        std::array::from_fn(|g| uniform(table.uniform.get_unchecked(((groups + group + g) << s) + b)))
                    };
                    if groups == 1 {
                        stages_up!(3, step, |x, y, _| inverse_last_each::<G>(self.roots, c, x, y), x, w);
                    } else {
                        stages_up!(3, step, step, x, w);
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
        #[target_feature(enable = $features)]
        unsafe fn $name(&self, a: *mut u64, step: usize, groups: usize, group: usize) {
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
                    let even = |x, y, w| forward_each::<true, $columns>(c, x, y, w);
                    let _odd = |x, y, w| forward_each::<false, $columns>(c, x, y, w);
                    stages_down!($log, even, _odd, x, w);
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
                    let _step = |x, y, w| inverse_each::<$columns>(c, x, y, w);
                    let last = |x, y, w| {
                        if LAST {
                            inverse_last_each::<$columns>(self.roots, c, x, y)
                        } else {
                            inverse_each::<$columns>(c, x, y, w)
                        }
                    };
                    stages_up!($log, _step, last, x, w);
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

pub(super) use {butterflies, stages_down, stages_up, transforms};
