//! What is asked of a GPU and said of one.

use std::fmt;

pub use blindvox_shaders::Word;

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
    /// Runs kernels on the CPU, slower than the CPU backend.
    pub software: bool,
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

impl AdapterReport {
    /// Whether `part` is part of the adapter's name, in any case.
    pub fn is_named(&self, part: &str) -> bool {
        self.name.to_lowercase().contains(&part.to_lowercase())
    }
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

/// What a GPU can do at best, measured, each the best of some runs.
#[derive(Clone, Copy, Debug)]
pub struct Rates {
    /// Words of eight bytes read and written again, a second.
    pub words_copied: f64,
    /// 32-bit multiply-adds a second.
    pub multiply_adds: f64,
}

/// Said where a build without the feature `wgpu` is asked for a GPU.
#[cfg(not(feature = "wgpu"))]
pub(crate) const NOT_BUILT: &str = "no GPU backend: this build was made without the feature `wgpu`; use the CPU";
