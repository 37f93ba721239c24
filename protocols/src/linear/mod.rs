//! Linear layers on shares: convolutions by homomorphic encryption.
//!
//! | module | what |
//! |---|---|
//! | [`op`] | the operations by definition |
//! | [`layout`] | where a tensor's elements lie among polynomials |
//! | [`plan`], [`planner`] | how a layer is computed, and what that costs |
//! | [`tensor`] | tensors under encryption |
//! | [`coefficients`] | voxels as coefficients: encoding, search, and [`hom_conv`], the protocol |
//! | [`slots`] | elements as slots: whole networks under CKKS |

pub mod coefficients;
pub mod layout;
pub mod op;
pub mod plan;
pub mod planner;
pub mod slots;
pub mod tensor;

pub use coefficients::hom_conv::{self, Bias, Model};
pub use coefficients::search::{self, Search};
pub use layout::Layout;
pub use op::LinearOp;
pub use plan::{LinearSpec, Method, Plan};
pub use planner::Cost;
pub use tensor::EncryptedTensor;
