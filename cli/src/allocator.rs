//! What the C library does with memory that is freed.

/// Lets the C library keep freed memory for what is taken next, instead of giving it back to the system. A run takes
/// and frees blocks of the same sizes layer by layer, and memory from the system costs a page fault every 4 KiB.
///
/// To be called before the first thread starts.
pub(crate) fn keep_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        /// Blocks up to this many bytes are taken from memory that is kept, and up to this many bytes are kept at its
        /// end.
        const KEPT: libc::c_int = 1 << 30;
        for setting in [libc::M_MMAP_THRESHOLD, libc::M_TRIM_THRESHOLD] {
            // SAFETY: sets a number of the allocator's; a refusal changes nothing.
            unsafe { libc::mallopt(setting, KEPT) };
        }
    }
}
