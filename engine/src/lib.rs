#![doc = include_str!("../README.md")]
#![warn(unreachable_pub)]

// From the lowest floor up: each uses only those before it.
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
#[doc(hidden)]
pub mod testing;

pub use backend::{Colours, DeviceKind, Domain, GemmShape, Integers, Pending, RoomSize, TableUse};
pub use device::Device;
pub use error::{Error, Result};
pub use gate_room::GateRoom;
pub use poly::{Coeff, LimbView, Ntt, PolyBatch};
pub use prng::Prng;
pub use ring::Basis;
