//! The device that the flags ask for.

use blindvox_engine::gpu::{GpuOptions, adapters, why_no_gpu};
use blindvox_engine::{Device, DeviceKind};
use blindvox_protocols::{Error, Result};
use clap::ValueEnum;

/// Where the engine's kernels run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum BackendChoice {
    /// Main memory and all cores.
    #[default]
    Cpu,
    /// The first usable GPU adapter, or the one of --adapter.
    Gpu,
}

/// Opens the device of `--backend` and `--adapter`.
///
/// # Errors
/// [`Error::Input`] for an adapter that isn't there; that of the engine for one that can't be used.
pub(crate) fn device(backend: BackendChoice, adapter: Option<&str>) -> Result<Device> {
    match (backend, adapter) {
        (BackendChoice::Cpu, None) => Ok(Device::cpu()),
        (BackendChoice::Cpu, Some(name)) => {
            Err(Error::Input(format!("--adapter {name}: found --backend cpu, expected --backend gpu")))
        }
        (BackendChoice::Gpu, adapter) => gpu(adapter),
    }
}

/// Opens the first usable adapter, or the one whose name has this part.
///
/// # Errors
/// Those of [`device`].
pub(crate) fn gpu(adapter: Option<&str>) -> Result<Device> {
    if let Some(name) = adapter {
        let there = adapters();
        if !there.is_empty() && !there.iter().any(|a| a.is_named(name)) {
            let names: Vec<_> = there.iter().map(|a| format!("\"{}\"", a.name)).collect();
            return Err(Error::Input(format!(
                "--adapter {name}: found no such name, expected part of {}",
                names.join(" or ")
            )));
        }
    }
    Ok(Device::gpu_with(&GpuOptions { adapter: adapter.map(str::to_owned), ..GpuOptions::default() })?)
}

/// What to know before kernels run on a device: that it is a software one, and why.
pub(crate) fn caution(device: &Device) -> Option<String> {
    if device.kind() != DeviceKind::SoftwareGpu {
        return None;
    }
    let why = why_no_gpu().unwrap_or_else(|| format!("{} is a software device", device.describe()));
    Some(format!("{why}: kernels run on the CPU, slower than with --backend cpu"))
}
