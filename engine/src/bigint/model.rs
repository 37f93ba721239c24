//! The kernels of [`super::lanes`] on emulated vectors, so that their order and their ranges are tested on every
//! machine: sums that wrap around, factors that are no digits and carries that should not be there end a test.

macro_rules! model {
    ($name:ident, $bits:literal, halves: $halves:literal) => {
        // Lanes of a tile are indices into several arrays at once; no function of a model is unsafe.
        #[allow(clippy::needless_range_loop, unused_unsafe)]
        pub(super) mod $name {
            use crate::bigint::lanes::{body, kernels};
            use crate::bigint::natural::mask;
            use crate::bigint::numbers::{Line as _, Line4 as Line};

            type V = [u64; 4];

            fn runs_here() -> bool {
                true
            }

            fn load(line: &Line) -> V {
                line.0
            }

            fn store(line: &mut Line, v: V) {
                line.0 = v;
            }

            fn splat(x: u64) -> V {
                [x; 4]
            }

            fn zero() -> V {
                [0; 4]
            }

            fn zip(a: V, b: V, f: impl Fn(u64, u64) -> u64) -> V {
                std::array::from_fn(|k| f(a[k], b[k]))
            }

            fn add(a: V, b: V) -> V {
                zip(a, b, |a, b| a.checked_add(b).expect("a column below 2^64"))
            }

            /// Of digits.
            fn times(a: V, b: V, part: impl Fn(u128) -> u128) -> V {
                zip(a, b, |a, b| {
                    assert!(a | b <= mask($bits), "no digits: {a:x} {b:x}");
                    part(u128::from(a) * u128::from(b)) as u64
                })
            }

            fn lo(s: V, a: V, b: V) -> V {
                add(s, times(a, b, |p| if $halves { p & u128::from(mask($bits)) } else { p }))
            }

            fn hi(s: V, a: V, b: V) -> V {
                if $halves { add(s, times(a, b, |p| p >> $bits)) } else { s }
            }

            fn quotient(t: V, inverse: V) -> V {
                zip(t, inverse, |t, i| t.wrapping_mul(i) & mask($bits))
            }

            fn low(s: V) -> V {
                s.map(|s| s & mask($bits))
            }

            fn carry(s: V) -> V {
                s.map(|s| s >> $bits)
            }

            fn complement(digit: V) -> V {
                digit.map(|d| mask($bits) - d)
            }

            fn equal(a: V, b: V) -> V {
                zip(a, b, |a, b| if a == b { u64::MAX } else { 0 })
            }

            fn pick(s: V, mask: V, x: V) -> V {
                std::array::from_fn(|k| s[k] | mask[k] & x[k])
            }

            fn nothing(s: V) {
                assert_eq!(s, [0; 4], "a carry beyond R");
            }

            kernels!(8 columns 0 1 2 3 4 5 6 7);
            body!(
                /// Four numbers on emulated vectors.
                Model, $bits, Line
            );
        }
    };
}

model!(of52, 52, halves: true);
model!(of26, 26, halves: false);
