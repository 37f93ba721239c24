//! What tests and benchmarks reach of the inside: not part of the interface.

pub use crate::cpu::Body;
pub use crate::cpu::tables::Transform;
use crate::device::Device;
use crate::error::Result;
pub use crate::kernels::{Call, Case, Fill, KERNELS, Kernel, Left, On};

/// The CPU with a code path of one's choice.
///
/// # Errors
/// [`Error::Device`](crate::Error::Device) if the processor lacks it.
pub fn cpu_with_body(body: Body) -> Result<Device> {
    Device::cpu_with_body(body)
}

/// The CPU, chains going step by step over whole batches as on other devices.
pub fn cpu_by_steps() -> Device {
    Device::cpu_by_steps()
}
