//! The WGSL sources of blindvox's kernels and how they are put together.
//!
//! A module is constants, one body of the word arithmetic, the modular arithmetic over it, and a kernel file:
//! WGSL ignores the order of declarations, so concatenation is all it takes. Both bodies of [`Word`] have one
//! interface; residues are pairs (lo, hi) of u32 in memory with either.
//!
//! | file | kernels |
//! |---|---|
//! | `lib/word_u64.wgsl`, `lib/word_u32.wgsl` | 64-bit words, with and without 64-bit integers of the adapter |
//! | `lib/modulus.wgsl` | modular addition, Shoup and Barrett multiplication, the table of moduli |
//! | `lib/radix.wgsl` | butterflies of the transforms on 16 points in registers |
//! | `pointwise.wgsl` | add, sub, negate, mul, mul_add, mul_scalar |
//! | `add_lifted.wgsl` | plaintext addition |
//! | `ntt_forward.wgsl`, `ntt_inverse.wgsl`, `ntt_head.wgsl` | the transforms |
//! | `gemm.wgsl` | matrix product at every point |
//! | `drop_last_limb.wgsl` | modulus switch |

/// Which body of the word arithmetic to compile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Word {
    /// Pairs of u32: runs on every adapter.
    U32,
    /// u64 in registers: needs the adapter's 64-bit integers.
    U64,
}

/// An entry point: `source` is its kernel file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Kernel {
    /// The name of the `@compute` function.
    pub entry: &'static str,
    /// Storage buffers bound, binding 0 (the table of moduli) and 1 (the one written to) included.
    pub bindings: u32,
    source: &'static str,
    /// Compiled with `lib/radix.wgsl`.
    transform: bool,
}

macro_rules! kernels {
    ($($(#[$doc:meta])* $NAME:ident = $file:literal, $entry:literal, $bindings:literal;)*) => {
        $($(#[$doc])* pub const $NAME: Kernel =
            Kernel {
                entry: $entry,
                bindings: $bindings,
                source: include_str!(concat!("../wgsl/", $file)),
                transform: matches!($file.as_bytes(), [b'n', b't', b't', ..]),
            };)*
        /// Every kernel.
        pub const ALL: &[Kernel] = &[$($NAME),*];
    };
}

kernels! {
    /// `acc += left`.
    ADD = "pointwise.wgsl", "add", 3;
    /// `acc -= left`.
    SUB = "pointwise.wgsl", "sub", 3;
    /// `acc = -acc`.
    NEGATE = "pointwise.wgsl", "negate", 2;
    /// `acc *= left`.
    MUL = "pointwise.wgsl", "mul", 3;
    /// `acc += left * right`.
    MUL_ADD = "pointwise.wgsl", "mul_add", 4;
    /// `acc *= scalar` on one limb.
    MUL_SCALAR = "pointwise.wgsl", "mul_scalar", 2;
    /// `acc += values * scale` on one limb.
    ADD_LIFTED = "add_lifted.wgsl", "add_lifted", 3;
    /// Modulus switch.
    DROP_LAST_LIMB = "drop_last_limb.wgsl", "drop_last_limb", 3;
    /// The forward transform of a chunk. Constants `POINTS` (1024, 2048 or 4096) and `THROUGH_TILE` (1: the result takes one
    /// more turn through workgroup memory, so that neighbouring lanes write neighbouring words).
    NTT_FORWARD = "ntt_forward.wgsl", "ntt_forward", 3;
    /// The inverse transform of a chunk, constants as for [`NTT_FORWARD`].
    NTT_INVERSE = "ntt_inverse.wgsl", "ntt_inverse", 3;
    /// The first stages of rows longer than a chunk. Constant `RADIX`, the chunks a row: 2, 4, 8 or 16.
    NTT_HEAD_FORWARD = "ntt_head.wgsl", "ntt_head_forward", 3;
    /// The last stages of the inverse of such rows. Constant `RADIX`.
    NTT_HEAD_INVERSE = "ntt_head.wgsl", "ntt_head_inverse", 3;
    /// Matrix product. Constants `ROWS`, `COLS`, each 1 to 4: the tile of a lane.
    GEMM = "gemm.wgsl", "gemm", 4;
}

const RADIX: &str = include_str!("../wgsl/lib/radix.wgsl");
const WORD_U32: &str = concat!(include_str!("../wgsl/lib/word_u32.wgsl"), include_str!("../wgsl/lib/modulus.wgsl"));
const WORD_U64: &str = concat!(include_str!("../wgsl/lib/word_u64.wgsl"), include_str!("../wgsl/lib/modulus.wgsl"));

impl Kernel {
    /// The complete module with `constants` as `const NAME: u32`.
    pub fn module(&self, word: Word, constants: &[(&str, u32)]) -> String {
        let lib = match word {
            Word::U32 => WORD_U32,
            Word::U64 => WORD_U64,
        };
        let mut text: String =
            constants.iter().map(|(name, value)| format!("const {name}: u32 = {value}u;\n")).collect();
        text.push_str(lib);
        if self.transform {
            text.push_str(RADIX);
        }
        text.push_str(self.source);
        text
    }
}
