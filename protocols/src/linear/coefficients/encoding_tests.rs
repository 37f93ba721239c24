use proptest::prelude::*;

use blindvox_engine::poly::Places;

use super::*;
use crate::linear::op::{ConvShape, LinearOp};

/// All products in the clear, mod 2^32.
fn by_products(e: &Encoding, weights: &[i32], x: &[u32], outputs: usize) -> Vec<u32> {
    let n = e.n;
    let mut y = vec![0; outputs];
    let mut poly = vec![0; n];
    let mut written = vec![0; y.len()];
    for (tile, out_group) in (0..e.tiles() * e.out_groups()).map(|i| (i / e.out_groups(), i % e.out_groups())) {
        let mut product = vec![0u32; n];
        for in_group in 0..e.in_groups() {
            let mut runs = vec![];
            e.input_runs((tile, in_group), 0, &mut runs);
            let (places, mut input) = (Places::new(n, x.len(), 1, runs).unwrap(), vec![0u32; n]);
            assert!(!places.collide());
            places.gather(0, x, &mut input);
            e.encode_weights(weights, out_group, in_group, &mut poly);
            if e.is_scalar() {
                let constants: Vec<i32> = e.constants(weights, out_group..out_group + 1).collect();
                assert!(poly[0] == constants[in_group] && poly[1..].iter().all(|&w| w == 0));
            }
            for (i, &w) in poly.iter().enumerate().filter(|(_, w)| **w != 0) {
                for (j, &v) in input.iter().enumerate() {
                    let term = (w as u32).wrapping_mul(v);
                    let slot = &mut product[(i + j) % n];
                    *slot = if i + j < n { slot.wrapping_add(term) } else { slot.wrapping_sub(term) };
                }
            }
        }
        let mut runs = vec![];
        e.output_runs((tile, out_group), 0, &mut runs);
        let places = Places::new(n, outputs, 1, runs).unwrap();
        assert_eq!(places.count(0), e.output_count(tile, out_group));
        places.scatter(0, &product, &mut y);
        let mut once = vec![0; outputs];
        places.spread(0, &vec![1; places.count(0)], &mut once);
        written.iter_mut().zip(once).for_each(|(w, o)| *w += o);
    }
    let counted: usize = e.reply_sizes().iter().map(|(len, times)| len * times).sum();
    assert_eq!(counted, y.len());
    assert!(written.iter().all(|&w| w == 1), "every output once");
    y
}

fn values(count: usize, seed: u64) -> Vec<u32> {
    (0..count as u64).map(|i| ((seed ^ i).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 27) as u32).collect()
}

fn check(e: &Encoding, op: &LinearOp, seed: u64) {
    let (inputs, outputs) = (op.input_shape().iter().product(), op.output_shape().iter().product());
    let x = values(inputs, seed);
    let weights: Vec<i32> = values(op.weights(), !seed).iter().map(|&w| w as i32 >> 20).collect();
    assert_eq!(by_products(e, &weights, &x, outputs), op.ideal(&weights, &x), "{e:?}");
}

/// The smallest n that holds it, so that blocks come close to wrapping, or a larger one.
fn fit(geometry: Geometry, tile: [usize; 3], packs: [usize; 2], spare: usize) -> Option<Encoding> {
    let fits = (1..16).filter_map(|log| Encoding::new(1 << log, geometry, tile, packs[0], packs[1]));
    fits.take(spare + 1).last().filter(|e| e.n <= 4096)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]
    #[test]
    fn products_are_convolutions(
        channels in [1usize..5, 1..5],
        size in [1usize..7, 1..8, 1..9],
        window in [(1usize..6, 1usize..4, 0usize..5), (1..6, 1..4, 0..5), (1..6, 1..4, 0..5)],
        behind in [0usize..5, 0..5, 0..5],
        tile in [1usize..8, 1..9, 1..10],
        packs in [1usize..5, 1..5],
        spare in 0usize..2,
        seed: u64,
    ) {
        let (kernel, stride) = (window.map(|w| w.0), window.map(|w| w.1));
        let padding = window.map(|(k, _, p)| p.min(k - 1));
        // As many outputs as a number of zeros behind allows, one at least, and none that begins behind the input.
        let output = std::array::from_fn(|d| {
            let (all, most) = (size[d] + padding[d] + behind[d].min(kernel[d] - 1), (size[d] + padding[d]).div_ceil(stride[d]));
            (all.saturating_sub(kernel[d]) / stride[d] + 1).min(most)
        });
        let shape = ConvShape { inputs: channels[0], outputs: channels[1], size, output, kernel, stride, padding };
        let geometry = Geometry::conv(&shape).unwrap();
        let Some(e) = fit(geometry, tile, packs, spare) else { return Ok(()) };
        check(&e, &LinearOp::Conv(shape), seed);
    }

    #[test]
    fn products_are_transposed_convolutions(
        channels in [1usize..5, 1..5],
        size in [1usize..5, 1..6, 1..7],
        factor in [1usize..4, 1..4, 1..4],
        tile in 1usize..80,
        packs in [1usize..5, 1..30],
        spare in 0usize..2,
        seed: u64,
    ) {
        let [inputs, outputs] = channels;
        let output = std::array::from_fn(|d| size[d] * factor[d]);
        let shape = ConvShape { inputs, outputs, size, output, kernel: factor, stride: factor, padding: [0; 3] };
        let geometry = Geometry::transposed(inputs, outputs, size, factor).unwrap();
        let Some(e) = fit(geometry, [1, 1, tile], packs, spare) else { return Ok(()) };
        check(&e, &LinearOp::Transposed(shape), seed);
    }
}

#[test]
fn blocks_that_fill_n_exactly_or_fall_short_by_less_than_the_reach() {
    let encode = |n: usize, shape: ConvShape, packs: [usize; 2]| {
        Encoding::new(n, Geometry::conv(&shape).unwrap(), shape.output, packs[0], packs[1])
    };
    // 7 + 1 margin a row, 3 + 1 rows: 32 coefficients; 4 x 2 blocks fill 256 exactly.
    let shape = ConvShape::same(5, 3, [1, 3, 7], [1, 3, 3]);
    check(&encode(256, shape, [4, 2]).unwrap(), &LinearOp::Conv(shape), 1);
    // Rows of 6 + 1: 28 coefficients, and 2 x 2 blocks leave 16, more than the reach of 8.
    let shape = ConvShape::same(5, 3, [1, 3, 6], [1, 3, 3]);
    check(&encode(128, shape, [2, 2]).unwrap(), &LinearOp::Conv(shape), 2);
    // 5 rows of 11 + 1 leave 4 of 64, less than the reach of 13.
    assert!(encode(64, ConvShape::same(5, 3, [1, 4, 11], [1, 3, 3]), [1, 1]).is_none());
    // Without zeros before the first voxel nothing is reached below: 8 rows of 8 fill 64.
    let shape = ConvShape { padding: [0; 3], output: [1, 6, 6], ..ConvShape::same(1, 1, [1, 8, 8], [1, 3, 3]) };
    check(&encode(64, shape, [1, 1]).unwrap(), &LinearOp::Conv(shape), 3);
    // With stride 2 an even kernel of 4 and a zero before the first voxel has offsets -1..=1 on phases of 4: 5 a row.
    let shape = ConvShape {
        stride: [1, 1, 2],
        output: [1, 1, 4],
        padding: [0, 0, 1],
        ..ConvShape::same(1, 1, [1, 1, 8], [1, 1, 4])
    };
    let e = encode(16, shape, [2, 1]).unwrap();
    assert_eq!((e.geometry().inputs(), extents(e.geometry(), e.tile())), (2, [1, 1, 5]));
    check(&e, &LinearOp::Conv(shape), 4);
}

#[test]
fn kernels_of_their_stride_are_constants() {
    let shape =
        ConvShape { stride: [2; 3], padding: [0; 3], output: [2, 3, 2], ..ConvShape::same(2, 3, [4, 7, 5], [2; 3]) };
    let geometry = Geometry::conv(&shape).unwrap();
    assert_eq!((geometry.inputs(), geometry.size(), geometry.is_pointwise()), (16, [1, 1, 12], true));
    let e = Encoding::new(16, geometry, [1, 1, 12], 1, 1).unwrap();
    assert!(e.is_scalar());
    check(&e, &LinearOp::Conv(shape), 5);
}

#[test]
fn what_cannot_be_encoded_is_none() {
    let shape = ConvShape::same(1, 1, [4, 4, 4], [3, 3, 3]);
    let geometry = Geometry::conv(&shape).unwrap();
    assert!(Encoding::new(64, geometry, [4, 4, 4], 1, 1).is_none());
    assert!(Encoding::new(4096, geometry, [0, 4, 4], 1, 1).is_none());
    assert!(Encoding::new(4096, geometry, [4, 4, 4], 0, 1).is_none());
    let huge = Geometry::conv(&ConvShape::same(1, 1, [usize::MAX / 4; 3], [3; 3])).unwrap();
    assert!(Encoding::new(4096, huge, huge.size(), 1, 1).is_none());
    for wrong in [
        ConvShape { inputs: 0, ..shape },
        ConvShape { outputs: 0, ..shape },
        ConvShape { size: [4, 0, 4], ..shape },
        ConvShape { output: [4, 4, 0], ..shape },
        ConvShape { stride: [1, 0, 1], ..shape },
        ConvShape { padding: [1, 3, 1], ..shape },
        // The sixth window begins behind the input and its one zero before it.
        ConvShape { output: [4, 6, 4], ..shape },
    ] {
        assert!(Geometry::conv(&wrong).is_none(), "{wrong:?}");
    }
    assert!(Geometry::transposed(1, 1, [4; 3], [2, 0, 2]).is_none());
}
