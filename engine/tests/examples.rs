//! The examples, run as a reader would.

#[path = "../examples/bfv_dot_product.rs"]
mod bfv_dot_product;
#[path = "../examples/own_chain.rs"]
mod own_chain;
#[path = "../examples/two_backends.rs"]
mod two_backends;

#[path = "../examples/bfv_multiply.rs"]
mod bfv_multiply;
#[path = "../examples/ckks_matrix_vector.rs"]
mod ckks_matrix_vector;
#[path = "../examples/ckks_rotate_many.rs"]
mod ckks_rotate_many;
#[path = "../examples/logistic_ckks.rs"]
mod logistic_ckks;
#[path = "../examples/psi_bfv.rs"]
mod psi_bfv;

#[test]
fn examples_hold_what_they_assert() {
    bfv_dot_product::main().unwrap();
    own_chain::main().unwrap();
    two_backends::main().unwrap();
}

#[test]
fn examples_of_levelled_schemes_hold_what_they_assert() {
    bfv_multiply::main().unwrap();
    ckks_matrix_vector::main().unwrap();
    ckks_rotate_many::main().unwrap();
    logistic_ckks::main().unwrap();
    psi_bfv::main().unwrap();
}
