//! Dot products of encrypted vectors with a server's weights, a matrix of them in one product:
//! `cargo run --release --example bfv_dot_product`.

use blindvox_engine::bfv::{Params, ReplyParams, SecretKey};
use blindvox_engine::rlwe::{Ciphertexts, SeededCiphertexts};
use blindvox_engine::{Device, GemmShape, PolyBatch, Prng, Result};

/// Rows of weights, vectors, and the parts of n elements that each has.
const SIZE: GemmShape = GemmShape { rows: 3, inner: 2, cols: 4 };

/// Weight `i` of a row.
fn weight(row: usize, i: usize) -> i32 {
    ((i * (row + 2)) % 201) as i32 - 100
}

/// The weights of part `part` in reverse, as x^n = -1 wants them.
fn reversed(row: usize, part: usize, n: usize) -> Vec<i32> {
    let at = |i: usize| weight(row, part * n + i);
    std::iter::once(at(0)).chain((1..n).map(|i| -at(n - i))).collect()
}

/// Runs it.
pub(crate) fn main() -> Result<()> {
    let (params, device, mut prng) = (Params::hom_conv(), Device::cpu(), Prng::from_os()?);
    let (n, GemmShape { rows, inner, cols }) = (params.n(), SIZE);

    // The client's vectors, `[part, vector, element]`, and what it sends.
    let secret = SecretKey::generate(&params, &device, &mut prng)?;
    let public = secret.public_key(&mut prng)?;
    let x: Vec<u32> = prng.fill::<u32>(inner * cols * n).into_iter().map(|x| x % 16).collect();
    let sent = secret.encrypt_seeded(&x, &mut prng)?.to_bytes()?;

    // The server, which sees ciphertexts only.
    let weights: Vec<i32> = (0..rows * inner).flat_map(|i| reversed(i / inner, i % inner, n)).collect();
    let w = PolyBatch::lift(&device, params.basis(), &weights, &vec![1; params.basis().len()])?.into_ntt()?;
    let c = SeededCiphertexts::from_bytes(&params, &device, inner * cols, &sent)?.expand()?;
    let [c0, c1] = w.gemm([&c.c0, &c.c1], SIZE)?;
    let how = ReplyParams { flood_bits: Some(10) };
    let reply = public.reply(&Ciphertexts { c0, c1 }, &vec![0; rows * cols * n], how, &mut prng)?;

    // The client: each product's coefficient 0.
    let products = secret.decrypt(reply.c0, reply.c1)?;
    for (i, product) in products.chunks(n).enumerate() {
        let (row, col) = (i / cols, i % cols);
        let element = |j: usize| i64::from(x[(j / n * cols + col) * n + j % n]);
        let expected: i64 = (0..inner * n).map(|j| i64::from(weight(row, j)) * element(j)).sum();
        assert_eq!(i64::from(product[0]), expected.rem_euclid(params.plain() as i64));
        println!("row {row}, vector {col}: {expected}");
    }
    println!("{} bytes for {cols} vectors of {} elements", sent.len(), inner * n);
    Ok(())
}
