//! Updates as integers and back, at the edges of what they may be.

use blindvox_federated::codec::{Decoder, Encoder};
use blindvox_federated::local::plan;
use blindvox_federated::plan::{Averaged, Plan, SchemeKind};

fn planned(bits: u32, clips: &[(usize, f64)], most: u64) -> Plan {
    let tensor = |(i, (elements, clip)): (usize, &(usize, f64))| Averaged {
        name: format!("t{i}"),
        elements: *elements as u64,
        clip: *clip,
    };
    plan(SchemeKind::Plain, bits, [0; 32], clips.iter().enumerate().map(tensor).collect(), most)
}

fn encoded(plan: &Plan, update: &Vec<Vec<f64>>, examples: u64) -> Vec<u32> {
    let encoder = Encoder::new(plan, update, examples).unwrap();
    let mut fields = vec![u32::MAX; plan.fields()];
    encoder.fill(0, &mut fields);
    // The same in pieces that end anywhere.
    for size in [1, 2, 3, 7] {
        let mut pieces = vec![u32::MAX; fields.len()];
        pieces.chunks_mut(size).enumerate().for_each(|(i, piece)| encoder.fill(i * size, piece));
        assert_eq!(pieces, fields, "pieces of {size}");
    }
    fields
}

#[test]
fn numbers_are_those_of_the_formula() {
    let plan = planned(8, &[(0, 1.0), (4, 2.0), (0, 1.0), (3, 0.5)], 4);
    let update = vec![vec![], vec![0.0, 2.0, -2.0, 1.0], vec![], vec![0.25, 9.0, -9.0]];
    // w = 3/4: 96 in field 0; 2 of 7 clipped: round(256 * 2/7) = 73.
    assert_eq!(encoded(&plan, &update, 3), [96, 73, 128, 224, 32, 176, 176, 224, 32]);
    // w = 1: the largest number is one less.
    assert_eq!(encoded(&plan, &update, 4), [128, 73, 128, 255, 0, 192, 192, 255, 0]);
    // Halves go to even: w = 1/2, so 1/64 is 0.5 units and 3/64 is 1.5.
    let ties = vec![vec![], vec![1.0 / 64.0, 3.0 / 64.0, -1.0 / 64.0, 0.0], vec![], vec![0.0; 3]];
    assert_eq!(encoded(&plan, &ties, 2)[2..6], [128, 130, 128, 128]);
}

#[test]
fn averages_come_back_and_propose_the_next_clips() {
    let plan = planned(20, &[(3, 1.0), (2, 4.0)], 10);
    let updates = [vec![vec![0.5, -0.25, 0.0], vec![3.0, 0.0]], vec![vec![0.25, 0.25, 0.0], vec![1.0, 0.0]]];
    let mut sums = vec![0; plan.fields()];
    for (update, examples) in updates.iter().zip([10, 5]) {
        sums.iter_mut().zip(encoded(&plan, update, examples)).for_each(|(sum, x)| *sum += x);
    }
    let mut averages = vec![vec![f64::NAN; 3], vec![f64::NAN; 2]];
    let mut decoder = Decoder::new(&plan, 2, &mut averages);
    // What lies beyond the last field counts for nothing.
    sums.extend([9, 9, 9]);
    sums.chunks(3).enumerate().for_each(|(i, row)| decoder.take(3 * i, row));
    assert_eq!(decoder.clipped, 0.0);
    let clips = decoder.finish().unwrap();
    let expected = [[0.5 * 2.0 + 0.25, -0.25 * 2.0 + 0.25, 0.0], [3.0 * 2.0 + 1.0, 0.0, f64::NAN]];
    for (tensor, expected) in averages.iter().zip(expected) {
        for (x, e) in tensor.iter().zip(expected) {
            assert!((x - e / 3.0).abs() < 1e-5, "{x} {e}");
        }
    }
    // Root mean squares 0.2456 and 1.65: 8 times that is below 2 and 16.
    assert_eq!(clips, [2.0, 16.0]);
}

#[test]
fn a_sum_of_no_weight_and_wild_counts_are_refused() {
    let plan = planned(8, &[(1, 1.0)], 4);
    let mut averages = vec![vec![0.0]];
    let mut decoder = Decoder::new(&plan, 3, &mut averages);
    decoder.take(0, &[0, 0, 384]);
    assert!(decoder.finish().is_err());
    let update = vec![vec![0.5]];
    assert!(Encoder::new(&plan, &update, 0).is_err() && Encoder::new(&plan, &update, 5).is_err());
    let mostly = vec![vec![1.5]];
    assert!(Encoder::new(&plan, &mostly, 1).unwrap().warning().unwrap().contains("1 of 1 entries"));
    assert!(Encoder::new(&plan, &update, 1).unwrap().warning().is_none());
}
