//! Linear layers on shares: convolutions by homomorphic encryption.
//!
//! | module | what |
//! |---|---|
//! | [`encoding`] | a convolution as products of polynomials |
//! | [`planner`] | tiles and packing, chosen by cost; noise bounds |
//! | [`hom_conv`] | the protocol, both parties |

pub mod encoding;
pub mod hom_conv;
pub mod planner;

pub use hom_conv::Bias;
pub use planner::{Cost, LinearPlan, LinearSpec};
