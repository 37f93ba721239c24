//! The passes from coefficients to points.

macro_rules! forward {
    ($features:literal) => {
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

        struct Forward<'a> {
            c: C,
            roots: &'a Roots,
            canonical: bool,
        }

        impl Forward<'_> {
            /// All stages of block `group` of the stage with n / 2^log groups.
            ///
            /// # Safety
            /// `a` must be valid for the block's 2^log words, `group` below n / 2^log, and the assertions of the caller
            /// hold.
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

            $crate::cpu::transform512::forward::forward!(@pass pass1, 1, 2, 2, $features);
            $crate::cpu::transform512::forward::forward!(@pass pass2, 2, 4, 2, $features);
            $crate::cpu::transform512::forward::forward!(@pass pass3, 3, 8, 2, $features);
            $crate::cpu::transform512::forward::forward!(@pass pass4, 4, 16, 1, $features);

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
    };

    (@pass $name:ident, $log:tt, $radix:literal, $columns:literal, $features:literal) => {
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
}

pub(in crate::cpu) use forward;
