//! Compiled kernels, each at its first use.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};

use ::wgpu::{
    BindGroupLayout, BindGroupLayoutDescriptor, BindGroupLayoutEntry, BindingType, BufferBindingType, ComputePipeline,
    ComputePipelineDescriptor, Device, PipelineCompilationOptions, PipelineLayoutDescriptor, ShaderModuleDescriptor,
    ShaderRuntimeChecks, ShaderSource, ShaderStages,
};
use blindvox_shaders::{Kernel, Word};

use super::lock::lock;

/// Bytes of immediate data of every kernel, at most.
const IMMEDIATE_BYTES: u32 = 64;

type Constant = (&'static str, u32);
type Key = (&'static str, Vec<Constant>);

pub(super) struct Pipeline {
    pub(super) pipeline: ComputePipeline,
    pub(super) layout: BindGroupLayout,
}

pub(super) struct Pipelines {
    pub(super) checked: bool,
    /// Every one is compiled once, different ones by different threads at a time.
    known: Mutex<HashMap<Key, Arc<OnceLock<Arc<Pipeline>>>>>,
}

impl Pipelines {
    pub(super) fn new(checked: bool) -> Self {
        Self { checked, known: Mutex::default() }
    }

    /// The kernel with these constants.
    pub(super) fn get(&self, device: &Device, word: Word, kernel: Kernel, constants: &[Constant]) -> Arc<Pipeline> {
        let place = lock(&self.known).entry((kernel.name, constants.to_vec())).or_default().clone();
        place.get_or_init(|| Arc::new(self.compile(device, word, kernel, constants))).clone()
    }

    fn compile(&self, device: &Device, word: Word, kernel: Kernel, constants: &[Constant]) -> Pipeline {
        let label = Some(kernel.entry);
        let module =
            ShaderModuleDescriptor { label, source: ShaderSource::Wgsl(kernel.module(word, constants).into()) };
        let module = if self.checked {
            device.create_shader_module(module)
        } else {
            // SAFETY: the sources are this workspace's own. They index buffers only inside the windows bound, whose
            // sizes the callers derive from the same shapes as the parameters, all their loops end,
            // and no divisor is zero. The parity suite also runs them with all checks on.
            unsafe { device.create_shader_module_trusted(module, ShaderRuntimeChecks::unchecked()) }
        };
        let entries: Vec<BindGroupLayoutEntry> = (0..kernel.bindings)
            .map(|binding| BindGroupLayoutEntry {
                binding,
                visibility: ShaderStages::COMPUTE,
                ty: BindingType::Buffer {
                    ty: BufferBindingType::Storage { read_only: !kernel.writes(binding) },
                    has_dynamic_offset: false,
                    min_binding_size: None,
                },
                count: None,
            })
            .collect();
        let layout = device.create_bind_group_layout(&BindGroupLayoutDescriptor { label, entries: &entries });
        let pipeline_layout = device.create_pipeline_layout(&PipelineLayoutDescriptor {
            label,
            bind_group_layouts: &[Some(&layout)],
            immediate_size: IMMEDIATE_BYTES,
        });
        let pipeline = device.create_compute_pipeline(&ComputePipelineDescriptor {
            label,
            layout: Some(&pipeline_layout),
            module: &module,
            entry_point: Some(kernel.entry),
            compilation_options: PipelineCompilationOptions {
                zero_initialize_workgroup_memory: self.checked,
                ..Default::default()
            },
            cache: None,
        });
        Pipeline { pipeline, layout }
    }
}
