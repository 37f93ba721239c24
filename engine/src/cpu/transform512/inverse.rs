//! The passes from points to coefficients.

macro_rules! inverse {
    ($features:literal) => {
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

            $crate::cpu::transform512::inverse::inverse!(@pass pass1, 1, 2, 2, $features);
            $crate::cpu::transform512::inverse::inverse!(@pass pass2, 2, 4, 2, $features);
            $crate::cpu::transform512::inverse::inverse!(@pass pass3, 3, 8, 2, $features);
            $crate::cpu::transform512::inverse::inverse!(@pass pass4, 4, 16, 1, $features);

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

            /// The first six stages on G blocks of 64 points from `group` on, and the last ones too for a block that is
            /// all.
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

    (@pass $name:ident, $log:tt, $radix:literal, $columns:literal, $features:literal) => {
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

pub(in crate::cpu) use inverse;
