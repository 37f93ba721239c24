//! Half-gates on the GPU against the engine's on the CPU: the same tables and labels, byte for byte.
//!
//! Without a Vulkan adapter the test says so and passes, except under `CI`, where one must be there.

use blindvox_engine::aes::{Aes128, INSTANCES_PER_KEY, KeySequence};
use blindvox_engine::garble::{AndInputs, Row, evaluate_and, garble_and};
use blindvox_engine::{Device, Error, Prng};
use blindvox_tests::gpu_devices;

fn devices() -> Vec<Device> {
    [false, true].into_iter().flat_map(gpu_devices).collect()
}

/// Gate g of the test circuit: (w0 ^ w1) & (w2 ^ w3) ^ w4 into a slot, then that slot feeds the next.
const GATES: [([usize; 5], [bool; 2], usize); 4] = [
    ([1, 2, 3, 4, 5], [false, false], 6),
    ([6, 1, 2, 0, 0], [true, false], 7),
    ([7, 0, 6, 5, 3], [false, true], 1),
    ([1, 7, 1, 4, 6], [true, true], 5),
];
const SLOTS: usize = 8;

/// All labels and tables by the CPU; `delta` none to evaluate `tables`.
fn on_cpu(wires: &mut [Vec<u128>], keys: &[Aes128], delta: Option<u128>, tables: &mut Vec<Row>) {
    let instances = wires[0].len();
    let evaluated = std::mem::take(tables);
    let mut rest = &evaluated[..];
    for (chunk, first) in (0..instances).step_by(INSTANCES_PER_KEY).enumerate() {
        let n = INSTANCES_PER_KEY.min(instances - first);
        for (gate, (of, flips, out)) in GATES.into_iter().enumerate() {
            let mut labels = vec![0; n];
            let [a0, a1, b0, b1, sum] = of.map(|slot| &wires[slot][first..first + n]);
            let inputs = AndInputs { a: [a0, a1], b: [b0, b1], sum };
            let keys = keys[2 * (chunk * GATES.len() + gate)..].first_chunk().unwrap();
            if let Some(delta) = delta {
                let mut table = vec![Row::default(); 2 * n];
                garble_and(keys, delta, inputs, flips, &mut labels, &mut table);
                tables.extend(table);
            } else {
                let (table, tail) = rest.split_at(2 * n);
                evaluate_and(keys, inputs, table, &mut labels);
                rest = tail;
            }
            wires[out][first..first + n].copy_from_slice(&labels);
        }
    }
}

#[test]
fn labels_and_tables_agree() {
    for (gpu, instances) in devices().iter().flat_map(|d| [1, 255, 256, 1000].map(|n| (d, n))) {
        let mut prng = Prng::from_seed_for_tests([3; 32]);
        let delta = prng.fill::<u128>(1)[0] | 1;
        let mut wires: Vec<Vec<u128>> = (0..SLOTS).map(|_| prng.fill(instances)).collect();
        wires[0].fill(0);
        let chunks = instances.div_ceil(INSTANCES_PER_KEY);
        let mut keys = vec![Aes128::default(); 2 * GATES.len() * chunks];
        KeySequence::new(&[7; 32], "test").next_keys(&mut keys);

        let mut garbler = gpu.gate_batch(SLOTS, GATES.len(), instances).unwrap();
        garbler.set_keys(&keys).unwrap();
        let load = |batch: &mut blindvox_engine::wgpu::GateBatch, wires: &[Vec<u128>]| {
            wires.iter().enumerate().for_each(|(slot, labels)| batch.write(slot, labels).unwrap());
        };
        load(&mut garbler, &wires);
        for (gate, (of, flips, out)) in GATES.into_iter().enumerate() {
            garbler.garble_and(gate, delta, of, flips, out).unwrap();
        }
        garbler.xor([5, 6], 2).unwrap();

        // Every input wire's value is one in odd instances.
        let mut active = wires.clone();
        active[1..].iter_mut().for_each(|w| w.iter_mut().skip(1).step_by(2).for_each(|l| *l ^= delta));
        let mut tables = Vec::new();
        on_cpu(&mut wires, &keys, Some(delta), &mut tables);
        let sum: Vec<u128> = wires[5].iter().zip(&wires[6]).map(|(a, b)| a ^ b).collect();
        assert!(garbler.tables().unwrap() == tables, "tables of {instances} instances on {gpu:?}");
        for slot in [1, 5, 6, 7] {
            assert!(*garbler.read(slot).unwrap() == wires[slot], "slot {slot} of {instances} on {gpu:?}");
        }
        assert!(*garbler.read(2).unwrap() == sum);

        let mut evaluator = gpu.gate_batch(SLOTS, GATES.len(), instances).unwrap();
        evaluator.set_keys(&keys).unwrap();
        evaluator.set_tables(&tables).unwrap();
        load(&mut evaluator, &active);
        for (gate, (of, _, out)) in GATES.into_iter().enumerate() {
            evaluator.evaluate_and(gate, of, out).unwrap();
        }
        on_cpu(&mut active, &keys, None, &mut tables);
        for slot in [1, 5, 6, 7] {
            assert!(*evaluator.read(slot).unwrap() == active[slot], "active slot {slot} of {instances} on {gpu:?}");
            let valid = active[slot].iter().zip(&wires[slot]).all(|(a, z)| a == z || a ^ z == delta);
            assert!(valid, "an active label is one of the wire's two");
        }
    }
}

#[test]
fn wrong_slots_gates_and_lengths_are_errors() {
    assert!(matches!(Device::cpu().gate_batch(1, 1, 1), Err(Error::Device(_))));
    for gpu in devices() {
        let mut batch = gpu.gate_batch(2, 1, 10).unwrap();
        assert!(matches!(batch.write(2, &[0; 10]), Err(Error::Shape(_))));
        assert!(matches!(batch.write(0, &[0; 9]), Err(Error::Shape(_))));
        assert!(matches!(batch.set_keys(&[Aes128::default()]), Err(Error::Shape(_))));
        assert!(matches!(batch.set_tables(&[Row::default(); 19]), Err(Error::Shape(_))));
        assert!(matches!(batch.garble_and(1, 1, [0; 5], [false; 2], 1), Err(Error::Shape(_))));
        assert!(matches!(batch.evaluate_and(0, [0, 0, 0, 0, 2], 1), Err(Error::Shape(_))));
        assert!(matches!(batch.xor([0, 1], 2), Err(Error::Shape(_))));
        assert!(matches!(gpu.gate_batch(1 << 20, 1, 1 << 20), Err(Error::Device(_))));
    }
}
