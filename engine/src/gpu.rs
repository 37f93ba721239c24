//! How a GPU is chosen, and which there are. Without the feature `wgpu` there are none, and everything here says so.

pub use crate::backend::adapters::{AdapterReport, GpuOptions};
#[doc(hidden)]
pub use crate::backend::adapters::{Rates, Word};

/// All adapters with a Vulkan driver, usable or not, in the order in which they are preferred.
pub fn adapters() -> Vec<AdapterReport> {
    #[cfg(feature = "wgpu")]
    return crate::wgpu::adapter::adapters();
    #[cfg(not(feature = "wgpu"))]
    Vec::new()
}

/// Why there is no GPU, in one line; none where there is one, usable or not.
pub fn why_no_gpu() -> Option<String> {
    #[cfg(feature = "wgpu")]
    return crate::wgpu::adapter::why_no_gpu();
    #[cfg(not(feature = "wgpu"))]
    Some(crate::backend::adapters::NOT_BUILT.to_owned())
}

#[cfg(all(test, not(feature = "wgpu")))]
mod tests {
    use super::*;
    use crate::backend::adapters::NOT_BUILT;
    use crate::{Device, Error};

    #[test]
    fn a_build_without_gpus_says_so() {
        assert!(adapters().is_empty());
        assert_eq!(why_no_gpu().as_deref(), Some(NOT_BUILT));
        assert!(matches!(Device::gpu(), Err(Error::NoDevice(why)) if why == NOT_BUILT));
    }
}
