//! Which adapters there are, and why one cannot be used.

use std::fmt;

use ::wgpu::{Adapter, Backends, DeviceType, Features, Limits};
pub use blindvox_shaders::Word;

use super::instance::instance;
use crate::error::{Error, Result};

/// How to open a GPU.
#[derive(Clone, Debug, Default)]
pub struct GpuOptions {
    /// The body of the word arithmetic; `None` takes 64-bit integers where the adapter has them.
    pub word: Option<Word>,
    /// Compile the kernels with bounds checks, bounded loops and zeroed workgroup memory: slower, for tests.
    pub checked: bool,
    /// Part of the adapter's name, any case; `None` takes the first of the most capable kind.
    pub adapter: Option<String>,
}

/// An adapter in words and numbers.
#[derive(Clone, Debug)]
pub struct AdapterReport {
    /// The adapter's name.
    pub name: String,
    /// Driver and its version.
    pub driver: String,
    /// Discrete, integrated, virtual, CPU (a software device) or other.
    pub kind: &'static str,
    /// Has 64-bit integers in shaders.
    pub int64: bool,
    /// Largest window on a buffer that a kernel sees, bytes.
    pub max_binding_bytes: u64,
    /// Largest buffer, bytes.
    pub max_buffer_bytes: u64,
    /// Workgroup memory, bytes.
    pub workgroup_bytes: u32,
    /// Lanes a workgroup.
    pub workgroup_lanes: u32,
    /// What it lacks; `None` if it can be used.
    pub unusable: Option<String>,
}

impl fmt::Display for AdapterReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |bytes: u64| bytes >> 20;
        write!(
            f,
            "{} ({}, {}): 64-bit integers {}, windows of {} MiB, buffers of {} MiB, workgroups of {} lanes and {} KiB",
            self.name,
            self.kind,
            self.driver,
            if self.int64 { "yes" } else { "no" },
            mib(self.max_binding_bytes),
            mib(self.max_buffer_bytes),
            self.workgroup_lanes,
            self.workgroup_bytes >> 10
        )?;
        match &self.unusable {
            Some(reason) => write!(f, "; not usable: {reason}"),
            None => Ok(()),
        }
    }
}

/// All adapters with a Vulkan driver, usable or not, in the order in which they are preferred.
pub fn adapters() -> Vec<AdapterReport> {
    enumerate().iter().map(report).collect()
}

pub(super) fn enumerate() -> Vec<Adapter> {
    let mut adapters = pollster::block_on(instance().enumerate_adapters(Backends::VULKAN));
    adapters.sort_by_key(|a| match a.get_info().device_type {
        DeviceType::DiscreteGpu => 0,
        DeviceType::IntegratedGpu => 1,
        DeviceType::VirtualGpu => 2,
        DeviceType::Other => 3,
        DeviceType::Cpu => 4,
    });
    adapters
}

pub(super) fn report(adapter: &Adapter) -> AdapterReport {
    let (info, limits, features) = (adapter.get_info(), adapter.limits(), adapter.features());
    AdapterReport {
        name: info.name,
        driver: format!("{} {}", info.driver, info.driver_info).trim().to_owned(),
        kind: match info.device_type {
            DeviceType::DiscreteGpu => "discrete GPU",
            DeviceType::IntegratedGpu => "integrated GPU",
            DeviceType::VirtualGpu => "virtual GPU",
            DeviceType::Cpu => "software device on the CPU",
            DeviceType::Other => "other",
        },
        int64: features.contains(Features::SHADER_INT64),
        max_binding_bytes: limits.max_storage_buffer_binding_size,
        max_buffer_bytes: limits.max_buffer_size,
        workgroup_bytes: limits.max_compute_workgroup_storage_size,
        workgroup_lanes: limits.max_compute_invocations_per_workgroup,
        unusable: lacking(&limits, features),
    }
}

/// What the kernels need that is not there.
fn lacking(limits: &Limits, features: Features) -> Option<String> {
    let needs = [
        ("lanes a workgroup", u64::from(limits.max_compute_invocations_per_workgroup), 256),
        ("bytes of workgroup memory", u64::from(limits.max_compute_workgroup_storage_size), 32 << 10),
        ("storage buffers a kernel", u64::from(limits.max_storage_buffers_per_shader_stage), 7),
        ("bytes of immediate data", u64::from(limits.max_immediate_size), 64),
        ("workgroups a dimension", u64::from(limits.max_compute_workgroups_per_dimension), 65_535),
        ("bytes a storage window", limits.max_storage_buffer_binding_size, 64 << 20),
    ];
    if !features.contains(Features::IMMEDIATES) {
        return Some("it has no immediate data (push constants)".to_owned());
    }
    let (what, has, need) = needs.into_iter().find(|&(_, has, need)| has < need)?;
    Some(format!("it has {has} {what}, {need} are needed"))
}

/// The adapter that the options ask for.
pub(super) fn choose(options: &GpuOptions) -> Result<Adapter> {
    let adapters = enumerate();
    let wanted = options.adapter.as_deref().unwrap_or("").to_lowercase();
    let fits = |a: &&Adapter| {
        let r = report(a);
        r.unusable.is_none() && r.name.to_lowercase().contains(&wanted) && (options.word != Some(Word::U64) || r.int64)
    };
    adapters.iter().find(fits).cloned().ok_or_else(|| {
        let found: Vec<String> = adapters.iter().map(|a| report(a).to_string()).collect();
        let found = if found.is_empty() { "none was found".to_owned() } else { found.join("; ") };
        Error::Device(format!("no usable Vulkan adapter for {options:?}: {found}"))
    })
}
