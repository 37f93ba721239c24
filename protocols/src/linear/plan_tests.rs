use blindvox_engine::bfv::noise;

use super::*;

fn conv(inputs: usize, outputs: usize, size: [usize; 3], kernel: [usize; 3]) -> LinearSpec {
    let kind = LinearKind::conv(kernel);
    LinearSpec { name: "enc.0.2".to_owned(), kind, inputs, outputs, size, output_size: size, weight_bits: 12 }
}

fn strided(kernel: [usize; 3], stride: [usize; 3], padding: [usize; 3]) -> LinearKind {
    LinearKind::Conv { kernel, stride, padding }
}

#[test]
fn layers_of_a_large_network_fit() {
    for (inputs, outputs, side) in [(64, 64, 64), (128, 128, 32), (256, 256, 16), (512, 512, 8), (1024, 512, 8)] {
        let plan = Plan::new(&conv(inputs, outputs, [side; 3], [3; 3])).unwrap();
        let e = plan.encoding();
        // Most of a product is neither halo nor left over.
        let tile: usize = e.tile().iter().product();
        let used = (tile * e.in_pack() * e.out_pack()) as f64 / 4096.0;
        assert!(used > 0.35, "{side}: {:?}, {} x {}: {used}", e.tile(), e.in_pack(), e.out_pack());
        assert!(plan.budget().distance_bits <= -noise::HIDING_BITS);
        assert!(plan.budget().need_bits < plan.budget().have_bits);
        assert_eq!(plan.sent_coefficients(), plan.output_len(), "each output is sent once");
    }
}

#[test]
fn pointwise_layers_fill_their_polynomials() {
    let plan = Plan::new(&conv(8, 3, [32, 48, 32], [1; 3])).unwrap();
    assert!(plan.encoding().is_scalar());
    assert_eq!((plan.cost().inputs, plan.cost().replies), (8 * 12, 3 * 12));
    let kind = LinearKind::Transposed2 { factor: [2; 3] };
    let plan = Plan::new(&LinearSpec { kind, output_size: [32, 48, 32], ..conv(16, 8, [16, 24, 16], [1; 3]) }).unwrap();
    assert_eq!((plan.cost().inputs, plan.cost().replies), (16 * 2, 64 * 2));
    assert_eq!(plan.output_shape(), [8, 32, 48, 32]);
}

#[test]
fn what_does_not_fit_is_an_error_that_names_the_layer() {
    let wide = LinearSpec { weight_bits: 20, ..conv(1 << 16, 64, [8; 3], [5; 3]) };
    let refused = Plan::new(&wide).unwrap_err();
    assert!(matches!(refused, Error::Model(_)));
    let text = refused.to_string();
    assert!(text.contains("enc.0.2") && text.contains("hides the weights"), "{text}");
    for bad in [
        conv(0, 1, [8; 3], [3; 3]),
        conv(1, 1, [8; 3], [64, 1, 1]),
        LinearSpec { output_size: [8, 8, 10], ..conv(1, 1, [8; 3], [3; 3]) },
        LinearSpec { kind: LinearKind::Transposed2 { factor: [2; 3] }, ..conv(1, 1, [8; 3], [3; 3]) },
        LinearSpec { kind: strided([3; 3], [1, 0, 1], [1; 3]), ..conv(1, 1, [8; 3], [3; 3]) },
        LinearSpec { kind: strided([3; 3], [1; 3], [1, 1, 3]), ..conv(1, 1, [8; 3], [3; 3]) },
        conv(1, 1, [1 << 30; 3], [3; 3]),
        conv(1, 1, [0, 1, 1], [3; 3]),
        conv(1, 1, [64; 3], [63; 3]),
        LinearSpec { weight_bits: 40, ..conv(1, 1, [8; 3], [3; 3]) },
    ] {
        let text = Plan::new(&bad).unwrap_err().to_string();
        assert!(text.contains("enc.0.2"), "{text}");
    }
}

/// A layer with stride 2 takes an eighth of the replies, and what a tile of its output depends on is read once.
#[test]
fn strided_layers_cost_what_their_outputs_do() {
    let kind = strided([3; 3], [2; 3], [1; 3]);
    let plan = Plan::new(&LinearSpec { kind, output_size: [16; 3], ..conv(16, 16, [32; 3], [3; 3]) }).unwrap();
    let whole = Plan::new(&conv(16, 16, [32; 3], [3; 3])).unwrap();
    assert_eq!(plan.sent_coefficients(), whole.sent_coefficients() / 8);
    assert!(plan.cost().nanoseconds() < whole.cost().nanoseconds() / 1.5, "{:?} {:?}", plan.cost(), whole.cost());
    let read = plan.input().unwrap().places().runs().iter().map(|run| run.count()).sum::<usize>();
    assert!(read >= plan.input_len() && read < 2 * plan.input_len(), "{read}");
}
