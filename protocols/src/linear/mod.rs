//! Linear layers on shares: convolutions by homomorphic encryption.
//!
//! | module | what |
//! |---|---|
//! | [`encoding`] | a convolution as products of polynomials |
//! | [`planner`] | how a layer is computed, and what that costs |
//! | [`search`] | tiles and packing, chosen by cost; noise bounds |
//! | [`hom_conv`] | the protocol, both parties |

pub mod encoding;
pub mod hom_conv;
pub mod planner;
pub mod search;

pub use hom_conv::Bias;
pub use planner::{Cost, LinearPlan, LinearSpec};
pub use search::Search;
