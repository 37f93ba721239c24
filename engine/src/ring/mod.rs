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

#[doc(hidden)]
pub mod basis;
#[doc(hidden)]
pub mod conversion;
#[doc(hidden)]
pub mod galois;
#[doc(hidden)]
pub mod modulus;
#[doc(hidden)]
pub mod ntt_table;
#[doc(hidden)]
pub mod prime;
pub mod primes;
#[doc(hidden)]
pub mod sampler;

#[doc(hidden)]
pub use basis::Basis;
#[doc(hidden)]
pub use conversion::Conversion;
#[doc(hidden)]
pub use galois::Galois;
#[doc(hidden)]
pub use modulus::Modulus;
#[doc(hidden)]
pub use ntt_table::NttTable;
#[doc(hidden)]
pub use prime::Prime;
