//! blindvox engine: batched lattice and garbling kernels on a CPU and a GPU backend.
//!
//! Layers, each using only those above it:
//!
//! | module | what |
//! |---|---|
//! | [`ring`] | primes, roots, the scalar transform, samplers |
//! | [`backend`], [`device`] | the kernels a device has, and the one list of devices |
//! | [`cpu`] | the CPU backend |
//! | [`mod@wgpu`] | the GPU backend |
//! | [`poly`] | batches of polynomials on a device, checked |
//! | [`chain`] | steps over a few polynomials, written once for all devices |
//! | [`aes`] | batched AES-128 and the hash of garbling and OT |
//! | [`chacha`] | the other gate hash |
//! | [`garble`] | half-gates, one gate over many instances |
//! | [`rlwe`] | parameters, keys, ciphertexts |
//! | [`bfv`] | messages mod t, circuit-private replies |
//! | [`mod@ckks`] | approximate arithmetic on encrypted vectors |
//! | [`prng`] | the source of secrets |
//! | [`stack`] | clearing of the stack that secrets were worked on |
//! | [`simd`] | loops compiled for wide registers |

pub mod aes;
pub mod backend;
pub mod bfv;
pub mod chacha;
pub mod chain;
pub mod ckks;
pub mod cpu;
pub mod device;
pub mod error;
pub mod garble;
pub mod poly;
pub mod prng;
pub mod ring;
pub mod rlwe;
pub mod simd;
pub mod stack;
pub mod wgpu;

pub use backend::{Backend, Domain, GemmShape, Integers, Shape};
pub use device::{Device, DeviceKind};
pub use error::{Error, Result};
pub use poly::{Coeff, LimbView, Ntt, PolyBatch};
pub use prng::Prng;
pub use ring::Basis;
