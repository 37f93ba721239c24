//! Garbled circuits on a GPU against the CPU, party by party: the same bytes sent, the same shares, and right outputs.
//!
//! Without a Vulkan adapter the tests say so and pass, except under `CI`, where one must be there.

use blindvox_engine::aes::Body;
use blindvox_engine::garble::GateHash;
use blindvox_engine::{Device, DeviceKind, Prng};
use blindvox_net::channel::{Channel, Party, local_pair};
use blindvox_protocols::gc::{Circuit, Garbling, GatePlace, Half, Planes, Schedule, arithmetic, modular};
use blindvox_protocols::infer::Options;
use blindvox_tests::gpu_devices;

/// What one party sent and what it has.
#[derive(PartialEq)]
struct Part {
    transcript: [u8; 32],
    shares: Vec<Planes>,
}

fn draw(prng: &mut Prng, bits: usize, instances: usize) -> Planes {
    let columns: Vec<Vec<u32>> = (0..bits).map(|_| prng.fill(instances)).collect();
    Planes::from_columns(&columns.iter().map(Vec::as_slice).collect::<Vec<_>>(), 1)
}

/// The inputs of party `which` (0 garbles) of every circuit.
fn inputs(circuits: &[(Circuit, usize)], which: usize) -> Vec<Planes> {
    let mut prng = Prng::from_seed_for_tests([which as u8 + 9; 32]);
    let bits = |circuit: &Circuit| [circuit.garbler_inputs(), circuit.evaluator_inputs()][which];
    circuits.iter().map(|(circuit, n)| draw(&mut prng, bits(circuit), *n)).collect()
}

fn part(party: Party, mut channel: Channel, how: Garbling, circuits: &[(Circuit, usize)]) -> Part {
    channel.record_transcript();
    let mut prng = Prng::from_seed_for_tests([party as u8 + 1; 32]);
    let mut half = Half::setup_with(party, &mut channel, &mut prng, how).unwrap();
    let inputs = inputs(circuits, usize::from(party == Party::Client));
    let mut run = |circuit, inputs| half.run(&mut channel, &Schedule::new(circuit), inputs).unwrap();
    let shares = circuits.iter().zip(&inputs).map(|((circuit, _), inputs)| run(circuit, inputs)).collect();
    Part { transcript: channel.transcript_digest().unwrap(), shares }
}

/// Both parties, evaluator first.
fn run(circuits: &[(Circuit, usize)], how: [Garbling; 2]) -> [Part; 2] {
    let (client, server) = local_pair();
    let [evaluator, garbler] = how;
    std::thread::scope(|scope| {
        let garbler = scope.spawn(|| part(Party::Server, server, garbler, circuits));
        [part(Party::Client, client, evaluator, circuits), garbler.join().unwrap()]
    })
}

/// The shares open to what the circuits compute, at some instances.
fn check_outputs(circuits: &[(Circuit, usize)], parts: &[Part; 2]) {
    let [g, e] = [inputs(circuits, 0), inputs(circuits, 1)];
    let bytes = |planes: &Planes| (0..planes.bits()).map(|b| planes.to_bytes(b)).collect::<Vec<_>>();
    for (c, (circuit, n)) in circuits.iter().enumerate() {
        let [g, e, x, y] = [&g[c], &e[c], &parts[0].shares[c], &parts[1].shares[c]].map(bytes);
        let at = |rows: &[Vec<u8>], i: usize| rows.iter().map(|r| r[i] == 1).collect::<Vec<_>>();
        for i in (0..*n).step_by(n / 50 + 1) {
            let opened: Vec<bool> = at(&x, i).iter().zip(at(&y, i)).map(|(x, y)| x ^ y).collect();
            assert_eq!(opened, circuit.plain(&at(&g, i), &at(&e, i)), "circuit {c}, instance {i}");
        }
    }
}

fn on_device(hash: GateHash, device: &Device) -> Garbling {
    let how = Garbling::new(hash, GatePlace::Device, device);
    assert!(how.device.is_some());
    how
}

fn on_cpu(hash: GateHash) -> Garbling {
    Garbling { hash, device: None }
}

/// Circuits of every kind, with instances from none to several chunks.
fn circuits() -> Vec<(Circuit, usize)> {
    vec![
        (arithmetic::relu(9), 256),
        (arithmetic::max(3, 6), 300),
        (arithmetic::argmax(4, 8), 5),
        (arithmetic::sign(7), 0),
        (modular::relu(65537), 700),
        (modular::max(3, 12289), 20),
        (modular::argmax(3, 40961), 257),
    ]
}

#[test]
fn transcripts_and_shares_do_not_depend_on_where_gates_are_computed() {
    let circuits = circuits();
    for hash in GateHash::ALL {
        let expected = run(&circuits, [on_cpu(hash), on_cpu(hash)]);
        check_outputs(&circuits, &expected);
        for device in gpu_devices(false).iter().take(1).chain(gpu_devices(true).iter().take(1)) {
            let gpu = || on_device(hash, device);
            for how in [[gpu(), gpu()], [on_cpu(hash), gpu()], [gpu(), on_cpu(hash)]] {
                let named = format!("{} and {}", how[0], how[1]);
                assert!(run(&circuits, how) == expected, "{named}");
            }
        }
    }
}

/// More instances than two batches hold, and a last batch and chunk that are not full.
#[test]
fn many_batches_stream() {
    let circuits = [(arithmetic::sign(8), 2 * 128 * 256 + 1000)];
    let hash = GateHash::ChaCha12;
    let expected = run(&circuits, [on_cpu(hash), on_cpu(hash)]);
    check_outputs(&circuits, &expected);
    for device in gpu_devices(false).iter().take(1) {
        assert!(run(&circuits, [on_device(hash, device), on_device(hash, device)]) == expected);
    }
}

#[test]
fn gates_are_left_to_a_cpu_with_aes_instructions_and_by_software_devices_unless_asked() {
    for device in gpu_devices(false) {
        let mut options = Options::new(device.clone());
        let is_gpu = device.kind() == DeviceKind::Gpu;
        let by_instructions = Body::best() != Body::Portable;
        let aes_fits = is_gpu && !by_instructions && device.hashes_in_constant_time(GateHash::Aes);
        assert_eq!(options.garbling().device.is_some(), aes_fits);
        assert!(device.hashes_in_constant_time(GateHash::ChaCha12));
        assert_eq!(Garbling::new(GateHash::ChaCha12, GatePlace::Auto, &device).device.is_some(), is_gpu);
        options.gate_place = GatePlace::Device;
        assert!(options.garbling().device.is_some());
        options.gate_place = GatePlace::Cpu;
        assert!(options.garbling().device.is_none());
        assert_eq!(options.garbling().to_string(), "AES-128 on the CPU");
    }
}
