//! Loops compiled twice: for any processor, and for the widest registers there are.
//!
//! The build targets every x86-64 processor, whose vectors hold two words. Plain loops over words run several times
//! faster on AVX-512, and need no intrinsics for it: the compiler vectorises them once it may use the instructions.

/// Calls `f`, compiled for AVX-512 where this processor has what that needs; the result is the same. Meant for a loop
/// that is written out in the closure itself, not hidden in calls that are not inlined.
#[inline]
pub fn wide<R>(f: impl FnOnce() -> R) -> R {
    #[cfg(target_arch = "x86_64")]
    {
        if runs_avx512() {
            // SAFETY: the processor has the features.
            return unsafe { on_avx512(f) };
        }
    }
    f()
}

/// As [`wide`], and compiled for AVX2 where there is no AVX-512: for loops that gain from 256-bit registers too.
#[inline]
pub fn widest<R>(f: impl FnOnce() -> R) -> R {
    #[cfg(target_arch = "x86_64")]
    {
        if runs_avx512() {
            // SAFETY: the processor has the features.
            return unsafe { on_avx512(f) };
        }
        if is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has the feature.
            return unsafe { on_avx2(f) };
        }
    }
    f()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn on_avx2<R>(f: impl FnOnce() -> R) -> R {
    f()
}

#[cfg(target_arch = "x86_64")]
#[inline]
fn runs_avx512() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512vpopcntdq")
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vpopcntdq")]
fn on_avx512<R>(f: impl FnOnce() -> R) -> R {
    f()
}
