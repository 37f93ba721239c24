//! An operation of one's own as a chain: RLWE samples (a s + e), and what the secret finds in them.
//! `cargo run --release --example own_chain`.

use blindvox_engine::chain::{Chain, Each, Item};
use blindvox_engine::ring::primes::DEFAULT_50;
use blindvox_engine::{Basis, Device, Ntt, PolyBatch, Prng, Result};

const SAMPLES: usize = 5;

/// Runs it.
pub(crate) fn main() -> Result<()> {
    let (device, basis, mut prng) = (Device::cpu(), Basis::new(4096, &DEFAULT_50[..1])?, Prng::from_os()?);
    let (n, q) = (basis.n(), basis.modulus(0).value());
    let ternary: Vec<i32> = prng.fill::<u32>(n).into_iter().map(|x| (x % 3) as i32 - 1).collect();
    let s = PolyBatch::lift(&device, &basis, &ternary, &[1])?.into_ntt()?;
    // What each sample draws is its own by its number: neither order nor threads matter.
    let noise = prng.series();

    // a s + e, with a from a public seed. Registers are typed by their domain.
    let mut chain = Chain::new(&basis);
    let small = chain.small();
    let a = chain.uniform(&[7; 16], 0);
    chain.mul(&a, &s);
    let b = chain.inverse(a);
    chain.add_lifted(&b, small, &[1]);
    chain.output(b);
    let each = Each::new(
        |mut item: Item<'_>| {
            let bits: Vec<u32> = noise.at(item.number).fill(n);
            item.small[0]
                .iter_mut()
                .zip(bits)
                .for_each(|(e, x)| *e = (x & 7).count_ones() as i32 - (x >> 3 & 7).count_ones() as i32);
            Ok(())
        },
        |_: Item<'_>, outputs: &[&[u64]]| Ok(outputs[0].to_vec()),
    );
    let samples = chain.run(&device, SAMPLES, &each)?.concat();

    // b - a s is small.
    let mut product = PolyBatch::<Ntt>::uniform(&device, &basis, &[7; 16], 0, SAMPLES)?;
    product.mul_assign(&s)?;
    let mut rest = PolyBatch::upload(&device, &basis, &samples)?;
    rest.sub_assign(&product.into_coeff()?)?;
    let largest = rest.download()?.into_iter().map(|x| x.min(q - x)).max().unwrap_or(0);
    println!("{SAMPLES} samples of n = {n}: the largest noise is {largest}");
    assert!((1..=3).contains(&largest));
    Ok(())
}
