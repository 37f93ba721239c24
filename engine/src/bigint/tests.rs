use crypto_bigint::modular::{BoxedMontyForm, BoxedMontyParams};
use crypto_bigint::{BoxedUint, NonZero, Odd};

use super::limbs::portable::Limbs;
use super::model::{of26, of52};
use super::natural::{add, add_product, digit, less, put_digit, reduce_once};
use super::numbers::{Line, Line1, Numbers, Scratch};
use super::pair::Definition;
use super::*;
use crate::prng::Prng;

fn prng(seed: u8) -> Prng {
    Prng::from_seed_for_tests([seed; 32])
}

/// An odd modulus of exactly `bits` bits.
fn modulus(bits: usize, prng: &mut Prng) -> Vec<u64> {
    let mut n = prng.fill::<u64>(bits / 64);
    n[0] |= 1;
    n[bits / 64 - 1] |= 1 << 63;
    n
}

/// Below n, as the remainder of twice the limbs.
fn below(n: &[u64], prng: &mut Prng) -> Vec<u64> {
    let x = boxed(&prng.fill::<u64>(2 * n.len()));
    limbs(&x.rem(&NonZero::new(boxed(&[n, &vec![0; n.len()]].concat())).unwrap()), n.len())
}

fn boxed(x: &[u64]) -> BoxedUint {
    BoxedUint::from_words(x.iter().copied())
}

fn limbs(x: &BoxedUint, count: usize) -> Vec<u64> {
    let mut words: Vec<u64> = x.as_words().to_vec();
    assert!(words.iter().skip(count).all(|&word| word == 0), "more than {count} limbs");
    words.resize(count, 0);
    words
}

/// The oracle: the integers modulo n^2 by another library.
struct Oracle {
    square: BoxedUint,
    params: BoxedMontyParams,
}

impl Oracle {
    fn new(n: &[u64]) -> Self {
        let mut square = vec![0; 2 * n.len()];
        add_product(&mut square, n, n);
        let square = boxed(&square);
        Self { params: BoxedMontyParams::new(Odd::new(square.clone()).unwrap()), square }
    }

    fn form(&self, x: &[u64]) -> BoxedMontyForm {
        BoxedMontyForm::new(boxed(x), &self.params)
    }

    fn limbs(&self, x: &BoxedMontyForm) -> Vec<u64> {
        limbs(&x.retrieve(), self.square.as_words().len())
    }

    fn multiply(&self, x: &[u64], y: &[u64]) -> Vec<u64> {
        self.limbs(&(&self.form(x) * &self.form(y)))
    }

    fn power(&self, x: &[u64], e: &[u64]) -> Vec<u64> {
        self.limbs(&self.form(x).pow(&boxed(e)))
    }

    /// v R / y, of R = 2^bits, where y has an inverse.
    fn factor_for(&self, v: &[u64], y: &[u64], bits: usize) -> Option<Vec<u64>> {
        let inverse = boxed(y).invert_odd_mod(&Odd::new(self.square.clone()).unwrap()).into_option()?;
        let r = self.power(&[&[2], &vec![0; v.len() - 1][..]].concat(), &[bits as u64]);
        Some(self.multiply(&self.multiply(&limbs(&inverse, v.len()), v), &r))
    }

    /// x as a canonical pair, by division.
    fn pair(&self, x: &[u64], n: &[u64]) -> [Vec<u64>; 2] {
        let n = boxed(&[n, &vec![0; n.len()]].concat());
        let (quotient, rest) = boxed(x).div_rem(&NonZero::new(n).unwrap());
        [rest, quotient].map(|half| limbs(&half, x.len() / 2))
    }
}

/// Sets one lane's digits.
fn put<N: Numbers>(lines: &mut [N::Line], lane: usize, halves: &[Vec<u64>; 2], digits: usize) {
    for (i, line) in lines.iter_mut().enumerate() {
        line.words_mut()[lane] = digit(&halves[i / digits], i % digits, N::BITS);
    }
}

/// Halves of pairs at the edges of what bodies take, all below 8n.
fn edges(n: &[u64], prng: &mut Prng) -> Vec<Vec<u64>> {
    let small = |x: u64| [&[x], &vec![0; n.len()][..]].concat();
    let times = |k: u64| {
        let mut x = vec![0; n.len() + 1];
        add_product(&mut x, n, &[k]);
        x
    };
    let less_one = |mut x: Vec<u64>| {
        x[0] -= 1;
        x
    };
    let ones = [vec![u64::MAX; n.len()], vec![0]].concat();
    let mut all = vec![small(0), small(1), less_one(times(1)), times(1), times(2), ones];
    all.push({
        let mut x = times(7);
        x[0] ^= 2;
        x
    });
    all.extend((0..3).map(|_| [below(n, prng), vec![0]].concat()));
    all
}

type Halves = [Vec<u64>; 2];

/// A body and its definition give the same digits of products, and of squares where both factors are one.
fn compare<N: Numbers, const BITS: u32>(body: &N, definition: &Definition<BITS>, cases: &[[Halves; 2]]) {
    let digits = body.constants().digits;
    assert_eq!((N::BITS, digits), (BITS, definition.constants().digits));
    let (mut scratch, mut other) = (Scratch::new(digits), Scratch::new(digits));
    for cases in cases.chunks(N::Line::LANES) {
        let [mut x, mut y, mut xy, mut xx] = [(); 4].map(|()| vec![N::Line::ZERO; 2 * digits]);
        for (lane, [a, b]) in cases.iter().enumerate() {
            put::<N>(&mut x, lane, a, digits);
            put::<N>(&mut y, lane, b, digits);
        }
        body.multiply(&x, &y, &mut scratch, &mut xy);
        let squares = cases.iter().all(|[a, b]| a == b);
        if squares {
            body.square(&x, &mut scratch, &mut xx);
        }
        for (lane, [a, b]) in cases.iter().enumerate() {
            let [mut u, mut v, mut uv] = [(); 3].map(|()| vec![Line1::ZERO; 2 * digits]);
            put::<Definition<BITS>>(&mut u, 0, a, digits);
            put::<Definition<BITS>>(&mut v, 0, b, digits);
            definition.multiply(&u, &v, &mut other, &mut uv);
            let words = |lines: &[N::Line]| lines.iter().map(|line| line.words()[lane]).collect::<Vec<_>>();
            let expected: Vec<_> = uv.iter().map(|line| line.0[0]).collect();
            assert_eq!(words(&xy), expected, "{a:x?} {b:x?}");
            assert!(!squares || words(&xx) == expected, "square of {a:x?}");
        }
    }
}

/// A body of digits of these bits, in multiples of `step`, against their definition at the edges.
fn is_the_definition<N: Numbers, const BITS: u32>(body: &N, step: usize, n: &[u64]) {
    let prng = &mut prng(3);
    let definition = Definition::<BITS>::new(n, step);
    let halves = edges(n, prng);
    let pairs: Vec<Halves> = halves.iter().flat_map(|a| halves.iter().map(|b| [a.clone(), b.clone()])).collect();
    let products = (0..pairs.len()).map(|i| [pairs[i].clone(), pairs[(7 * i + 3) % pairs.len()].clone()]);
    compare(body, &definition, &products.collect::<Vec<_>>());
    compare(body, &definition, &pairs.iter().map(|x| [x.clone(), x.clone()]).collect::<Vec<_>>());
    // All digits ones, as an integer's lower half may have them, with canonical factors.
    let bits = body.constants().digits * BITS as usize;
    let mut ones = vec![u64::MAX; bits.div_ceil(64)];
    *ones.last_mut().unwrap() = super::natural::mask(1 + (bits as u32 - 1) % 64);
    let canonical = |prng: &mut Prng| [below(n, prng), below(n, prng)];
    let cases: Vec<_> = (0..5).map(|_| [[ones.clone(), vec![0]], canonical(prng)]).collect();
    compare(body, &definition, &cases);
}

/// Every body of this processor, and the kernels of vectors on emulated ones, whose sums are checked.
fn all_are_the_definition(n: &[u64]) {
    is_the_definition::<_, 58>(&Limbs::new(n).unwrap(), 4, n);
    is_the_definition::<_, 52>(&of52::Model::new(n).unwrap(), 8, n);
    is_the_definition::<_, 26>(&of26::Model::new(n).unwrap(), 8, n);
    #[cfg(target_arch = "x86_64")]
    {
        super::limbs::bmi2::Limbs::new(n).iter().for_each(|body| is_the_definition::<_, 58>(body, 4, n));
        avx2::Avx2::new(n).iter().for_each(|body| is_the_definition::<_, 26>(body, 8, n));
        ifma::Ifma::new(n).iter().for_each(|body| is_the_definition::<_, 52>(body, 8, n));
    }
}

#[test]
fn bodies_are_the_definition_digit_by_digit() {
    for bits in [64, 256, 512, 2048, 3072] {
        all_are_the_definition(&modulus(bits, &mut prng(1)));
    }
    // The largest and the smallest of their length.
    let mut n = vec![u64::MAX; 8];
    all_are_the_definition(&n);
    n = vec![0; 8];
    (n[0], n[7]) = (1, 1 << 63);
    all_are_the_definition(&n);
}

/// Integers at the edges, and some between.
fn integers(n: &[u64], prng: &mut Prng) -> Vec<u64> {
    let zero = || vec![0; 2 * n.len()];
    let mut square = zero();
    add_product(&mut square, n, n);
    let minus = |x: &[u64], y: &[u64]| {
        let mut x = x.to_vec();
        super::natural::subtract_masked(&mut x, y, u64::MAX);
        x
    };
    let n = [n, &vec![0; n.len()]].concat();
    let one = [&[1][..], &zero()[1..]].concat();
    let mut n_plus_one = n.clone();
    add(&mut n_plus_one, &[1]);
    let mut ones = vec![u64::MAX; n.len()];
    *ones.last_mut().unwrap() >>= 3;
    let mut all = vec![zero(), one.clone(), minus(&n, &one), n.clone(), n_plus_one, minus(&square, &one)];
    all.extend([minus(&square, &n), minus(&square, &minus(&n, &one)), ones]);
    for _ in 0..4 {
        let mut x = zero();
        let half = n.len() / 2;
        x[..half].copy_from_slice(&below(&n[..half], prng));
        add_product(&mut x, &n[..half], &below(&n[..half], prng));
        all.push(x);
    }
    all.retain(|x| less(x, &square) == 1);
    all.concat()
}

/// All operations of a body on the edges, against the oracle.
fn is_the_oracle(body: Body, n: &[u64]) {
    let prng = &mut prng(5);
    let (ring, oracle) = (Ring::with_body(n, body).unwrap(), Oracle::new(n));
    let w = 2 * n.len();
    let x = integers(n, prng);
    let count = x.len() / w;
    let of = |x: &[u64], i: usize| x[i * w..][..w].to_vec();
    for turn in [0, 1, 5] {
        let mut y = x.clone();
        y.rotate_left(turn * w);
        let expected: Vec<_> = (0..count).flat_map(|i| oracle.multiply(&of(&x, i), &of(&y, i))).collect();
        assert!(*ring.multiply(&x, &y) == expected, "{body:?} products, turn {turn}");
    }
    let cubes: Vec<_> = (0..count).flat_map(|i| oracle.power(&of(&x, i), &[3])).collect();
    assert!(*ring.multiply_repeatedly(&x, &x, 2) == cubes, "{body:?} cubes");
    let pairs: Vec<_> = (0..count).flat_map(|i| oracle.pair(&of(&x, i), n).concat()).collect();
    assert!(*ring.split(&x) == pairs, "{body:?} pairs");
    // Exponents: 0, 1, all ones, random; each its own, then one for all.
    let bits = 83;
    let exponents: Vec<u64> = (0..count)
        .flat_map(|i| match i % 4 {
            0 => [0, 0],
            1 => [1, 0],
            2 => [u64::MAX, (1 << 19) - 1],
            _ => [prng.next_u64(), prng.next_u64() >> 45],
        })
        .collect();
    let e = |i: usize| &exponents[2 * i..][..2];
    let powers: Vec<_> = (0..count).flat_map(|i| oracle.power(&of(&x, i), e(i))).collect();
    assert!(*ring.power(&x, &Exponents { limbs: &exponents, bits }) == powers, "{body:?} powers");
    let powers: Vec<_> = (0..count).flat_map(|i| oracle.power(&of(&x, i), e(3))).collect();
    assert!(*ring.power(&x, &Exponents { limbs: e(3), bits }) == powers, "{body:?} powers of one exponent");
    // (1 + m n) base^e, of m = 0, 1, n - 1 and others.
    let base = of(&x, count - 1);
    let table = ring.fixed_base(&base, bits);
    let mut most = n.to_vec();
    most[0] -= 1;
    let messages = (0..count).map(|i| match i % 4 {
        0 => vec![0; n.len()],
        1 => most.clone(),
        2 => [&[1], &vec![0; n.len() - 1][..]].concat(),
        _ => below(n, prng),
    });
    let messages: Vec<Vec<u64>> = messages.collect();
    let expected = (0..count).flat_map(|i| {
        let mut factor = vec![0; w];
        add_product(&mut factor, n, &messages[i]);
        add(&mut factor, &[1]);
        oracle.multiply(&oracle.power(&base, e(i)), &factor)
    });
    let expected: Vec<_> = expected.collect();
    let blinded = ring.blind(&table, &Exponents { limbs: &exponents, bits }, &messages.concat());
    assert!(*blinded == expected, "{body:?} blinded");
}

#[test]
fn every_body_is_the_oracle() {
    for bits in [64, 256, 512, 2048, 3072] {
        let n = modulus(bits, &mut prng(2));
        Body::available().into_iter().for_each(|body| is_the_oracle(body, &n));
    }
}

/// Named, so that it can be run alone where a processor with AVX-512 IFMA is at hand.
#[test]
fn ifma_is_the_scalar_definition_and_the_oracle() {
    if !Body::available().contains(&Body::Ifma) {
        return eprintln!("SKIPPED: this processor has no AVX-512 IFMA, and its body was not run");
    }
    #[cfg(target_arch = "x86_64")]
    for (bits, seed) in [(64, 1), (256, 2), (512, 3), (1024, 4), (2048, 5), (3072, 6), (4096, 7)] {
        let n = modulus(bits, &mut prng(seed));
        is_the_definition::<_, 52>(&ifma::Ifma::new(&n).unwrap(), 8, &n);
        is_the_oracle(Body::Ifma, &n);
    }
    eprintln!("AVX-512 IFMA was run");
}

/// Products whose halves are not below n, set up on purpose: they come about once in 2^32 products otherwise. With
/// x = v R / y, a small v < n leaves r0 = n + v, which carries, and a large one r1 = 2n, which takes both subtractions.
fn rare_subtractions<N: Numbers>(body: &N, n: &[u64]) {
    let (prng, oracle) = (&mut prng(6), Oracle::new(n));
    let digits = body.constants().digits;
    let mut worker = worker::Worker::new(body);
    let small = vec![3 + prng.next_u64() % 1000];
    for (v, rare) in [(small, 0), (below(n, prng), 1)] {
        let v = [v.clone(), vec![0; 2 * n.len() - v.len()]].concat();
        let (x, y) = loop {
            let mut y = vec![0; 2 * n.len()];
            y[..n.len()].copy_from_slice(&below(n, prng));
            add_product(&mut y, n, &below(n, prng));
            if let Some(x) = oracle.factor_for(&v, &y, digits * N::BITS as usize) {
                break (x, y);
            }
        };
        let [mut u, mut w, mut uw] = [(); 3].map(|()| vec![N::Line::ZERO; 2 * digits]);
        for lane in 0..N::Line::LANES {
            put::<N>(&mut u, lane, &oracle.pair(&x, n), digits);
            put::<N>(&mut w, lane, &oracle.pair(&y, n), digits);
        }
        worker.multiply(&u, &w, &mut uw);
        let half = |at: usize| {
            let mut half = vec![0; n.len() + 1];
            uw[at..at + digits]
                .iter()
                .enumerate()
                .for_each(|(i, line)| put_digit(&mut half, i, N::BITS, line.words()[0]));
            half
        };
        let (mut r0, mut r1) = (half(0), half(digits));
        if rare == 0 {
            assert_eq!(reduce_once(&mut r0, n), 1, "r0 is not below n");
        } else {
            assert_eq!([(); 2].map(|()| reduce_once(&mut r1, n)), [1, 1], "r1 is not below 2n");
        }
        let mut out = vec![0; 2 * n.len() * N::Line::LANES];
        worker.integers(&uw, &mut out);
        assert!(out.chunks_exact(2 * n.len()).all(|out| *out == v));
    }
}

#[test]
fn rare_conditional_subtractions_are_right() {
    for bits in [256, 512, 2048] {
        let n = &modulus(bits, &mut prng(4));
        rare_subtractions(&Limbs::new(n).unwrap(), n);
        rare_subtractions(&of52::Model::new(n).unwrap(), n);
        rare_subtractions(&of26::Model::new(n).unwrap(), n);
        #[cfg(target_arch = "x86_64")]
        {
            avx2::Avx2::new(n).iter().for_each(|body| rare_subtractions(body, n));
            ifma::Ifma::new(n).iter().for_each(|body| rare_subtractions(body, n));
        }
    }
}

/// `scripts/bigint_vectors.py` made them, by Python's integers.
#[test]
fn known_answers_hold() {
    let hex = |text: &str, count: usize| {
        let mut x = vec![0; count];
        let digits = text.bytes().rev().map(|c| u64::from((c as char).to_digit(16).unwrap()));
        digits.enumerate().for_each(|(i, d)| x[i / 16] |= d << (4 * (i % 16)));
        x
    };
    let mut cases = 0;
    for line in include_str!("known_answers.txt").lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        let half = fields[0].len() / 16;
        let n = hex(fields[0], half);
        let [x, y, product, power, blinded] = [1, 2, 5, 6, 7].map(|i| hex(fields[i], 2 * half));
        let bits = 32 * half;
        let exponent = hex(fields[3], bits.div_ceil(64));
        let exponents = Exponents { limbs: &exponent, bits };
        for body in Body::available() {
            let ring = Ring::with_body(&n, body).unwrap();
            assert!(*ring.multiply(&x, &y) == product, "{body:?} product of {line}");
            assert!(*ring.power(&x, &exponents) == power, "{body:?} power of {line}");
            let table = ring.fixed_base(&y, bits);
            assert!(*ring.blind(&table, &exponents, &hex(fields[4], half)) == blinded, "{body:?} blinded of {line}");
        }
        cases += 1;
    }
    assert_eq!(cases, 18);
}

#[test]
fn other_moduli_are_refused_and_ranges_are_known() {
    for n in [vec![], vec![9], vec![4, 1 << 63], vec![u64::MAX, 0], vec![u64::MAX; 65]] {
        assert!(matches!(Ring::new(&n), Err(Error::Parameters(_))), "{n:x?}");
    }
    let n = modulus(256, &mut prng(8));
    let ring = Ring::new(&n).unwrap();
    let mut square = vec![0; 8];
    add_product(&mut square, &n, &n);
    assert!(!ring.contains(&square) && ring.contains(&[0; 16]) && !ring.contains(&[0; 7]));
    square[0] -= 1;
    assert!(ring.contains(&square));
    assert!(ring.power(&[], &Exponents { limbs: &[1], bits: 3 }).is_empty());
}
