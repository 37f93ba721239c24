//! Clearing of the stack that secrets were worked on.
//!
//! Values that are moved and registers that are spilled leave copies below the stack pointer, which no `Drop` reaches.
//! What a function left there is overwritten by calling it through [`with_cleared_stack`], and at the end of each phase
//! of a protocol, on the pool's threads too, by [`leaving_nothing`]. Both are best effort, as compilers promise nothing
//! of stacks: tests look at what memory holds after a run.

use zeroize::zeroize_stack;

/// Bytes of stack that are enough for making a key.
pub const SHALLOW: usize = 8 << 10;

/// Bytes of stack that are enough for a step of a protocol.
pub const DEEP: usize = 128 << 10;

/// Runs `work` in a frame of its own and clears the `DEPTH` bytes of stack below it. What it returns should be a
/// handle, not the secret itself.
#[inline(always)]
pub fn with_cleared_stack<const DEPTH: usize, T>(work: impl FnOnce() -> T) -> T {
    let result = apart(work);
    zeroize_stack::<DEPTH>();
    result
}

#[inline(never)]
fn apart<T>(work: impl FnOnce() -> T) -> T {
    work()
}

/// Runs a whole phase of a party: clears [`DEEP`] bytes of this thread's stack, and lets the pool's threads clear as
/// much of theirs as soon as they are at it. The phase's end does not wait for them: one of them may be where the peer
/// runs.
pub fn leaving_nothing<T>(phase: impl FnOnce() -> T) -> T {
    let result = with_cleared_stack::<DEEP, _>(phase);
    rayon::spawn_broadcast(|_| zeroize_stack::<DEEP>());
    result
}
