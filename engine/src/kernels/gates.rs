//! The kernels of gates for the list: a circuit of chained ANDs over the case's instances.

use super::{Call, Case, Fill, Left};
use crate::backend::RoomSize;
use crate::error::Result;
use crate::garble::{GateHash, GateKeys, Row};
use crate::gate_room::GateRoom;
use crate::prng::Prng;

/// Operands, negations and output of an AND.
pub(super) type Gate = ([usize; 5], [bool; 2], usize);

/// Two inputs that no gate changes: what is timed.
pub(super) const FRESH: &[Gate] = &[([1, 0, 2, 0, 0], [false, false], 3)];

/// (w0 ^ w1) & (w2 ^ w3) ^ w4 into a slot, which the next one reads.
pub(super) const CHAINED: &[Gate] = &[
    ([1, 2, 3, 4, 5], [false, false], 6),
    ([6, 1, 2, 0, 0], [true, false], 7),
    ([7, 0, 6, 5, 3], [false, true], 1),
    ([1, 7, 1, 4, 6], [true, true], 5),
];
const SLOTS: usize = 8;

/// The case's room with keys and labels in every slot, slot 0 all zero.
fn room(case: &Case<'_>, hash: GateHash) -> Result<(GateRoom, RoomSize, Prng)> {
    let (size, mut prng) = (RoomSize { slots: SLOTS, ..case.room }, case.prng(50));
    let mut room = GateRoom::new(case.device, hash, size)?;
    let mut keys = GateKeys::new(hash, &[51; 32], "kernels");
    keys.next_gates(size.gates * size.chunks());
    room.set_keys(&keys)?;
    for slot in 1..SLOTS {
        room.write(slot, &labels(case.fill, &mut prng, size.instances))?;
    }
    Ok((room, size, prng))
}

fn labels(fill: Fill, prng: &mut Prng, count: usize) -> Vec<u128> {
    let mut labels: Vec<u128> = prng.fill(count);
    match fill {
        Fill::Random | Fill::Uniform => {}
        Fill::Zero => labels.fill(0),
        Fill::Largest => labels.fill(u128::MAX),
        Fill::Ends => labels.iter_mut().for_each(|l| *l = [0, u128::MAX, 1, 1 << 127][*l as usize % 4]),
    }
    labels
}

/// Labels as words, of all slots.
fn all(room: &mut GateRoom) -> Result<Vec<u64>> {
    let mut words = Vec::new();
    for slot in 0..SLOTS {
        words.extend_from_slice(bytemuck::cast_slice(&room.read(slot)?[..]));
    }
    Ok(words)
}

fn rows(tables: &[Row]) -> impl Iterator<Item = u64> {
    tables.as_flattened().as_chunks().0.iter().map(|word| u64::from_le_bytes(*word))
}

pub(super) fn xor(case: &Case<'_>) -> Result<Call> {
    let (mut room, _, _) = room(case, GateHash::Aes)?;
    Ok(Box::new(move || {
        room.xor([1, 2], 3)?;
        room.xor([3, 0], 4)?;
        room.xor([4, 4], 5)?;
        room.xor([3, 6], 6)?;
        room.start()?;
        Ok(Box::new(move || all(&mut room)) as Left)
    }))
}

/// Gates in turn.
pub(super) fn garble_and(case: &Case<'_>, hash: GateHash, gates: &'static [Gate]) -> Result<Call> {
    let (mut room, size, mut prng) = room(case, hash)?;
    let delta = prng.fill::<u128>(1)[0] | 1;
    Ok(Box::new(move || {
        for gate in 0..size.gates {
            let (of, flips, out) = gates[gate % gates.len()];
            room.garble_and(gate, delta, of, flips, out)?;
        }
        room.start()?;
        Ok(Box::new(move || {
            let mut words = all(&mut room)?;
            words.extend(rows(&room.tables()?));
            Ok(words)
        }) as Left)
    }))
}

/// The same, of any labels and tables.
pub(super) fn evaluate_and(case: &Case<'_>, hash: GateHash, gates: &'static [Gate]) -> Result<Call> {
    let (mut room, size, mut prng) = room(case, hash)?;
    let tables: Vec<Row> = prng.fill(2 * size.gates * size.instances);
    room.set_tables(&tables)?;
    Ok(Box::new(move || {
        for gate in 0..size.gates {
            let (of, _, out) = gates[gate % gates.len()];
            room.evaluate_and(gate, of, out)?;
        }
        room.start()?;
        Ok(Box::new(move || all(&mut room)) as Left)
    }))
}

/// Of labels and of a gate's output.
pub(super) fn colours(case: &Case<'_>) -> Result<Call> {
    let (mut room, size, _) = room(case, GateHash::Aes)?;
    Ok(Box::new(move || {
        room.xor([1, 2], 3)?;
        let pending = room.begin_colours(&[3, 0, 7, 3])?;
        Ok(Box::new(move || {
            let planes = pending.finish()?;
            let instances = |i: usize| (size.instances.saturating_sub(i % size.chunks() * 256)).min(256);
            // Bits beyond the last instance have no meaning.
            let bit = |i: usize, plane: &[u128; 2]| {
                let plane = *plane;
                (0..instances(i)).map(move |j| (plane[j / 128] >> (j % 128)) as u64 & 1).collect::<Vec<_>>()
            };
            Ok(planes.iter().enumerate().flat_map(|(i, plane)| bit(i, plane)).collect())
        }) as Left)
    }))
}
