#![doc = include_str!("../README.md")]
#![warn(unreachable_pub)]

// Each uses only those of the floors below it: bfv, ckks > rlwe > chain > poly, gate_room > device > cpu, wgpu >
// backend > ring.
mod backend;
mod cpu;
mod device;
#[cfg(feature = "wgpu")]
mod wgpu;

pub mod aes;
pub mod bfv;
pub mod chacha;
pub mod chain;
pub mod ckks;
pub mod error;
pub mod garble;
pub mod gate_room;
pub mod gpu;
pub mod poly;
pub mod prng;
pub mod ring;
pub mod rlwe;
pub mod simd;
pub mod stack;

// All kernels in turn, for tests and benchmarks.
mod kernels;
#[doc(hidden)]
pub mod testing;

pub use backend::{Colours, DeviceKind, Domain, GemmShape, Integers, Pending, RoomSize, TableUse};
pub use device::Device;
pub use error::{Error, Result};
pub use gate_room::GateRoom;
pub use poly::{Coeff, LimbView, Ntt, PolyBatch, Rows};
pub use prng::Prng;
pub use ring::Basis;
