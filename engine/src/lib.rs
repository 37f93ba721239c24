#![doc = include_str!("../README.md")]

// Each uses only those of the floors below it: bfv, ckks > rlwe > chain > poly, gate_room > device > cpu, wgpu >
// backend > ring.
mod backend;
mod cpu;
mod device;
#[cfg(feature = "wgpu")]
mod wgpu;

pub mod bfv;
pub mod chain;
pub mod ckks;
pub mod gpu;
pub mod ring;
pub mod rlwe;

// Hidden, here and in the modules above, is what this project's own crates use besides: no promises.
#[doc(hidden)]
pub mod aes;
#[doc(hidden)]
pub mod bigint;
#[doc(hidden)]
pub mod chacha;
#[doc(hidden)]
pub mod error;
#[doc(hidden)]
pub mod garble;
#[doc(hidden)]
pub mod gate_room;
#[doc(hidden)]
pub mod poly;
#[doc(hidden)]
pub mod prng;
#[doc(hidden)]
pub mod simd;
#[doc(hidden)]
pub mod stack;
#[doc(hidden)]
pub mod testing;

// All kernels in turn, for tests and benchmarks.
mod kernels;

#[doc(hidden)]
pub use backend::{Colours, Domain, Pending, RoomSize, TableUse};
pub use backend::{DeviceKind, GemmShape, Integers};
pub use device::Device;
pub use error::{Error, Result};
#[doc(hidden)]
pub use gate_room::GateRoom;
pub use poly::{Coeff, LimbView, Ntt, PolyBatch, Rows};
pub use prng::Prng;
pub use ring::Basis;
