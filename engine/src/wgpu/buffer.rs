//! Storage on a device, out of its pool.

use std::sync::Arc;

use ::wgpu::Buffer;

use super::context::Context;
use super::lock::lock;
use super::pool::size_class;
use crate::error::Result;

/// Storage on the device; back to the pool, cleared, when dropped.
pub(crate) struct GpuBuffer {
    context: Arc<Context>,
    buffer: Option<Buffer>,
    bytes: usize,
}

impl GpuBuffer {
    /// `bytes` zeros.
    pub(super) fn zeros(context: &Arc<Context>, bytes: usize) -> Result<Self> {
        context.healthy()?;
        let mut pool = lock(&context.pool);
        let buffer = Some(pool.take_storage(&context.device, size_class(bytes))?);
        drop(pool);
        Ok(Self { context: context.clone(), buffer, bytes })
    }

    /// A copy of host data, a multiple of four bytes.
    pub(super) fn upload(context: &Arc<Context>, data: &[u8]) -> Result<Self> {
        let buffer = Self::zeros(context, data.len())?;
        context.upload(&buffer, 0, data)?;
        Ok(buffer)
    }

    pub(super) fn raw(&self) -> &Buffer {
        self.buffer.as_ref().expect("taken only when dropped")
    }

    /// Its length; the memory behind it may be larger.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for GpuBuffer {
    fn drop(&mut self) {
        if let Some(buffer) = self.buffer.take() {
            self.context.clear(&buffer, self.bytes as u64);
            lock(&self.context.pool).put_storage(buffer);
        }
    }
}
