//! The process's one Vulkan instance, and the lock under which devices are made.
//!
//! An instance loads the drivers and, when the last one is destroyed, unloads them, while other threads may still be
//! inside them or have left clean-up with them that runs when the thread ends. Programs whose threads each opened
//! devices of their own crashed with NVIDIA's driver. So there is one instance, it is never destroyed, and devices are
//! made by one thread at a time.

use std::sync::{Mutex, MutexGuard, OnceLock};

use ::wgpu::{Backends, Instance, InstanceDescriptor, InstanceFlags};

static INSTANCE: OnceLock<Instance> = OnceLock::new();
static TURN: Mutex<()> = Mutex::new(());

pub(super) fn instance() -> &'static Instance {
    INSTANCE.get_or_init(|| {
        Instance::new(InstanceDescriptor {
            backends: Backends::VULKAN,
            flags: InstanceFlags::empty(),
            ..InstanceDescriptor::new_without_display_handle()
        })
    })
}

/// Held while a device is made.
pub(super) fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(|e| e.into_inner())
}
