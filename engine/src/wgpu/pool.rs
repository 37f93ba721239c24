//! Memory of the device, kept for the next batch of a similar size.
//!
//! A storage buffer is cleared on its way back, so pooled memory holds no secrets and a new buffer is all zero.

use std::collections::BTreeMap;

use ::wgpu::{Buffer, BufferDescriptor, BufferUsages, Device, ErrorFilter};

use crate::error::{Error, Result};

/// The larger of the two sizes of staging buffers.
pub(super) const STAGING_BYTES: usize = 4 << 20;
/// What one thread copies to or from staging memory at a time.
pub(super) const PIECE_BYTES: usize = 1 << 20;
const SMALL_STAGING_BYTES: usize = 64 << 10;

/// Free buffers by size.
pub(super) struct Pool {
    storage: BTreeMap<u64, Vec<Buffer>>,
    free: u64,
    /// Free storage beyond this goes back to the driver.
    most_free: u64,
    /// Mapped for writing, and unmapped for the device to write to; small ones and large ones.
    uploads: [Vec<Buffer>; 2],
    downloads: [Vec<Buffer>; 2],
}

fn large(bytes: usize) -> usize {
    usize::from(bytes > SMALL_STAGING_BYTES)
}

/// Rounds up to one of eight sizes an octave.
pub(super) fn size_class(bytes: usize) -> u64 {
    let step = (bytes.next_power_of_two() / 16).max(256);
    bytes.max(256).next_multiple_of(step) as u64
}

impl Pool {
    pub(super) fn new(most_free: u64) -> Self {
        Self {
            storage: BTreeMap::new(),
            free: 0,
            most_free,
            uploads: Default::default(),
            downloads: Default::default(),
        }
    }

    pub(super) fn take_storage(&mut self, device: &Device, size: u64) -> Result<Buffer> {
        if let Some(buffer) = self.storage.get_mut(&size).and_then(Vec::pop) {
            self.free -= size;
            return Ok(buffer);
        }
        create(device, size, BufferUsages::STORAGE | BufferUsages::COPY_SRC | BufferUsages::COPY_DST, false)
    }

    /// Takes back a buffer that is cleared, or whose clearing is recorded.
    pub(super) fn put_storage(&mut self, buffer: Buffer) {
        self.free += buffer.size();
        self.storage.entry(buffer.size()).or_default().push(buffer);
        while self.free > self.most_free {
            let Some(mut largest) = self.storage.last_entry() else { break };
            self.free -= largest.get_mut().pop().map_or(0, |b| b.size());
            if largest.get().is_empty() {
                largest.remove();
            }
        }
    }

    pub(super) fn take_upload(&mut self, device: &Device, bytes: usize) -> Result<Buffer> {
        let class = large(bytes);
        let usage = BufferUsages::MAP_WRITE | BufferUsages::COPY_SRC;
        self.uploads[class].pop().map_or_else(|| create(device, staging_size(class), usage, true), Ok)
    }

    pub(super) fn put_upload(&mut self, buffer: Buffer) {
        self.uploads[large(buffer.size() as usize)].push(buffer);
    }

    pub(super) fn take_download(&mut self, device: &Device, bytes: usize) -> Result<Buffer> {
        let class = large(bytes);
        self.downloads[class].pop().map_or_else(
            || create(device, staging_size(class), BufferUsages::MAP_READ | BufferUsages::COPY_DST, false),
            Ok,
        )
    }

    pub(super) fn put_download(&mut self, buffer: Buffer) {
        self.downloads[large(buffer.size() as usize)].push(buffer);
    }
}

fn staging_size(class: usize) -> u64 {
    [SMALL_STAGING_BYTES, STAGING_BYTES][class] as u64
}

fn create(device: &Device, size: u64, usage: BufferUsages, mapped_at_creation: bool) -> Result<Buffer> {
    let limit = device.limits().max_buffer_size;
    if size > limit {
        return Err(Error::TooLarge { what: "a buffer".to_owned(), bytes: size as usize, limit: limit as usize });
    }
    let scope = device.push_error_scope(ErrorFilter::OutOfMemory);
    let buffer = device.create_buffer(&BufferDescriptor { label: None, size, usage, mapped_at_creation });
    match pollster::block_on(scope.pop()) {
        Some(e) => Err(Error::Device(format!("a buffer of {size} bytes: {e}"))),
        None => Ok(buffer),
    }
}
