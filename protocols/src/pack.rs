//! Residues on the wire, `bits` bits each without gaps: [`blindvox_engine::rlwe::wire`] for one row.

pub use blindvox_engine::rlwe::wire::packed_len;

use blindvox_engine::rlwe::wire;

/// Packs values below 2^`bits`, 1 <= `bits` <= 64.
pub fn pack(values: &[u64], bits: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    wire::pack(values, bits, &mut bytes);
    bytes
}

/// The `count` values behind `bytes`, each below 2^`bits`.
///
/// # Panics
/// For another length than [`packed_len`]: the receiver checks it first.
pub fn unpack(bytes: &[u8], bits: u32, count: usize) -> Vec<u64> {
    wire::unpack(bytes, bits, count).expect("the receiver checked the length")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips() {
        let values: Vec<u64> = (0..1000).map(|i| i * 1_000_003).collect();
        assert_eq!(unpack(&pack(&values, 50), 50, values.len()), values);
    }
}
