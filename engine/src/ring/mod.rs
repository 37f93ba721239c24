//! Arithmetic of `Z_q[x]/(x^n + 1)` for q a product of word-sized NTT primes.
//!
//! | module | what |
//! |---|---|
//! | [`modulus`] | one prime of at most 60 bits: scalar arithmetic |
//! | [`primes`] | primality, NTT prime generation, the default primes |
//! | [`ntt_table`] | roots of one prime and the scalar transforms, the reference of every backend |
//! | [`galois`] | the automorphisms x -> x^g as permutations |
//! | [`rns_basis`] | several primes together and the constants between them |
//! | [`sampler`] | uniform, ternary, centred binomial and flooding coefficients |

pub mod galois;
pub mod modulus;
pub mod ntt_table;
pub mod primes;
pub mod rns_basis;
pub mod sampler;

pub use galois::Galois;
pub use modulus::Modulus;
pub use ntt_table::NttTable;
pub use rns_basis::RnsBasis;
