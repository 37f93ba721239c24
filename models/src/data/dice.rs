//! How a label map fits the truth: the Dice coefficient 2|A ∩ B| / (|A| + |B|), label by label or of all labels
//! together.

use serde::Serialize;

/// How a label map fits the truth.
#[derive(Clone, Debug, PartialEq)]
pub enum Overlap {
    /// Dice of the labels from 1 on.
    Classes(Vec<f64>),
    /// The truth has one value over all labels.
    Union(Union),
}

/// All labels together against a truth of one value.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Union {
    /// The value that the truth has.
    pub value: u8,
    /// The share of what is labelled that lies inside the truth; 1 where nothing is labelled.
    pub inside: f64,
    /// Dice of both as sets.
    pub dice: f64,
}

/// Compares a label map with the truth on the same grid: label by label, or all labels together where the truth has one
/// value and the model several labels, or none of that value.
///
/// # Panics
/// If the maps differ in length.
pub fn overlap(labels: &[u8], truth: &[u8], classes: usize) -> Overlap {
    match values(truth)[..] {
        [value] if classes > 2 || usize::from(value) >= classes => {
            assert_eq!(labels.len(), truth.len(), "label maps on one grid");
            let count =
                |which: &dyn Fn(&u8, &u8) -> bool| labels.iter().zip(truth).filter(|(l, t)| which(l, t)).count() as f64;
            let (both, all) = (count(&|l, t| *l != 0 && *t != 0), count(&|l, _| *l != 0));
            let inside = if all == 0.0 { 1.0 } else { both / all };
            Overlap::Union(Union { value, inside, dice: 2.0 * both / (all + count(&|_, t| *t != 0)) })
        }
        _ => Overlap::Classes(dice(labels, truth, classes)),
    }
}

/// Values of the truth that are no label of the model, where it is compared label by label.
pub fn unknown(truth: &[u8], classes: usize) -> Vec<u8> {
    let values = values(truth);
    if values.len() == 1 && (classes > 2 || usize::from(values[0]) >= classes) {
        return Vec::new();
    }
    values.into_iter().filter(|&v| usize::from(v) >= classes).collect()
}

/// The values of a map, without the background.
fn values(map: &[u8]) -> Vec<u8> {
    let mut present = [false; 256];
    map.iter().for_each(|&v| present[usize::from(v)] = true);
    (1..=255).filter(|&v| present[usize::from(v)]).collect()
}

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
    use super::*;

    #[test]
    fn counts_overlap() {
        assert_eq!(dice(&[0, 1, 1, 2, 2, 2], &[0, 1, 2, 2, 2, 0], 4), [2.0 / 3.0, 4.0 / 6.0, 1.0]);
        assert_eq!(dice(&[1, 1], &[0, 0], 2), [0.0]);
    }

    #[test]
    fn one_true_value_is_compared_with_all_labels() {
        let (labels, truth) = ([0, 1, 2, 2, 1, 0], [0, 9, 9, 9, 0, 9]);
        let all = Overlap::Union(Union { value: 9, inside: 0.75, dice: 0.75 });
        assert_eq!(overlap(&labels, &truth, 3), all);
        assert!(unknown(&truth, 3).is_empty());
        assert_eq!(overlap(&[0; 6], &truth, 3), Overlap::Union(Union { value: 9, inside: 1.0, dice: 0.0 }));
        // With two values, or with one label, it is the labels that count.
        assert_eq!(overlap(&labels, &[0, 1, 2, 9, 1, 7], 3), Overlap::Classes(vec![1.0, 2.0 / 3.0]));
        assert_eq!(unknown(&[0, 1, 2, 9, 1, 7], 3), [7, 9]);
        assert_eq!(overlap(&[0, 1], &[0, 1], 2), Overlap::Classes(vec![1.0]));
        assert_eq!(overlap(&[0, 1], &[0, 255], 2), Overlap::Union(Union { value: 255, inside: 1.0, dice: 1.0 }));
    }
}
