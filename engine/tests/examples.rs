//! The examples, run as a reader would.

#[path = "../examples/bfv_dot_product.rs"]
mod bfv_dot_product;
#[path = "../examples/own_chain.rs"]
mod own_chain;
#[path = "../examples/two_backends.rs"]
mod two_backends;

#[test]
fn examples_hold_what_they_assert() {
    bfv_dot_product::main().unwrap();
    own_chain::main().unwrap();
    two_backends::main().unwrap();
}
