//! Which hash gates use and where they are computed.

use std::fmt;

use blindvox_engine::garble::GateHash;
use blindvox_engine::{Device, DeviceKind, aes};

/// Where gates are computed; each party chooses for itself, the bytes sent are the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GatePlace {
    /// AES on the CPU wherever that has AES instructions: a table's 32 bytes take longer over the bus than one core
    /// takes to garble them, and whole runs on an NVIDIA H200 were faster so. Without them, and with ChaCha12, on the
    /// session's device if it is a GPU that hashes in a time that does not depend on labels. A software device runs
    /// shaders on the CPU, far slower than its own instructions.
    #[default]
    Auto,
    /// On the CPU.
    Cpu,
    /// On the session's device, a software one included.
    Device,
}

/// How a party garbles or evaluates.
#[derive(Clone, Debug, Default)]
pub struct Garbling {
    /// The gate hash, which both parties must use.
    pub hash: GateHash,
    /// The device whose rooms gates are computed in; none is the processor, chunk by chunk in cache.
    pub device: Option<Device>,
}

impl Garbling {
    /// Resolves a choice of place on a session's device.
    pub fn new(hash: GateHash, place: GatePlace, device: &Device) -> Self {
        let device = match (place, device.kind()) {
            (GatePlace::Cpu, _) | (_, DeviceKind::Cpu) | (GatePlace::Auto, DeviceKind::SoftwareGpu) => None,
            (GatePlace::Auto, DeviceKind::Gpu) => {
                let by_instructions = hash == GateHash::Aes && aes::Body::best() != aes::Body::Portable;
                (!by_instructions && device.hashes_in_constant_time(hash)).then(|| device.clone())
            }
            (GatePlace::Device, _) => Some(device.clone()),
        };
        Self { hash, device }
    }
}

impl fmt::Display for Garbling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.device {
            Some(device) => write!(f, "{} on {}", self.hash, device.describe()),
            None => write!(f, "{} on the CPU", self.hash),
        }
    }
}
