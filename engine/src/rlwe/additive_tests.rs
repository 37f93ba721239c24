//! Sums of sealed vectors, at the edges of what they may hold.

use super::additive::{Layout, OneTimeKey, Vector};
use crate::device::Device;
use crate::prng::Prng;
use crate::testing;

const SEED: [u8; 16] = [5; 16];

fn layout(terms: usize, width: u32) -> Layout {
    Layout::new(&Device::cpu(), terms, width).unwrap()
}

fn seal(layout: &Layout, values: &[u32], prng: &mut Prng) -> (Vec<i32>, Vec<u8>) {
    let key = OneTimeKey::generate(layout, prng);
    let k = key.coefficients().to_vec();
    let fill = |at: usize, row: &mut [u32]| row.copy_from_slice(&values[at..at + row.len()]);
    (k, layout.seal(key, &SEED, &Vector { len: values.len(), fill: &fill }, prng).unwrap())
}

fn open(layout: &Layout, keys: &[i32], sum: &[u8], terms: usize) -> crate::Result<Vec<u32>> {
    let mut opened = Vec::new();
    layout.open(keys, &SEED, (sum, 0), terms, &mut |at, row| {
        assert_eq!(at, opened.len());
        opened.extend_from_slice(row);
    })?;
    Ok(opened)
}

fn add_keys(sum: &mut [i32], key: &[i32]) {
    sum.iter_mut().zip(key).for_each(|(sum, k)| *sum += k);
}

/// Values as large as may be, as many terms as there is room for; two polynomials and a part.
#[test]
fn sums_open_at_the_edges_of_their_room() {
    for (terms, fields) in [(8, 3), (24, 3), (97, 3), (389, 3), (8, 4), (1, 3)] {
        let width = Layout::widest(terms, fields);
        let layout = layout(terms, width);
        assert_eq!(layout.capacity(), fields as usize * 4096);
        let most = ((1u64 << width) - 1) / terms as u64;
        let mut prng = Prng::from_seed_for_tests([terms as u8; 32]);
        let values: Vec<u32> = (0..2 * layout.capacity() + 5)
            .map(|i| match i % 3 {
                0 => most as u32,
                1 => 0,
                _ => (prng.next_u64() % (most + 1)) as u32,
            })
            .collect();
        let (mut keys, mut sum) = seal(&layout, &values, &mut prng);
        for _ in 1..terms {
            let (key, packed) = seal(&layout, &values, &mut prng);
            add_keys(&mut keys, &key);
            layout.add(&mut sum, &packed).unwrap();
        }
        let opened = open(&layout, &keys, &sum, terms).unwrap();
        assert!(opened.iter().zip(&values).all(|(sum, v)| u64::from(*sum) == u64::from(*v) * terms as u64), "{terms}");
        assert!(opened[values.len()..].iter().all(|x| *x == 0));
    }
}

/// The published bits of a value: three or four of them in a coefficient.
#[test]
fn layouts_have_the_widths_of_their_table() {
    for (terms, log, three, four) in
        [(8, 3, 27, 19), (32, 5, 24, 17), (64, 6, 23, 16), (256, 8, 21, 14), (1024, 10, 19, 11)]
    {
        assert_eq!(Layout::widest(terms, 3) - log, three, "{terms}");
        assert_eq!(Layout::widest(terms, 4) - log, four, "{terms}");
        assert_eq!(layout(terms, Layout::widest(terms, 3)).capacity(), 3 * 4096);
        assert_eq!(layout(terms, Layout::widest(terms, 4)).capacity(), 4 * 4096);
    }
    for (terms, width) in [(0, 8), (1 << 21, 8), (8, 0), (8, 32)] {
        assert!(Layout::new(&Device::cpu(), terms, width).is_err());
    }
}

#[test]
fn another_key_and_another_count_are_found_out() {
    let (layout, mut prng) = (layout(3, 28), Prng::from_seed_for_tests([9; 32]));
    let (mut keys, mut sum) = seal(&layout, &[7; 100], &mut prng);
    let (key, packed) = seal(&layout, &[8; 100], &mut prng);
    layout.add(&mut sum, &packed).unwrap();
    assert!(open(&layout, &keys, &sum, 2).is_err());
    add_keys(&mut keys, &key);
    assert_eq!(open(&layout, &keys, &sum, 2).unwrap()[..100], [15; 100]);
    for at in [0, 1, 4095] {
        keys[at] += 1;
        assert!(open(&layout, &keys, &sum, 2).is_err(), "coefficient {at}");
        keys[at] -= 1;
    }
    assert!(open(&layout, &keys[1..], &sum, 2).is_err());
    assert!(open(&layout, &keys, &sum[1..], 2).is_err());
}

#[test]
fn what_is_not_reduced_or_of_another_length_is_refused_and_changes_nothing() {
    let (layout, mut prng) = (layout(3, 28), Prng::from_seed_for_tests([9; 32]));
    let (_, mut sum) = seal(&layout, &[7; 100], &mut prng);
    let before = sum.clone();
    assert!(layout.add(&mut sum, &before[1..]).is_err());
    assert!(layout.add(&mut sum, &vec![0xff; before.len()]).is_err());
    assert!(layout.add(&mut sum, &[before.clone(), before.clone()].concat()).is_err());
    assert_eq!(sum, before);
}

/// The same bytes step by step, as on a device that takes whole batches, and across the bounds of batches.
#[test]
fn the_chain_gives_the_same_bytes_step_by_step() {
    let each = layout(3, 30);
    let steps = Layout::new(&testing::cpu_by_steps(), 3, 30).unwrap();
    let values: Vec<u32> = (0..2 * each.capacity() as u32).collect();
    let made = |layout: &Layout| seal(layout, &values, &mut Prng::from_seed_for_tests([3; 32]));
    let ((keys, packed), (_, other)) = (made(&each), made(&steps));
    assert!(packed == other);
    assert_eq!(open(&steps, &keys, &packed, 1).unwrap(), open(&each, &keys, &packed, 1).unwrap());
    assert!(!format!("{:?}", OneTimeKey::generate(&each, &mut Prng::from_seed_for_tests([3; 32]))).contains('1'));
}
