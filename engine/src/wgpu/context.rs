//! An open adapter: the recorder of commands, and errors.
//!
//! Commands gather in one encoder and are submitted together, at the latest when a download waits. Every error the
//! driver reports, at once or later, is kept and returned by the next call.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, mpsc};

use ::wgpu::{
    Adapter, BindGroupDescriptor, BindGroupEntry, BindingResource, Buffer, BufferBinding, CommandEncoder,
    ComputePassDescriptor, Device, DeviceDescriptor, DeviceType, Features, Limits, MapMode, MemoryHints, PollType,
    Queue, SubmissionIndex,
};

use blindvox_shaders::Kernel;

use super::adapter;
use super::instance;
use super::lock::lock;
use super::pipeline::{Pipeline, Pipelines};
use super::pool::Pool;
use crate::backend::adapters::{GpuOptions, Word};
use crate::error::{Error, Result};

/// Commands recorded before they are submitted on their own, so that the device starts early.
const COMMANDS_A_SUBMIT: usize = 64;

/// Part of a buffer, in bytes.
#[derive(Clone, Copy)]
pub(super) struct Window<'a> {
    pub(super) buffer: &'a Buffer,
    pub(super) offset: usize,
    pub(super) bytes: usize,
}

/// An upload buffer and the bytes of it that are used.
pub(super) type Upload = (Buffer, u64);

pub(super) struct Recorder {
    encoder: Option<CommandEncoder>,
    pub(super) commands: usize,
    /// Filled, and copied from by the encoder.
    pub(super) uploads: Vec<Upload>,
    /// Of the uploads submitted and not yet back.
    pub(super) in_flight: usize,
    /// Submissions with uploads, the oldest first.
    pub(super) uploading: VecDeque<SubmissionIndex>,
    /// Submissions so far.
    submissions: usize,
    /// Upload buffers come back mapped, from the driver's callback.
    pub(super) back: (mpsc::Sender<Upload>, mpsc::Receiver<Upload>),
}

pub(super) struct Context {
    pub(super) device: Device,
    queue: Queue,
    pub(super) limits: Limits,
    pub(super) word: Word,
    /// A software device, where memory is the process's own and a dispatch takes longer.
    pub(super) software: bool,
    name: String,
    failure: Arc<Mutex<Option<String>>>,
    pub(super) recorder: Mutex<Recorder>,
    pub(super) pool: Mutex<Pool>,
    pub(super) pipelines: Pipelines,
}

impl Context {
    pub(super) fn open(options: &GpuOptions) -> Result<Self> {
        let turn = instance::turn();
        let adapter = adapter::choose(options)?;
        let report = adapter::report(&adapter);
        let word = options.word.unwrap_or(if report.int64 { Word::U64 } else { Word::U32 });
        let software = adapter.get_info().device_type == DeviceType::Cpu;
        let (device, queue) = Self::request(&adapter, word, software)?;
        drop(turn);
        let failure = Arc::new(Mutex::new(None));
        let keep = failure.clone();
        device.on_uncaptured_error(Arc::new(move |e: ::wgpu::Error| {
            lock(&keep).get_or_insert_with(|| e.to_string());
        }));
        let keep = failure.clone();
        device.set_device_lost_callback(move |reason, message| {
            lock(&keep).get_or_insert_with(|| format!("the device was lost ({reason:?}): {message}"));
        });
        let recorder = Recorder {
            encoder: None,
            commands: 0,
            uploads: Vec::new(),
            in_flight: 0,
            uploading: VecDeque::new(),
            submissions: 0,
            back: mpsc::channel(),
        };
        let words = if word == Word::U64 { "64-bit" } else { "32-bit" };
        let checks = if options.checked { ", runtime checks" } else { "" };
        Ok(Self {
            device,
            queue,
            limits: adapter.limits(),
            word,
            software,
            name: format!("{} ({}), {words} words{checks}", report.name, report.kind),
            failure,
            recorder: Mutex::new(recorder),
            pool: Mutex::new(Pool::new(if software { 256 << 20 } else { 2 << 30 })),
            pipelines: Pipelines::new(options.checked),
        })
    }

    /// The kernel with these constants.
    pub(super) fn pipeline(&self, kernel: Kernel, constants: &[(&'static str, u32)]) -> Arc<Pipeline> {
        self.pipelines.get(&self.device, self.word, kernel, constants)
    }

    fn request(adapter: &Adapter, word: Word, software: bool) -> Result<(Device, Queue)> {
        let int64 = if word == Word::U64 { Features::SHADER_INT64 } else { Features::empty() };
        let descriptor = DeviceDescriptor {
            label: Some("blindvox"),
            required_features: Features::IMMEDIATES | int64,
            required_limits: adapter.limits(),
            memory_hints: if software { MemoryHints::MemoryUsage } else { MemoryHints::Performance },
            ..Default::default()
        };
        pollster::block_on(adapter.request_device(&descriptor))
            .map_err(|e| Error::Device(format!("{}: {e}", adapter.get_info().name)))
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// An error of any earlier command.
    pub(super) fn healthy(&self) -> Result<()> {
        match &*lock(&self.failure) {
            Some(message) => Err(Error::Device(format!("{}: {message}", self.name))),
            None => Ok(()),
        }
    }

    pub(super) fn submit(&self, recorder: &mut Recorder) -> SubmissionIndex {
        let commands = recorder.encoder.take().map(CommandEncoder::finish);
        recorder.commands = 0;
        recorder.submissions += 1;
        let index = self.queue.submit(commands);
        if !recorder.uploads.is_empty() {
            recorder.uploading.push_back(index.clone());
        }
        for (buffer, used) in recorder.uploads.drain(..) {
            recorder.in_flight += 1;
            let back = recorder.back.0.clone();
            let mapped = buffer.clone();
            buffer.map_async(MapMode::Write, .., move |result| {
                if result.is_ok() {
                    // The receiver lives as long as the context; without it the buffer is just dropped.
                    let _ = back.send((mapped, used));
                }
            });
        }
        index
    }

    /// What commands are recorded with.
    pub(super) fn encoder<'r>(&self, recorder: &'r mut Recorder) -> &'r mut CommandEncoder {
        recorder.encoder.get_or_insert_with(|| self.device.create_command_encoder(&Default::default()))
    }

    /// Adds `count` commands, submitting when many have gathered.
    pub(super) fn record(&self, count: usize, commands: impl FnOnce(&mut CommandEncoder)) {
        let recorder = &mut *lock(&self.recorder);
        commands(self.encoder(recorder));
        recorder.commands += count;
        if recorder.commands >= COMMANDS_A_SUBMIT {
            self.submit(recorder);
        }
    }

    /// Runs a kernel on `windows`, bound in order, over `groups` workgroups.
    pub(super) fn dispatch(&self, pipeline: &Pipeline, windows: &[Window<'_>], parameters: &[u32], groups: [u32; 3]) {
        let entries: Vec<BindGroupEntry<'_>> = (0..)
            .zip(windows)
            .map(|(binding, w)| BindGroupEntry {
                binding,
                resource: BindingResource::Buffer(BufferBinding {
                    buffer: w.buffer,
                    offset: w.offset as u64,
                    size: std::num::NonZeroU64::new(w.bytes as u64),
                }),
            })
            .collect();
        let group = self.device.create_bind_group(&BindGroupDescriptor {
            label: None,
            layout: &pipeline.layout,
            entries: &entries,
        });
        self.record(1, |encoder| {
            let mut pass = encoder.begin_compute_pass(&ComputePassDescriptor::default());
            pass.set_pipeline(&pipeline.pipeline);
            pass.set_bind_group(0, &group, &[]);
            pass.set_immediates(0, bytemuck::cast_slice(parameters));
            pass.dispatch_workgroups(groups[0], groups[1], groups[2]);
        });
    }

    /// Copies a window to byte `at` of a buffer.
    pub(super) fn copy(&self, from: Window<'_>, to: &Buffer, at: usize) {
        let (offset, bytes) = (from.offset as u64, from.bytes as u64);
        self.record(1, |e| e.copy_buffer_to_buffer(from.buffer, offset, to, at as u64, bytes));
    }

    /// All zero again, in order with the other commands.
    pub(super) fn clear(&self, buffer: &Buffer, bytes: u64) {
        self.record(1, |e| e.clear_buffer(buffer, 0, Some(bytes)));
    }

    /// Lets the driver's callbacks run. wgpu panics where it finds the device lost in here: that is an error to us.
    pub(super) fn poll(&self, how: PollType) -> Result<()> {
        match catch_unwind(AssertUnwindSafe(|| self.device.poll(how))) {
            Ok(result) => result.map(drop).map_err(lost),
            Err(_) => Err(lost("the device was lost")),
        }
    }

    pub(super) fn wait(&self, index: SubmissionIndex) -> Result<()> {
        self.poll(PollType::Wait { submission_index: Some(index), timeout: None })?;
        self.healthy()
    }

    /// Waits until all commands so far are done.
    pub(super) fn synchronize(&self) -> Result<()> {
        let index = self.submit(&mut lock(&self.recorder));
        self.wait(index)
    }
}

impl Drop for Context {
    /// Runs what was recorded: the clearing of memory given back is among it.
    fn drop(&mut self) {
        let index = self.submit(&mut lock(&self.recorder));
        // A lost device has nothing left to clear.
        if self.wait(index).is_ok() {
            self.reclaim_uploads();
        }
    }
}

pub(super) fn lost(e: impl std::fmt::Display) -> Error {
    Error::Device(format!("a transfer failed: {e}"))
}

#[cfg(test)]
mod tests {
    use super::super::buffer::GpuBuffer;
    use super::super::pool::STAGING_BYTES;
    use super::super::upload::{UPLOADS_A_SUBMIT, UPLOADS_IN_FLIGHT};
    use super::*;

    fn open() -> Option<Arc<Context>> {
        match Context::open(&GpuOptions::default()) {
            Ok(context) => Some(Arc::new(context)),
            Err(e) => {
                assert!(std::env::var_os("CI").is_none(), "CI must have a usable Vulkan adapter: {e}");
                eprintln!("SKIPPED: {e}");
                None
            }
        }
    }

    fn bytes(len: usize, salt: u32) -> Vec<u8> {
        (0..len as u32).map(|i| (i.wrapping_mul(0x9e37_79b9) ^ salt) as u8 ^ (i >> 24) as u8).collect()
    }

    #[test]
    fn many_commands_make_one_submission() {
        let Some(context) = open() else { return };
        let from = GpuBuffer::upload(&context, &bytes(4096, 1)).unwrap();
        let copies: Vec<_> = (0..40).map(|_| GpuBuffer::zeros(&context, 4096).unwrap()).collect();
        let before = lock(&context.recorder).submissions;
        let window = Window { buffer: from.raw(), offset: 0, bytes: 4096 };
        copies.iter().for_each(|to| context.copy(window, to.raw(), 0));
        assert_eq!(lock(&context.recorder).submissions, before);
        let mut out = vec![0; 4096];
        context.download(&copies[39], 0, &mut out).unwrap();
        assert!(out == bytes(4096, 1));
        assert_eq!(lock(&context.recorder).submissions, before + 1);
    }

    #[test]
    fn uploads_longer_than_the_ring_arrive_and_overlap() {
        let Some(context) = open() else { return };
        let len = (UPLOADS_IN_FLIGHT + 5) * STAGING_BYTES + 52;
        let data = bytes(len, 2);
        let before = lock(&context.recorder).submissions;
        let buffer = GpuBuffer::upload(&context, &data).unwrap();
        {
            let recorder = lock(&context.recorder);
            assert!(recorder.submissions > before + UPLOADS_IN_FLIGHT / UPLOADS_A_SUBMIT);
            assert!(recorder.in_flight <= UPLOADS_IN_FLIGHT);
        }
        let mut out = vec![0; len];
        context.download(&buffer, 0, &mut out).unwrap();
        assert!(out == data);
    }

    #[test]
    fn downloads_are_of_the_time_when_they_began() {
        let Some(context) = open() else { return };
        let len = 3 * STAGING_BYTES;
        let (first, second) = (bytes(len, 3), bytes(len, 4));
        let buffer = GpuBuffer::upload(&context, &first).unwrap();
        let [early, given_up] = [0, 0].map(|_| context.begin_download(&buffer, 0, len).unwrap());
        context.upload(&buffer, 0, &second).unwrap();
        let late = context.begin_download(&buffer, 8, len - 8).unwrap();
        drop(given_up);
        let mut out = vec![0; len];
        late.finish(&mut out[8..]).unwrap();
        assert!(out[8..] == second[8..]);
        early.finish(&mut out).unwrap();
        assert!(out == first);
    }

    #[test]
    fn a_lost_device_is_an_error_from_then_on() {
        let Some(context) = open() else { return };
        let buffer = GpuBuffer::upload(&context, &[7; 1024]).unwrap();
        context.device.destroy();
        let mut out = [0; 1024];
        let results = [
            context.download(&buffer, 0, &mut out),
            context.upload(&buffer, 0, &out),
            GpuBuffer::zeros(&context, 1 << 20).map(drop),
            context.healthy(),
        ];
        assert!(results.iter().all(|r| matches!(r, Err(Error::Device(_)))), "{results:?}");
    }
}
