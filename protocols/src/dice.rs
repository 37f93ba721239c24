//! The Dice coefficient 2|A ∩ B| / (|A| + |B|) of two label maps, label by label.

/// Dice of the labels 1 to `classes - 1` (0 is the background); 1 where neither map has the label.
///
/// # Panics
/// If the maps differ in length.
pub fn dice(a: &[u8], b: &[u8], classes: usize) -> Vec<f64> {
    assert_eq!(a.len(), b.len(), "label maps on one grid");
    let mut both = [0u64; 256];
    let mut each = [0u64; 256];
    for (&a, &b) in a.iter().zip(b) {
        each[usize::from(a)] += 1;
        each[usize::from(b)] += 1;
        both[usize::from(a)] += u64::from(a == b);
    }
    let one = |c: usize| if each[c] == 0 { 1.0 } else { 2.0 * both[c] as f64 / each[c] as f64 };
    (1..classes).map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::dice;

    #[test]
    fn counts_overlap() {
        assert_eq!(dice(&[0, 1, 1, 2, 2, 2], &[0, 1, 2, 2, 2, 0], 4), [2.0 / 3.0, 4.0 / 6.0, 1.0]);
        assert_eq!(dice(&[1, 1], &[0, 0], 2), [0.0]);
    }
}
