//! Activations by one opening at every edge, and whole runs: parity of both parties' shares with the integers.

mod runs;

use std::sync::Arc;

use blindvox_engine::Prng;
use blindvox_models::format::graph::Function as Named;
use blindvox_models::integers::pieces::Pieces;
use blindvox_models::{Linear, LinearKind, Program, Step, TensorInfo, plain};
use blindvox_net::channel::{Party, local_pair};
use zeroize::Zeroizing;

use super::adder::Published;
use super::dealer::deal;
use super::decide;
use super::end::End;
use super::items::{Item, Material};
use super::local::local;
use super::masks::{MaskSpec, Masks};
use super::opening::{Activation, compare, ideal, open};
use super::plan::{Plan, Preset, Reveal, Terms};
use super::session::{Answer, Outcome, Session};
use super::source::Played;
use super::source::{correction_for_tests, part_for_tests};
use super::streams::Streams;
use super::wraps::{self, Wraps};

/// Runs both halves, each in a thread.
pub(crate) fn both<T: Send>(half: impl Fn(&mut End) -> T + Sync) -> [(T, End); 2] {
    let (client, server) = local_pair();
    std::thread::scope(|scope| {
        let run = |party, channel| {
            let mut end = End::new(party, channel);
            (half(&mut end), end)
        };
        let there = scope.spawn(move || run(Party::Server, server));
        [run(Party::Client, client), there.join().unwrap()]
    })
}

fn streams(party: usize, run: u64) -> Streams {
    Streams::new(&Zeroizing::new([party as u8 + 1; 16]), run)
}

pub(crate) fn masks(spec: &MaskSpec, n: usize, party: Party, run: u64) -> Masks {
    match party {
        Party::Client => spec.client(n, 0, &streams(0, run)),
        Party::Server => {
            let message = spec.deal(n, 0, &streams(0, run), &streams(1, run));
            assert_eq!(message.len(), spec.bytes(n));
            spec.server(n, 0, &streams(1, run), &message).unwrap()
        }
    }
}

/// Values of y under shares 0, 1, -1, 2^31 and random ones: the values, both parties' shares.
fn shared(values: &[i64]) -> (Vec<i64>, [Vec<u32>; 2]) {
    let mut prng = Prng::from_seed_for_tests([5; 32]);
    let mut all = Vec::new();
    let mut client = Vec::new();
    for &y in values {
        for share in [0, 1, u32::MAX, 1 << 31, prng.next_u32(), prng.next_u32(), prng.next_u32()] {
            all.push(y);
            client.push(share);
        }
    }
    let server = all.iter().zip(&client).map(|(&y, c)| (y as u32).wrapping_sub(*c)).collect();
    (all, [client, server])
}

fn pick<'a>(end: &End, shares: &'a [Vec<u32>; 2]) -> &'a [u32] {
    &shares[usize::from(end.party == Party::Server)]
}

/// The edges of an activation of y: around each threshold, powers of two, the ends of the range.
fn edges(function: &Pieces, shift: u32) -> Vec<i64> {
    let top = 1i64 << 30;
    let mut at = vec![0, -top, top - 1, top / 2, -top / 2, 12_345_678, -7_654_321];
    at.extend((0..30).flat_map(|b| [1i64 << b, -(1 << b)]));
    at.extend(function.thresholds().iter().map(|&t| i64::from(t) << shift));
    let near = |y: &i64| [-1, 0, 1, (1 << shift) - 1, -(1 << shift)].map(|d| y + d);
    let mut all: Vec<i64> = at.iter().flat_map(near).filter(|y| (-top..top).contains(y)).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// Runs an activation of y and compares whole and fine sums with `ideal`, and with what it may be.
fn check(name: &str, function: &Pieces, shift: u32, exact: bool, values: &[i64]) -> usize {
    let activation = Activation::new(function, shift, exact);
    let (values, shares) = shared(values);
    let n = values.len();
    let [(a, ends), (b, _)] = both(|end| {
        let masks = masks(&activation.spec, n, end.party, 7);
        let c = open(end, pick(end, &shares), &masks, activation.offset()).unwrap();
        let sent = end.channel.stats().total.sent;
        let sums = activation.evaluate(end, &masks, &c).unwrap();
        assert_eq!(end.channel.stats().total.sent - sent, activation.bytes(n) as u64, "{name}");
        (c, sums)
    });
    assert_eq!(ends.flights, 1 + activation.flights(), "{name}");
    for (i, &y) in values.iter().enumerate() {
        let c = a.0[i].wrapping_sub(activation.offset());
        let wanted = ideal(function, shift, exact, y, c);
        for ((a, b), wanted) in a.1.iter().zip(&b.1).zip(wanted) {
            let found = match a.get(i) {
                Some(share) => i64::from(share.wrapping_add(b[i]) as i32),
                None => 0,
            };
            assert_eq!(found, wanted, "{name}: y = {y}, shift {shift}, exact {exact}");
        }
    }
    activation.spec.bits()
}

#[test]
fn every_activation_is_ideal_at_every_edge() {
    for named in Named::IN_PIECES {
        let real = named.pieces(0.01).unwrap();
        for shift in [8, 10, 12, 13] {
            let g = Pieces::largest_scale(&real, shift as i32, 2f64.powi(30 - 2 * shift as i32));
            // Where a scale has no room the input has fewer bits, the accumulator the same.
            let shift = 2 * shift - g as u32;
            if shift > 16 {
                continue;
            }
            let function = Pieces::new("a", &real, g, 1 << (30 - shift)).unwrap();
            for exact in [false, true] {
                check(&format!("{named:?}"), &function, shift, exact, &edges(&function, shift));
            }
        }
    }
}

#[test]
fn values_without_bits_to_take_off_use_the_whole_range() {
    let function = Pieces::relu();
    let values = [0, 1, -1, (1 << 31) - 1, -(1 << 31), 1 << 30, -(1 << 30), 77, -78];
    check("relu", &function, 0, false, &values);
    check("square", &Pieces::square(0), 0, false, &[0, 1, -1, 181, -181, 20_000, -20_000]);
    check("square", &Pieces::square(4), 6, false, &[0, 63, 64, -1, -64, (1 << 21) - 1, -(1 << 21)]);
}

#[test]
fn truncation_is_exact_and_by_wraps_within_a_unit() {
    for shift in [1, 4, 7, 12, 20, 25] {
        let top = 1i64 << 30;
        let low = (1i64 << shift) - 1;
        let values = [0, 1, -1, low, -low, low + 1, -top, top - low - 2, 123_456_789, -123_456_789];
        let whole = Pieces {
            pieces: vec![blindvox_models::integers::pieces::Piece {
                lo: None,
                hi: None,
                a: 0,
                b: 1,
                c: 0,
                whole: true,
            }],
            shift: 0,
        };
        check("truncation", &whole, shift, true, &values);
        let (values, shares) = shared(&values);
        let n = values.len();
        let [(a, end), (b, _)] = both(|end| {
            let wraps = match end.party {
                Party::Client => Wraps::client(n, 0, &streams(0, 3)),
                Party::Server => {
                    let message = Wraps::deal(n, shift, 0, &streams(0, 3), &streams(1, 3));
                    Wraps::server(n, shift, 0, &streams(1, 3), &message).unwrap()
                }
            };
            wraps::truncate(end, &wraps, pick(end, &shares), shift).unwrap()
        });
        assert_eq!((end.flights, end.channel.stats().total.sent), (1, wraps::bytes(n) as u64));
        for (i, &x) in values.iter().enumerate() {
            let found = i64::from(a[i].wrapping_add(b[i]) as i32);
            assert_eq!(found, wraps::ideal(shares[0][i], shares[1][i], shift), "{x} by {shift} bits");
            assert!((0..2).contains(&(found - (x >> shift))));
        }
    }
}

/// Exhaustive where values are small: all y, many thresholds, many masks.
#[test]
fn comparisons_are_exact_around_all_thresholds() {
    let thresholds: Vec<u32> = [-300, -1, 0, 1, 255, 4096].map(|t: i32| t as u32).to_vec();
    let spec = MaskSpec::activation(0, thresholds.len(), Vec::new(), false);
    let values: Vec<i64> = (-310..310).chain(4000..4200).collect();
    let (values, shares) = shared(&values);
    let [(a, _), (b, _)] = both(|end| {
        let masks = masks(&spec, values.len(), end.party, 9);
        let c = open(end, pick(end, &shares), &masks, 0).unwrap();
        compare(end, &spec, &masks, &c, &thresholds).unwrap()
    });
    for (i, &y) in values.iter().enumerate() {
        for (t, &threshold) in thresholds.iter().enumerate() {
            let at = i / 512 * thresholds.len() + t;
            let bit = (a[at][i % 512 / 32] ^ b[at][i % 512 / 32]) >> (i % 32) & 1;
            assert_eq!(bit == 1, y < i64::from(threshold as i32), "{y} < {}", threshold as i32);
        }
    }
}

#[test]
fn the_lowest_of_the_largest_wins() {
    for classes in [2, 3, 5, 10] {
        let n = 600;
        let mut prng = Prng::from_seed_for_tests([8; 32]);
        let scores: Vec<i64> = (0..classes * n).map(|_| i64::from(prng.next_u32() % 7) - 3).collect();
        let client: Vec<u32> = scores.iter().map(|_| prng.next_u32()).collect();
        let server: Vec<u32> = scores.iter().zip(&client).map(|(&s, c)| (s as u32).wrapping_sub(*c)).collect();
        let shares = [client, server];
        let [(labels, _), (none, _)] = both(|end| {
            let differences = decide::differences(pick(end, &shares), classes);
            let spec = MaskSpec::sign();
            let first = masks(&spec, differences.len(), end.party, 1);
            let c = open(end, &differences, &first, 0).unwrap();
            let negative = compare(end, &spec, &first, &c, &[0]).unwrap();
            let all = MaskSpec::all(classes - 1);
            let second = (classes > 2).then(|| masks(&all, classes * n, end.party, 2));
            let largest = decide::largest(end, second.as_ref(), &negative, classes, n).unwrap();
            decide::tell(end, &largest, classes, n).unwrap()
        });
        assert!(none.is_none());
        for (e, label) in labels.unwrap().iter().enumerate() {
            let best = (0..classes).max_by_key(|&c| (scores[c * n + e], std::cmp::Reverse(c))).unwrap();
            assert_eq!(usize::from(*label), best);
        }
    }
}

fn tensor(name: &str, channels: usize, dims: [usize; 3], scale_bits: i32) -> TensorInfo {
    TensorInfo { name: name.into(), channels, dims, scale_bits, max_abs: 0, spare_bits: 0, bits: 19 }
}

/// A network of dense layers, an activation between them, weights up to `weight`.
fn network(sizes: &[usize], function: Pieces, seed: u8) -> Arc<Program> {
    let mut prng = Prng::from_seed_for_tests([seed; 32]);
    let mut tensors = vec![tensor("x", sizes[0], [1; 3], 12)];
    let mut steps = Vec::new();
    for (layer, pair) in sizes.windows(2).enumerate() {
        let mut draw = |most: u32| (prng.next_u32() % (2 * most + 1)) as i32 - most as i32;
        let (input, output) = (tensors.len() - 1, tensors.len());
        tensors.push(tensor("y", pair[1], [1; 3], 12));
        steps.push(Step::Linear(Linear {
            name: format!("fc{layer}"),
            kind: LinearKind::conv([1; 3]),
            inputs: vec![input],
            in_channels: pair[0],
            out_channels: pair[1],
            weights: (0..pair[0] * pair[1]).map(|_| draw(1500)).collect(),
            weight_bits: 16,
            bias: (0..pair[1]).map(|_| draw(1 << 22)).collect(),
            bias_map: None,
            shift: 12,
            output,
        }));
        if layer + 2 < sizes.len() {
            tensors.push(tensor("z", pair[1], [1; 3], 12));
            steps.push(Step::Activation {
                name: format!("act{layer}"),
                input: output,
                output: output + 1,
                pieces: function.clone(),
            });
        }
    }
    let logits = tensors.len() - 1;
    steps.push(Step::Argmax { name: "class".into(), input: logits, bits: 19 });
    Arc::new(Program { tensors, steps, input: 0, logits, classes: *sizes.last().unwrap() })
}

fn inputs(elements: usize, rows: usize, seed: u8) -> Vec<Vec<i32>> {
    let mut prng = Prng::from_seed_for_tests([seed; 32]);
    (0..rows).map(|_| (0..elements).map(|_| (prng.next_u32() % 16384) as i32 - 8192).collect()).collect()
}

fn named(function: Named) -> Pieces {
    Pieces::new("a", &function.pieces(0.01).unwrap(), 12, 1 << 18).unwrap()
}

/// Floor, as exact runs round; then the accumulators of the scores at 4 fraction bits.
fn exact_scores(program: &Program, row: &[i32]) -> Vec<i32> {
    let mut values = vec![row.to_vec()];
    for step in &program.steps {
        let x = &values[values.len() - 1];
        let Some(_) = step.output() else { break };
        let (sums, shift) = plain::before_shift(program, step, &[x]);
        let last = matches!(step, Step::Linear(l) if l.output == program.logits);
        let shift = if last { 20 } else { shift };
        values.push(sums.iter().map(|v| (v >> shift) as i32).collect());
    }
    values.pop().unwrap()
}

/// The published forms on every activation: within a unit of each truncation, bytes as the paper counts them.
#[test]
fn published_activations_are_right_at_every_edge() {
    for (named, bytes) in [
        (Named::Binary, 61.5),
        (Named::Relu, 77.5),
        (Named::Relu6, 139.0),
        (Named::SigmoidPlan2, 232.5),
        // Two products fewer than the paper counts.
        (Named::TanhPla, 435.5 - 32.0),
    ] {
        let real = named.pieces(0.01).unwrap();
        let g = Pieces::largest_scale(&real, 12, 16.0);
        let function = Pieces::new("a", &real, g, 1 << (g + 4)).unwrap();
        let published = Published::new(&function);
        let values: Vec<i64> = edges(&function, 0).into_iter().filter(|x| x.abs() < 1 << (g + 4)).collect();
        let (values, shares) = shared(&values);
        // A multiple of eight: no bits are left over.
        let n = values.len() / 8 * 8;
        let mut items = Vec::new();
        published.items(n, &mut items);
        let [(a, end), (b, _)] = both(|end| {
            let mut ready = items.iter().enumerate().map(|(at, item)| dealt(item, at, end.party)).collect();
            published.evaluate(end, &pick(end, &shares)[..n], &mut ready).unwrap()
        });
        for (i, &x) in values[..n].iter().enumerate() {
            let found = i64::from(a[i].wrapping_add(b[i]) as i32);
            let rounded = i64::from(function.shift > 0);
            assert!((0..=rounded).contains(&(found - function.apply(x))), "{named:?} at {x}: {found}");
        }
        // Without what converts a truncated sum, a bit each way.
        let sent = end.channel.stats().total.sent as usize - if function.shift > 0 { n / 8 } else { 0 };
        assert_eq!(2.0 * sent as f64 / n as f64, bytes, "{named:?}");
    }
}

fn dealt(item: &Item, at: usize, party: Party) -> Material {
    let seeds = [streams(0, 5), streams(1, 5)];
    match party {
        Party::Client => part_for_tests(at, item, &seeds[0], None),
        Party::Server => {
            let message = correction_for_tests(at, item, &seeds);
            part_for_tests(at, item, &streams(1, 5), Some(&message))
        }
    }
}

#[test]
fn the_papers_preset_gives_the_integers_labels() {
    let terms = Terms { reveal: Reveal::Labels, preset: Preset::Paper };
    let program = network(&[12, 40, 33, 3], named(Named::SigmoidLogsqnl), 9);
    let rows = inputs(12, 40, 6);
    let mut prng = Prng::from_seed_for_tests([1; 32]);
    let out = local(&program, terms, std::slice::from_ref(&rows), &mut prng).unwrap();
    let Some(Answer::Labels(labels)) = &out.client[0].answer else { panic!("labels") };
    let right = |row: &[i32]| plain::run(&program, row, blindvox_models::Rounding::Nearest).labels;
    assert!(rows.iter().zip(labels).filter(|(row, label)| right(row) == **label).count() >= 38);
}

/// What both parties send in fixed runs: changes where the protocol does, and only there.
#[test]
fn fixed_runs_send_the_same_bytes() {
    let golden = [
        (Terms::LABELS, "13ea787f429c7416 51452ab59fe3a6cc"),
        (Terms::SCORES, "de6e05b4f88335de cd74bc451da8aa25"),
        (Terms { reveal: Reveal::Labels, preset: Preset::Paper }, "ac39a0a12e43d01f ac5e97c8bd03016c"),
    ];
    let mut all = Vec::new();
    for (terms, wanted) in golden {
        let program = network(&[9, 20, 17, 3], named(Named::SigmoidPlan2), 3);
        let [(mut client, mut server), (client_dealer, dealer_client), (server_dealer, dealer_server)] =
            [(); 3].map(|()| local_pair());
        client.record_transcript();
        server.record_transcript();
        let digests = std::thread::scope(|scope| {
            scope.spawn(move || deal(dealer_client, dealer_server, &mut Prng::from_seed_for_tests([1; 32]), u64::MAX));
            let server = scope.spawn(|| {
                let mut session = Session::serve(&program, terms, server, server_dealer).unwrap();
                session.answer().unwrap().unwrap();
                let digest = session.transcript();
                assert!(session.answer().unwrap().is_none());
                digest
            });
            let mut session = Session::connect(client, client_dealer).unwrap();
            session.run(&inputs(9, 5, 4)).unwrap();
            let digest = session.transcript();
            session.finish().unwrap();
            [digest, server.join().unwrap()]
        });
        let hex = |d: [u8; 32]| d[..8].iter().map(|b| format!("{b:02x}")).collect::<String>();
        let found: String = digests.map(|d| hex(d.unwrap())).join(" ");
        all.push((found, wanted));
    }
    assert!(all.iter().all(|(found, wanted)| found == wanted), "{all:#?}");
}

/// Extrema of windows of four and six, then the largest of two channels at each place, of three rows.
#[test]
fn extrema_of_windows_are_exact() {
    for (window, dims, pooled) in [([1, 2, 2], [1, 4, 6], [1, 2, 3]), ([1, 2, 3], [1, 4, 6], [1, 2, 2])] {
        for max in [true, false] {
            let tensors = vec![tensor("x", 2, dims, 0), tensor("y", 2, pooled, 0)];
            let (name, input, output) = ("pool".to_owned(), 0, 1);
            let pool = match max {
                true => Step::MaxPool { name, input, output, window, bits: 19 },
                false => Step::MinPool { name, input, output, window },
            };
            let steps = vec![pool, Step::Argmax { name: "class".into(), input: 1, bits: 19 }];
            let program = Arc::new(Program { tensors, steps, input: 0, logits: 1, classes: 2 });
            let rows = inputs(48, 3, 5);
            let mut prng = Prng::from_seed_for_tests([1; 32]);
            let out = local(&program, Terms::LABELS, std::slice::from_ref(&rows), &mut prng).unwrap();
            let right = |row: &Vec<i32>| plain::run(&program, row, blindvox_models::Rounding::Nearest).labels;
            assert_eq!(out.client[0].answer, Some(Answer::Labels(rows.iter().map(right).collect())), "{window:?}");
        }
    }
}
