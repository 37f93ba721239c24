//! Networks in the clear: the float network, and the exact integers that the secure protocol is compared with.
//!
//! | module | what |
//! |---|---|
//! | [`float`] | a [`Network`](crate::Network) in f32 |
//! | `integers` | a [`Program`](crate::Program), exactly: [`run`] and its parts |
//! | `kernels` | convolutions and poolings |

pub mod float;
mod integers;
pub(crate) mod kernels;

pub use integers::{PlainRun, RangeReport, Rounding, accumulators, before_shift, run, run_with_trace};
