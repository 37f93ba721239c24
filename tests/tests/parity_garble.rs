//! Rooms of gates on every device against the engine's half-gates: the same tables and labels, byte for byte.
//!
//! Without a Vulkan adapter the test says so and passes, except under `CI`, where one must be there.

use blindvox_engine::RoomSize;
use blindvox_engine::aes::INSTANCES_PER_KEY;
use blindvox_engine::garble::{AndInputs, Garbled, GateHash, GateKeys, Row, colours};
use blindvox_engine::{Device, Error, GateRoom, Prng};
use blindvox_tests::gpu_devices;

fn devices() -> Vec<Device> {
    let gpus = [false, true].into_iter().flat_map(gpu_devices);
    [Device::cpu()].into_iter().chain(gpus).collect()
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
fn on_cpu(wires: &mut [Vec<u128>], keys: &GateKeys, delta: Option<u128>, tables: &mut Vec<Row>) {
    let instances = wires[0].len();
    let evaluated = std::mem::take(tables);
    let mut rest = &evaluated[..];
    for (chunk, first) in (0..instances).step_by(INSTANCES_PER_KEY).enumerate() {
        let n = INSTANCES_PER_KEY.min(instances - first);
        for (gate, (of, flips, out)) in GATES.into_iter().enumerate() {
            let mut labels = vec![0; n];
            let [a0, a1, b0, b1, sum] = of.map(|slot| &wires[slot][first..first + n]);
            let inputs = AndInputs { a: [a0, a1], b: [b0, b1], sum };
            let gate = chunk * GATES.len() + gate;
            if let Some(delta) = delta {
                let mut table = vec![Row::default(); 2 * n];
                keys.garble_and(gate, delta, inputs, flips, Garbled { labels: &mut labels, table: &mut table });
                tables.extend(table);
            } else {
                let (table, tail) = rest.split_at(2 * n);
                keys.evaluate_and(gate, inputs, table, &[], &mut labels);
                rest = tail;
            }
            wires[out][first..first + n].copy_from_slice(&labels);
        }
    }
}

fn agree(device: &Device, hash: GateHash, instances: usize) {
    let mut prng = Prng::from_seed_for_tests([3; 32]);
    let delta = prng.fill::<u128>(1)[0] | 1;
    let mut wires: Vec<Vec<u128>> = (0..SLOTS).map(|_| prng.fill(instances)).collect();
    wires[0].fill(0);
    let size = RoomSize { slots: SLOTS, gates: GATES.len(), instances };
    let mut keys = GateKeys::new(hash, &[7; 32], "test");
    // Not the first keys: numbers count on.
    keys.next_gates(5);
    keys.next_gates(GATES.len() * size.chunks());

    let mut garbler = GateRoom::new(device, hash, size).unwrap();
    garbler.set_keys(&keys).unwrap();
    let load = |room: &mut GateRoom, wires: &[Vec<u128>]| {
        wires.iter().enumerate().for_each(|(slot, labels)| room.write(slot, labels).unwrap());
    };
    load(&mut garbler, &wires);
    for (gate, (of, flips, out)) in GATES.into_iter().enumerate() {
        garbler.garble_and(gate, delta, of, flips, out).unwrap();
    }
    garbler.xor([5, 6], 2).unwrap();
    let pending = (garbler.begin_tables().unwrap(), garbler.begin_colours(&[7, 2]).unwrap());

    // Every input wire's value is one in odd instances.
    let mut active = wires.clone();
    active[1..].iter_mut().for_each(|w| w.iter_mut().skip(1).step_by(2).for_each(|l| *l ^= delta));
    let mut tables = Vec::new();
    on_cpu(&mut wires, &keys, Some(delta), &mut tables);
    let sum: Vec<u128> = wires[5].iter().zip(&wires[6]).map(|(a, b)| a ^ b).collect();
    assert!(garbler.tables().unwrap() == tables, "{hash}: tables of {instances} instances on {device:?}");
    assert!(pending.0.finish().unwrap() == tables);
    for slot in [1, 5, 6, 7] {
        assert!(*garbler.read(slot).unwrap() == wires[slot], "{hash}: slot {slot} of {instances} on {device:?}");
    }
    assert!(*garbler.read(2).unwrap() == sum);
    let planes = pending.1.finish().unwrap();
    for (planes, labels) in planes.chunks(size.chunks()).zip([&wires[7], &sum]) {
        for (words, labels) in planes.as_flattened().iter().zip(labels.chunks(128)) {
            let mask = u128::MAX >> (128 - labels.len());
            assert_eq!(words & mask, colours(labels));
        }
    }

    let mut evaluator = GateRoom::new(device, hash, size).unwrap();
    evaluator.set_keys(&keys).unwrap();
    evaluator.set_tables(&tables).unwrap();
    load(&mut evaluator, &active);
    for (gate, (of, _, out)) in GATES.into_iter().enumerate() {
        evaluator.evaluate_and(gate, of, out).unwrap();
    }
    on_cpu(&mut active, &keys, None, &mut tables);
    for slot in [1, 5, 6, 7] {
        assert!(*evaluator.read(slot).unwrap() == active[slot], "{hash}: active {slot} of {instances} on {device:?}");
        let valid = active[slot].iter().zip(&wires[slot]).all(|(a, z)| a == z || a ^ z == delta);
        assert!(valid, "an active label is one of the wire's two");
    }
}

#[test]
fn labels_and_tables_agree() {
    for device in devices() {
        for hash in GateHash::ALL {
            [1, 255, 256, 1000].into_iter().for_each(|instances| agree(&device, hash, instances));
        }
    }
}

#[test]
fn wrong_slots_gates_and_lengths_are_errors() {
    let size = |slots, gates, instances| RoomSize { slots, gates, instances };
    for hash in GateHash::ALL {
        let other = GateHash::ALL.into_iter().find(|&h| h != hash).unwrap();
        let [mut none, mut wrong] = [GateKeys::new(hash, &[1; 32], "test"), GateKeys::new(other, &[1; 32], "test")];
        none.next_gates(0);
        wrong.next_gates(1);
        for device in devices() {
            let mut room = GateRoom::new(&device, hash, size(2, 1, 10)).unwrap();
            assert!(matches!(room.write(2, &[0; 10]), Err(Error::Shape(_))));
            assert!(matches!(room.write(0, &[0; 9]), Err(Error::Shape(_))));
            assert!(matches!(room.write_slots(0, &[0; 255]), Err(Error::Shape(_))));
            assert!(matches!(room.write_slots(1, &[0; 512]), Err(Error::Shape(_))));
            assert!(matches!(room.set_keys(&none), Err(Error::Shape(_))));
            assert!(matches!(room.set_keys(&wrong), Err(Error::Shape(_))));
            assert!(matches!(room.set_tables(&[Row::default(); 19]), Err(Error::Shape(_))));
            assert!(matches!(room.garble_and(1, 1, [0; 5], [false; 2], 1), Err(Error::Shape(_))));
            assert!(matches!(room.evaluate_and(0, [0, 0, 0, 0, 2], 1), Err(Error::Shape(_))));
            assert!(matches!(room.xor([0, 1], 2), Err(Error::Shape(_))));
            assert!(matches!(room.begin_colours(&[2]), Err(Error::Shape(_))));
            assert!(matches!(GateRoom::new(&device, hash, size(1 << 20, 1, 1 << 30)), Err(Error::TooLarge { .. })));
        }
    }
}
