//! The negacyclic transforms on AVX-512 registers, for any butterfly: a macro, because a function with target features
//! cannot be generic over functions with target features and still be inlined.
//!
//! Stages are done three or four at a time (radix 8, 16; 2 and 4 where the count does not divide), depth first, so that
//! blocks of 32 KiB and less stay in the first-level cache. The six stages next to the NTT domain are one pass over 64
//! points: three between registers, an 8x8 transposition, three between registers again, which are now the lanes of the
//! former. So they end transposed, in the order of panels; the canonical order takes a second transposition. Up to
//! radix 8 two independent columns or blocks go side by side: a butterfly's latency is about ten cycles, and the
//! processor's window is too short to find the next column by itself. Passes are functions of their own, because
//! together they would share, and spill, registers.
//!
//! A value is the first or the second of its next butterfly, and both results of one butterfly are the same there. The
//! first is what an addition sees, and must be exact; the second is only multiplied, which ignores high bits. So half
//! of the butterflies leave their results loose: see [`LOOSE`].
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
//!
//! | file | what |
//! |---|---|
//! | `stages` | the butterflies of radix 2, 4, 8, 16 in their order |
//! | `forward`, `inverse` | the passes of one direction |

pub(super) mod forward;
pub(super) mod inverse;
pub(super) mod stages;

/// The stages that one pass does on a block of `log` stages, of which the last six are the pass over 64 points. Radix
/// 16 only next to those: further out its 16 parts would lie a multiple of 4 KiB apart, and a cache set holds 12.
pub(super) fn pass_stages(log: u32) -> u32 {
    match log - 6 {
        r @ 1..=4 => r,
        _ => 3,
    }
}

/// From this n on the forward transform, too, makes lane values from their companions: the tables and the data together
/// would fill a second-level cache of 1 MiB, whose sets physical pages load unevenly. The inverse does so at any n, at
/// no measurable cost.
pub(super) const LARGE_N: usize = 1 << 15;

/// How a value is held between stages, as the arithmetic defines it: good for a product, but perhaps with high bits
/// that mean nothing.
pub(super) const LOOSE: u8 = 0;
/// An exact value, a butterfly's first result.
pub(super) const SUM: u8 = 1;
/// An exact value, a butterfly's second result.
pub(super) const DIFFERENCE: u8 = 2;
/// Any exact value.
pub(super) const EXACT: u8 = 3;
/// A residue, which the first butterfly of all takes as it is.
pub(super) const REDUCED: u8 = 4;

macro_rules! transforms {
    ($features:literal) => {
        use $crate::cpu::panels::Order;
        use $crate::cpu::transform512::stages::{down, stages_down, stages_up, up, up_exact, up_last};
        use $crate::cpu::transform512::{DIFFERENCE, EXACT, LARGE_N, LOOSE, REDUCED, SUM, pass_stages};
        use $crate::cpu::twiddles::{MIN_N, Roots, Uniform};
        use $crate::cpu::vec512::{load, store, transpose};

        $crate::cpu::transform512::forward::forward!($features);
        $crate::cpu::transform512::inverse::inverse!($features);

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
    };
}

pub(super) use transforms;
