use super::*;
use crate::cpu::Body;
use crate::ring::primes::{DEFAULT_50, DEFAULT_60};

const N: usize = 64;

fn residue(q: u64, words: [usize; 3]) -> u64 {
    words.iter().fold(7u64, |x, &w| (x.wrapping_add(w as u64)).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ x >> 29) % q
}

/// A chain with every step, over batches: what comes out, and the points gathered by another.
fn run(device: &Device, basis: &Basis, batch: usize) -> (Vec<Vec<u64>>, Vec<u64>) {
    let single = |salt: u8| PolyBatch::uniform(device, basis, &[salt; 16], 0, 1).unwrap();
    let (s, t, many) = (single(1), single(2), PolyBatch::uniform(device, basis, &[3; 16], 0, batch + 2).unwrap());
    let scale: Vec<u64> = basis.values().iter().map(|q| q / 3).collect();
    let prepare = |mut item: Item<'_>| {
        let i = item.number as i32;
        for (k, small) in item.small.iter_mut().enumerate() {
            small.iter_mut().zip(0..).for_each(|(v, j): (_, i32)| *v = (i + 1) * (j - 30) * (k as i32 + 1));
        }
        for given in &mut item.given {
            for (limb, row) in given.chunks_exact_mut(N).enumerate() {
                let q = basis.modulus(limb).value();
                row[1..].iter_mut().enumerate().for_each(|(j, x)| *x = residue(q, [i as usize, limb, j]));
            }
        }
        item.row.fill(1);
        Ok(())
    };
    let load = |i: usize, number: usize, limb: usize, row: &mut [u64]| {
        let q = basis.modulus(limb).value();
        row.iter_mut().enumerate().for_each(|(j, x)| *x = residue(q, [i + 100 * number, limb, j]));
        Ok(())
    };

    let mut chain = Chain::new(basis);
    let (a, b) = (chain.small(), chain.small());
    let given = chain.given();
    let (c0, c1) = (chain.item_of(&many, 2), chain.item_of(&many, 0));
    let loaded = chain.load();
    let u = chain.lift(a);
    let u = chain.forward(u);
    let copy = chain.copy(&u);
    chain.mul_add(&c0, &u, &s);
    chain.mul_add(&c1, &u, &t);
    chain.mul_add_own(&c0, &copy, &loaded);
    chain.negate(&copy);
    chain.add(&c1, &copy);
    chain.mul(&c1, &s);
    let c1 = chain.inverse(c1);
    let c0 = chain.inverse(c0);
    chain.add_lifted(&c0, b, &scale);
    chain.add(&c0, &given);
    chain.sub(&c1, &given);
    chain.mod_down_to_first(&c0);
    chain.add_lifted(&c0, a, &scale);
    chain.output(c0);
    chain.output(c1);
    chain.output(copy);
    let finish = |item: Item<'_>, outputs: &[&[u64]]| {
        Ok([&[item.number as u64, item.small[1][3] as u64], outputs.concat().as_slice()].concat())
    };
    let outputs = chain.run(device, batch, &Each::with_loads(prepare, load, finish)).unwrap();

    let mut chain = Chain::new(basis);
    let a = chain.small();
    let x = chain.given();
    chain.add_lifted(&x, a, &scale);
    let x = chain.forward(x);
    let y = chain.uniform(&[9; 16], 4);
    chain.sub(&x, &y);
    let points = chain.gather(x, device, batch, &Each::new(prepare, |_: Item<'_>, _: &[&[u64]]| Ok(()))).unwrap();
    (outputs, points.download().unwrap())
}

#[test]
fn chains_are_the_same_item_by_item_and_step_by_step() {
    for primes in [&DEFAULT_50[..], &DEFAULT_60[..], &DEFAULT_50[..1]] {
        let basis = Basis::new(N, primes).unwrap();
        for batch in [1, 3, 9] {
            let expected = run(&Device::cpu_by_steps(), &basis, batch);
            for body in Body::available() {
                let device = Device::cpu_with_body(body).unwrap();
                assert!(run(&device, &basis, batch) == expected, "{body:?}, {batch} items, primes {primes:?}");
            }
        }
    }
}

#[test]
fn wrong_batches_and_residues_are_errors() {
    let (basis, device) = (Basis::new(N, &DEFAULT_50[..2]).unwrap(), Device::cpu());
    let items = |value: u64| {
        let prepare = move |mut item: Item<'_>| {
            item.given.iter_mut().for_each(|given| given.fill(value));
            Ok(())
        };
        Each::new(prepare, |_: Item<'_>, _: &[&[u64]]| Ok(()))
    };
    for device in [&device, &Device::cpu_by_steps()] {
        let mut chain = Chain::new(&basis);
        let x = chain.given();
        chain.output(x);
        assert!(chain.run(device, 2, &items(5)).is_ok());
        assert!(matches!(chain.run(device, 2, &items(u64::MAX)), Err(Error::Decode(_))));
        assert!(matches!(chain.run(device, 0, &items(5)), Err(Error::Shape(_))));
    }
    let three = PolyBatch::<Ntt>::zeros(&device, &basis, 3).unwrap();
    let mut chain = Chain::new(&basis);
    let x = chain.item_of(&three, 1);
    chain.output(x);
    assert!(chain.run(&device, 2, &items(0)).is_ok());
    assert!(matches!(chain.run(&device, 3, &items(0)), Err(Error::Shape(_))));
    assert!(matches!(chain.run(&Device::cpu(), 2, &items(0)), Err(Error::DeviceMismatch(_))));
    let mut chain = Chain::new(&basis);
    let x = chain.uniform(&[0; 16], 0);
    chain.mul(&x, &three);
    assert!(matches!(chain.run(&device, 1, &items(0)), Err(Error::Shape(_))));
    let mut chain = Chain::new(&basis.level(1).unwrap());
    let x = chain.item_of(&three, 0);
    chain.output(x);
    assert!(matches!(chain.run(&device, 1, &items(0)), Err(Error::Shape(_))));
    let mut chain = Chain::new(&basis);
    let x = chain.load();
    chain.output(x);
    assert!(matches!(chain.run(&device, 1, &items(0)), Err(Error::Shape(_))));
}
