//! Linear layers with voxels as coefficients of polynomials.
//!
//! | module | what |
//! |---|---|
//! | [`geometry`] | strides and transposition as channels of phases |
//! | [`encoding`] | a convolution as products of polynomials |
//! | [`search`] | tiles and packing, chosen by cost; noise bounds |
//! | `products` | the weights' side of the products |
//! | [`hom_conv`] | the protocol, both parties |

pub mod encoding;
pub mod geometry;
pub mod hom_conv;
pub(super) mod products;
pub mod search;

pub use encoding::Encoding;
pub use geometry::Geometry;
pub use search::Search;
