//! Linear layers in slots: a whole network under CKKS, wherever its tensors lie.
//!
//! | module | what |
//! |---|---|
//! | [`layout`] | where a tensor's elements lie among slots |
//! | [`matrix`] | layers as sparse matrices between planes |
//! | [`mod@lower`] | a network as linear maps with squares between |
//! | [`search`] | baby and giant steps |
//! | [`plan`], [`weights`] | terms and levels; the plaintexts |
//! | [`clear`] | a plan in the clear, weights rounded or not |

pub mod clear;
pub mod layout;
pub mod lower;
pub mod matrix;
pub mod plan;
pub mod search;
pub mod weights;

pub use layout::Layout;
pub use lower::{LinearStep, Lowered, Step, lower};
pub use plan::{Plan, PlannedLinear, PlannedStep};
pub use search::Counts;
