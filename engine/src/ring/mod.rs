//! Arithmetic of `Z_q[x]/(x^n + 1)` for q a product of word-sized NTT primes.
//!
//! | module | what |
//! |---|---|
//! | [`modulus`] | one prime of at most 60 bits: scalar arithmetic |
//! | [`primes`] | primality, NTT prime generation, the default primes |
//! | [`ntt_table`] | roots of one prime and the scalar transforms, the reference of every backend |
//! | [`mod@prime`] | one prime with its roots, shared |
//! | [`galois`] | the automorphisms x -> x^g as permutations |
//! | [`basis`] | primes in order: chains, their levels and digits |
//! | [`conversion`] | constants from one basis to another |
//! | [`sampler`] | uniform, ternary, centred binomial and flooding coefficients |

pub mod basis;
pub mod conversion;
pub mod galois;
pub mod modulus;
pub mod ntt_table;
pub mod prime;
pub mod primes;
pub mod sampler;

pub use basis::Basis;
pub use conversion::Conversion;
pub use galois::Galois;
pub use modulus::Modulus;
pub use ntt_table::NttTable;
pub use prime::Prime;
