//! What this machine offers to the engine, and why something is not used.

use blindvox_engine::Device;
use blindvox_engine::gpu::adapters;
use blindvox_protocols::infer::Options;
use blindvox_protocols::{Error, Result};

use crate::args::DoctorArgs;
use crate::gpu;
use crate::input::Done;

/// Instruction sets that kernels have bodies for, and whether the processor has them.
fn cpu_features() -> Vec<(&'static str, bool)> {
    #[cfg(target_arch = "x86_64")]
    return vec![
        ("aes", is_x86_feature_detected!("aes")),
        ("avx2", is_x86_feature_detected!("avx2")),
        ("avx512f", is_x86_feature_detected!("avx512f")),
        ("avx512dq", is_x86_feature_detected!("avx512dq")),
        ("avx512ifma", is_x86_feature_detected!("avx512ifma")),
        ("vaes", is_x86_feature_detected!("vaes")),
        ("gfni", is_x86_feature_detected!("gfni")),
    ];
    #[cfg(not(target_arch = "x86_64"))]
    Vec::new()
}

/// Prints the list.
pub(crate) fn run(args: &DoctorArgs) -> Result<Done> {
    say!("blindvox {} on {} {}", env!("CARGO_PKG_VERSION"), std::env::consts::OS, std::env::consts::ARCH);
    let (has, lacks): (Vec<_>, Vec<_>) = cpu_features().into_iter().partition(|f| f.1);
    let names = |list: &[(&'static str, bool)]| list.iter().map(|f| f.0).collect::<Vec<_>>().join(" ");
    say!("CPU features: {}", names(&has));
    if !lacks.is_empty() {
        say!("    not here: {} (portable bodies run instead)", names(&lacks));
    }
    say!("backend cpu : usable, {}", Device::cpu().describe());
    match gpu::gpu(args.adapter.as_deref()) {
        Ok(device) => {
            say!("backend gpu : usable, {}", device.describe());
            if let Some(caution) = gpu::caution(&device) {
                say!("    warning : {caution}");
            }
            say!("    garbling: {} by default", Options::new(device).garbling());
        }
        Err(e @ Error::Input(_)) => return Err(e),
        Err(e) => say!("backend gpu : not usable, {e}"),
    }
    for adapter in adapters() {
        say!("    adapter : {adapter}");
    }
    Ok(Done::Whole)
}
