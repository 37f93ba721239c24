//! AES-128 as a circuit: a public function with known answers, to check the machinery of circuits by.
//!
//! The garbler has the key, the evaluator the block, the output is the ciphertext; bit i of a value is bit i % 8 of
//! byte i / 8. The S-box inverts by x^254 in four multiplications (27 ANDs each, Karatsuba), squarings being linear:
//! simple rather than small, 21600 ANDs in all.

use super::circuit::{Bit, Builder, Circuit};

type Byte = [Bit; 8];

/// x^8 = x^4 + x^3 + x + 1: where the bits 8..15 of a product go.
fn reduce(b: &mut Builder, product: &[Bit]) -> Byte {
    let mut p = product.to_vec();
    for high in (8..p.len()).rev() {
        for offset in [4, 3, 1, 0] {
            p[high - 8 + offset] = b.xor(p[high - 8 + offset], p[high]);
        }
    }
    std::array::from_fn(|i| p[i])
}

/// Product of polynomials of one power-of-two length, by Karatsuba's three half products.
fn product(b: &mut Builder, x: &[Bit], y: &[Bit]) -> Vec<Bit> {
    if x.len() == 1 {
        return vec![b.and(x[0], y[0])];
    }
    let half = x.len() / 2;
    let sum = |b: &mut Builder, x: &[Bit], y: &[Bit]| x.iter().zip(y).map(|(&x, &y)| b.xor(x, y)).collect::<Vec<_>>();
    let (x_sum, y_sum) = (sum(b, &x[..half], &x[half..]), sum(b, &y[..half], &y[half..]));
    let (low, high) = (product(b, &x[..half], &y[..half]), product(b, &x[half..], &y[half..]));
    let middle = product(b, &x_sum, &y_sum);
    let outer = sum(b, &low, &high);
    let middle = sum(b, &middle, &outer);
    let mut out = vec![Bit::ZERO; 2 * x.len() - 1];
    for (part, at) in [(low, 0), (middle, half), (high, 2 * half)] {
        for (i, bit) in part.into_iter().enumerate() {
            out[at + i] = b.xor(out[at + i], bit);
        }
    }
    out
}

fn multiply(b: &mut Builder, x: &Byte, y: &Byte) -> Byte {
    let p = product(b, x, y);
    reduce(b, &p)
}

fn square(b: &mut Builder, x: &Byte, times: usize) -> Byte {
    (0..times).fold(*x, |x, _| {
        let spread: Vec<_> = (0..15).map(|i| if i % 2 == 0 { x[i / 2] } else { Bit::ZERO }).collect();
        reduce(b, &spread)
    })
}

fn s_box(b: &mut Builder, x: &Byte) -> Byte {
    let x2 = square(b, x, 1);
    let x3 = multiply(b, &x2, x);
    let x12 = square(b, &x3, 2);
    let x15 = multiply(b, &x12, &x3);
    let x240 = square(b, &x15, 4);
    let x252 = multiply(b, &x240, &x12);
    let inverse = multiply(b, &x252, &x2);
    std::array::from_fn(|i| {
        let bit = (1..5).fold(inverse[i], |sum, j| b.xor(sum, inverse[(i + 3 + j) % 8]));
        if 0x63 >> i & 1 == 1 { !bit } else { bit }
    })
}

fn add(b: &mut Builder, x: &Byte, y: &Byte) -> Byte {
    std::array::from_fn(|i| b.xor(x[i], y[i]))
}

/// 2·x.
fn double(b: &mut Builder, x: &Byte) -> Byte {
    let shifted: Vec<_> = std::iter::once(Bit::ZERO).chain(x.iter().copied()).collect();
    reduce(b, &shifted)
}

fn mix_column(b: &mut Builder, column: [Byte; 4]) -> [Byte; 4] {
    let doubled = column.map(|x| double(b, &x));
    std::array::from_fn(|r| {
        // 2·a_r + 3·a_(r+1) + a_(r+2) + a_(r+3)
        let next = (r + 1) % 4;
        [doubled[next], column[next], column[(r + 2) % 4], column[(r + 3) % 4]]
            .iter()
            .fold(doubled[r], |sum, x| add(b, &sum, x))
    })
}

/// The cipher.
pub fn aes128() -> Circuit {
    let mut b = Builder::new(128, 128);
    let bytes = |bits: Vec<Bit>| -> [Byte; 16] { std::array::from_fn(|i| std::array::from_fn(|j| bits[8 * i + j])) };
    let mut key = bytes(b.garbler(0..128));
    let mut state = bytes(b.evaluator(0..128));
    state = std::array::from_fn(|i| add(&mut b, &state[i], &key[i]));
    let mut constant = 1u8;
    for round in 1..=10 {
        let substituted = state.map(|x| s_box(&mut b, &x));
        // Row r of column c comes from column c + r.
        let mut next: [Byte; 16] = std::array::from_fn(|i| substituted[(i + 4 * (i % 4)) % 16]);
        if round < 10 {
            for column in next.as_chunks_mut::<4>().0 {
                *column = mix_column(&mut b, *column);
            }
        }
        next_key(&mut b, &mut key, constant);
        constant = (constant << 1) ^ (0x1b * (constant >> 7));
        state = std::array::from_fn(|i| add(&mut b, &next[i], &key[i]));
    }
    b.finish(state.concat())
}

fn next_key(b: &mut Builder, key: &mut [Byte; 16], constant: u8) {
    for i in 0..4 {
        let rotated = s_box(b, &key[12 + (i + 1) % 4]);
        key[i] = add(b, &key[i], &rotated);
    }
    for (j, bit) in key[0].iter_mut().enumerate() {
        *bit = if constant >> j & 1 == 1 { !*bit } else { *bit };
    }
    for i in 4..16 {
        key[i] = add(b, &key[i], &key[i - 4]);
    }
}

#[cfg(test)]
mod tests {
    use super::super::garble::tests::pair;
    use super::super::{Planes, Schedule, bristol};
    use super::*;

    /// FIPS-197, appendices B and C.1: key, block, ciphertext.
    const ANSWERS: [[&str; 3]; 2] = [
        ["2b7e151628aed2a6abf7158809cf4f3c", "3243f6a8885a308d313198a2e0370734", "3925841d02dc09fbdc118597196a0b32"],
        ["000102030405060708090a0b0c0d0e0f", "00112233445566778899aabbccddeeff", "69c4e0d86a7b0430d8cdb78070b4c55a"],
    ];

    fn bits(hex: &str) -> Vec<bool> {
        let byte = |i: usize| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap();
        (0..128).map(|i| byte(i / 8) >> (i % 8) & 1 == 1).collect()
    }

    #[test]
    fn the_circuit_and_its_file_give_the_standard_s_answers() {
        let circuit = aes128();
        assert_eq!(circuit.ands(), 21_600);
        let read = bristol::read(&bristol::write(&circuit)).unwrap();
        for [key, block, cipher] in ANSWERS {
            assert_eq!(circuit.plain(&bits(key), &bits(block)), bits(cipher));
            assert_eq!(read.plain(&bits(key), &bits(block)), bits(cipher));
        }
    }

    #[test]
    fn the_garbled_circuit_gives_the_standard_s_answers() {
        let schedule = Schedule::new(&aes128());
        let planes = |which: usize| {
            let columns: Vec<Vec<u32>> =
                (0..128).map(|i| ANSWERS.iter().map(|a| u32::from(bits(a[which])[i])).collect()).collect();
            Planes::from_columns(&columns.iter().map(Vec::as_slice).collect::<Vec<_>>(), 1)
        };
        let ((mut evaluator, mut client), (mut garbler, mut server)) = pair();
        let values = std::thread::scope(|scope| {
            scope.spawn(|| {
                let shares = garbler.run(&mut server, &schedule, &planes(0)).unwrap();
                garbler.reveal_to_evaluator(&mut server, shares).unwrap();
            });
            let shares = evaluator.run(&mut client, &schedule, &planes(1)).unwrap();
            evaluator.reveal_to_evaluator(&mut client, shares).unwrap().unwrap()
        });
        for (i, answer) in ANSWERS.iter().enumerate() {
            let found: Vec<bool> = (0..128).map(|b| values.to_bytes(b)[i] == 1).collect();
            assert_eq!(found, bits(answer[2]));
        }
    }
}
