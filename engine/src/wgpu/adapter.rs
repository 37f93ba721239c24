//! Which adapters there are, and why one cannot be used.

use ::wgpu::{Adapter, Backends, DeviceType, Features, Limits};

use super::drivers::Drivers;
use super::instance::instance;
use crate::backend::adapters::{AdapterReport, GpuOptions, Word};
use crate::error::{Error, Result};

/// See [`crate::gpu::adapters`].
pub(crate) fn adapters() -> Vec<AdapterReport> {
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
        software: info.device_type == DeviceType::Cpu,
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
    let reports: Vec<AdapterReport> = adapters.iter().map(report).collect();
    pick(&reports, options).map(|at| adapters[at].clone()).map_err(Error::NoDevice)
}

/// The first of these that can be used and has the wanted name, or why there is none.
fn pick(reports: &[AdapterReport], options: &GpuOptions) -> std::result::Result<usize, String> {
    if reports.is_empty() {
        return Err(Drivers::find().why_none());
    }
    let wanted = options.adapter.as_deref().unwrap_or("");
    let named: Vec<usize> = (0..reports.len()).filter(|&i| reports[i].is_named(wanted)).collect();
    if named.is_empty() {
        let there: Vec<_> = reports.iter().map(|r| format!("{:?}", r.name)).collect();
        return Err(format!("no adapter's name contains {wanted:?}; there are {}", there.join(", ")));
    }
    let fault = |r: &AdapterReport| match options.word {
        Some(Word::U64) if r.unusable.is_none() && !r.int64 => Some("it has no 64-bit integers".to_owned()),
        _ => r.unusable.clone(),
    };
    named.iter().find(|&&i| fault(&reports[i]).is_none()).copied().ok_or_else(|| {
        let faults = named.iter().filter_map(|&i| fault(&reports[i]).map(|f| format!("{}: {f}", reports[i].name)));
        format!("no usable adapter: {}", faults.collect::<Vec<_>>().join("; "))
    })
}

/// See [`crate::gpu::why_no_gpu`].
pub(crate) fn why_no_gpu() -> Option<String> {
    let reports = adapters();
    match reports.iter().find(|r| r.software) {
        _ if reports.iter().any(|r| !r.software) => None,
        Some(r) => Some(format!("{} is a software device; {}", r.name, Drivers::find().why_software_only())),
        None => Some(Drivers::find().why_none()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some(name: &str, unusable: Option<&str>) -> AdapterReport {
        AdapterReport {
            name: name.to_owned(),
            driver: String::new(),
            kind: "other",
            software: false,
            int64: false,
            max_binding_bytes: 0,
            max_buffer_bytes: 0,
            workgroup_bytes: 0,
            workgroup_lanes: 0,
            unusable: unusable.map(str::to_owned),
        }
    }

    #[test]
    fn an_adapter_is_chosen_by_part_of_its_name() {
        let there = [some("Old Card", Some("it has no lanes")), some("New Card", None), some("Third", None)];
        let pick = |name: Option<&str>, word| {
            pick(&there, &GpuOptions { adapter: name.map(str::to_owned), word, ..GpuOptions::default() })
        };
        assert_eq!((pick(None, None), pick(Some("card"), None), pick(Some("THIRD"), None)), (Ok(1), Ok(1), Ok(2)));
        let none = pick(Some("abc"), None).unwrap_err();
        assert_eq!(none, r#"no adapter's name contains "abc"; there are "Old Card", "New Card", "Third""#);
        assert_eq!(pick(Some("old"), None).unwrap_err(), "no usable adapter: Old Card: it has no lanes");
        let word = pick(Some("new"), Some(Word::U64)).unwrap_err();
        assert_eq!(word, "no usable adapter: New Card: it has no 64-bit integers");
    }
}
