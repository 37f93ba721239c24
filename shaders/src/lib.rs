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
//! | `lib/radix.wgsl` | points and factors of the transforms, whose butterflies are unrolled by this crate |
//! | `pointwise.wgsl` | add, sub, negate, mul, mul_add, mul_scalar |
//! | `add_lifted.wgsl` | plaintext addition |
//! | `lib/points.wgsl`, `lib/points_product.wgsl`, `lib/points_accumulate.wgsl` | what transforms do with their points on the way |
//! | `ntt_forward.wgsl`, `ntt_inverse.wgsl`, `ntt_head.wgsl` | the transforms |
//! | `gemm.wgsl` | matrix product at every point |
//! | `rns.wgsl` | conversion to other primes, division by some |
//! | `reduce.wgsl` | integers of one or two words to residues |
//! | `automorphism.wgsl` | x -> x^g in either domain |
//! | `lib/aes.wgsl`, `lib/chacha.wgsl` | the two gate hashes |
//! | `probe.wgsl` | the adapter's limits, measured |
//! | `garble.wgsl` | half-gates over many instances, with either hash |

mod unroll;

/// Which body of the word arithmetic to compile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Word {
    /// Pairs of u32: runs on every adapter.
    U32,
    /// u64 in registers: needs the adapter's 64-bit integers.
    U64,
}

/// What a kernel file builds on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Library {
    Residues,
    /// Of points as they are.
    Transform,
    /// Of products that are formed as they are read.
    Product,
    /// Into sums of products.
    Accumulate,
    Aes,
    ChaCha,
    /// None.
    Probe,
}

/// An entry point: `source` is its kernel file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Kernel {
    /// Its name here, which no other kernel has.
    pub name: &'static str,
    /// The name of the `@compute` function.
    pub entry: &'static str,
    /// Storage buffers bound, from binding 0: a table of constants, then 1, which is written to.
    pub bindings: u32,
    source: &'static str,
    library: Library,
}

macro_rules! kernels {
    ($($(#[$doc:meta])* $NAME:ident = $library:ident, $file:literal, $entry:literal, $bindings:literal;)*) => {
        $($(#[$doc])* pub const $NAME: Kernel =
            Kernel {
                name: stringify!($NAME),
                entry: $entry,
                bindings: $bindings,
                source: include_str!(concat!("../wgsl/", $file)),
                library: Library::$library,
            };)*
        /// Every kernel.
        pub const ALL: &[Kernel] = &[$($NAME),*];
    };
}

kernels! {
    /// `acc += left`.
    ADD = Residues, "pointwise.wgsl", "add", 3;
    /// `acc -= left`.
    SUB = Residues, "pointwise.wgsl", "sub", 3;
    /// `acc = -acc`.
    NEGATE = Residues, "pointwise.wgsl", "negate", 2;
    /// `acc *= left`.
    MUL = Residues, "pointwise.wgsl", "mul", 3;
    /// `acc += left * right`.
    MUL_ADD = Residues, "pointwise.wgsl", "mul_add", 4;
    /// `acc *= scalar` on one limb.
    MUL_SCALAR = Residues, "pointwise.wgsl", "mul_scalar", 2;
    /// `acc += values * scale` on one limb.
    ADD_LIFTED = Residues, "add_lifted.wgsl", "add_lifted", 3;
    /// Residues modulo other primes.
    MOD_UP = Residues, "rns.wgsl", "mod_up", 4;
    /// Division by some of the primes.
    MOD_DOWN = Residues, "rns.wgsl", "mod_down", 4;
    /// Residues of 64-bit integers.
    REDUCE_ONE = Residues, "reduce.wgsl", "reduce_one", 3;
    /// Residues of 128-bit integers.
    REDUCE_TWO = Residues, "reduce.wgsl", "reduce_two", 3;
    /// x -> x^g in the coefficient domain.
    AUTOMORPHISM_COEFF = Residues, "automorphism.wgsl", "automorphism_coeff", 3;
    /// x -> x^g in the NTT domain.
    AUTOMORPHISM_NTT = Residues, "automorphism.wgsl", "automorphism_ntt", 3;
    /// The forward transform of a chunk. Constants `POINTS` (1024, 2048 or 4096), `LAST_RADIX` (a 256th of it) and
    /// `THROUGH_TILE` (1: the result takes one more turn through workgroup memory, so that neighbouring lanes write
    /// neighbouring words).
    NTT_FORWARD = Transform, "ntt_forward.wgsl", "ntt_forward", 3;
    /// The same, and products of the points with two factors are added to two sums.
    NTT_FORWARD_MUL_ADD = Accumulate, "ntt_forward.wgsl", "ntt_forward", 7;
    /// The inverse transform of a chunk, constants as for [`NTT_FORWARD`], and `LAST`, 1: rows are chunks, and are
    /// multiplied by n^-1.
    NTT_INVERSE = Transform, "ntt_inverse.wgsl", "ntt_inverse", 3;
    /// The same of the product with another batch.
    NTT_INVERSE_OF_PRODUCT = Product, "ntt_inverse.wgsl", "ntt_inverse", 4;
    /// The first stages of rows longer than a chunk. Constant `RADIX`, the chunks a row: 2, 4, 8 or 16.
    NTT_HEAD_FORWARD = Transform, "ntt_head.wgsl", "ntt_head_forward", 3;
    /// The last stages of the inverse of such rows. Constant `RADIX`.
    NTT_HEAD_INVERSE = Transform, "ntt_head.wgsl", "ntt_head_inverse", 3;
    /// Matrix product. Constants `ROWS`, `COLS`, each 1 to 4: the tile of a lane; `DOWN`, `ACROSS`: the tiles of a
    /// workgroup; `CONSTANTS`, 1: the left factor has one residue a limb in place of polynomials.
    GEMM = Residues, "gemm.wgsl", "gemm", 4;
    /// Garbles the steps of a circuit in every instance. Constant `COPIES`, of the AES table in workgroup memory.
    GARBLE = Aes, "garble.wgsl", "garble", 5;
    /// Evaluates them. Constant `COPIES`.
    EVALUATE = Aes, "garble.wgsl", "evaluate", 5;
    /// The same with ChaCha12.
    GARBLE_CHACHA = ChaCha, "garble.wgsl", "garble", 5;
    /// The same with ChaCha12.
    EVALUATE_CHACHA = ChaCha, "garble.wgsl", "evaluate", 5;
    /// Reads and writes every word.
    PROBE_COPY = Probe, "probe.wgsl", "probe_copy", 3;
    /// Chains of multiply-adds.
    PROBE_MULTIPLY = Probe, "probe.wgsl", "probe_multiply", 3;
    /// The colours of a wire's labels, 32 a word.
    COLOURS = ChaCha, "garble.wgsl", "colours", 5;
}

const AES: &str = include_str!("../wgsl/lib/aes.wgsl");
const CHACHA: &str = include_str!("../wgsl/lib/chacha.wgsl");
const RADIX: &str = include_str!("../wgsl/lib/radix.wgsl");
const WORD_U32: &str = concat!(include_str!("../wgsl/lib/word_u32.wgsl"), include_str!("../wgsl/lib/modulus.wgsl"));
const WORD_U64: &str = concat!(include_str!("../wgsl/lib/word_u64.wgsl"), include_str!("../wgsl/lib/modulus.wgsl"));

impl Kernel {
    /// The complete module with `constants` as `const NAME: u32`.
    pub fn module(&self, word: Word, constants: &[(&str, u32)]) -> String {
        let residues = match word {
            Word::U32 => WORD_U32,
            Word::U64 => WORD_U64,
        };
        let library: &[&str] = match self.library {
            Library::Residues => &[residues],
            Library::Transform => &[residues, RADIX, include_str!("../wgsl/lib/points.wgsl")],
            Library::Product => &[residues, RADIX, include_str!("../wgsl/lib/points_product.wgsl")],
            Library::Accumulate => &[residues, RADIX, include_str!("../wgsl/lib/points_accumulate.wgsl")],
            Library::Aes => &[AES],
            Library::ChaCha => &[CHACHA],
            Library::Probe => &[],
        };
        let head = constants.iter().map(|(name, value)| format!("const {name}: u32 = {value}u;\n"));
        let text: String = head.chain(library.iter().chain([&self.source]).map(|text| (*text).to_owned())).collect();
        unroll::unroll(&text, constants)
    }

    /// Whether a kernel writes to a binding.
    pub fn writes(&self, binding: u32) -> bool {
        match self.library {
            Library::Aes | Library::ChaCha => binding == 1 || binding == 3,
            Library::Accumulate => matches!(binding, 1 | 3 | 4),
            _ => binding == 1,
        }
    }
}
