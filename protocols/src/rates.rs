//! What operations take: the one table that planners, bounds, benches and `docs/performance.md` read.
//!
//! Nanoseconds of one thread with AVX-512, for both parties together; in planners only their ratios matter.

/// Work that is counted, and what a unit of it takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// As `docs/performance.md` names it.
    pub work: &'static str,
    /// Nanoseconds.
    pub ns: f64,
}

/// Sampling, inverse transform, packing; then unpacking, the other share, expansion, transform.
pub const INPUT: Rate =
    Rate { work: "encrypt, send, expand and transform a ciphertext (n = 4096, two primes)", ns: 55_000.0 };
/// Sampling, two forward and four inverse transforms, mask, switch, packing; then unpacking and decryption.
pub const REPLY: Rate = Rate { work: "re-randomise, switch, send and decrypt a reply", ns: 55_000.0 };
/// Four rows of a matrix product.
pub const PRODUCT: Rate = Rate { work: "ciphertext times weight polynomial, within a matrix product", ns: 820.0 };
/// Lift and transform.
pub const WEIGHT: Rate = Rate { work: "transform a weight polynomial", ns: 8_000.0 };
/// At a gigabyte a second.
pub const BYTE: Rate = Rate { work: "byte of a ciphertext or reply, sent", ns: 1.0 };
/// Two gates' hashes at each end.
pub const AND: Rate = Rate { work: "AND garbled and evaluated", ns: 4.0 };
/// Not hashed.
pub const LABEL: Rate = Rate { work: "label transfer, both ends", ns: 8.0 };
/// Extension, hash, correction.
pub const COT: Rate = Rate { work: "conversion or half of a selection (hashed transfer)", ns: 14.0 };
/// Half trees, ten entries of the table, hashes.
pub const SILENT: Rate = Rate { work: "silent transfer, hashed", ns: 22.0 };
/// Tables, ANDs, packing: what is left of a comparison's time once its transfers are taken away.
pub const WORD: Rate = Rate { work: "comparison by transfers, but for its transfers", ns: 10.0 };
/// 21 transforms of 0.8 ns a slot, and as much again for the rest.
pub const PAIR: Rate = Rate { work: "square pair", ns: 35.0 };
/// 30 transforms.
pub const TRIPLE: Rate = Rate { work: "Beaver triple", ns: 48.0 };

/// All of them, in the order of the document's table.
pub const ALL: [Rate; 12] = [INPUT, REPLY, PRODUCT, WEIGHT, BYTE, AND, LABEL, COT, SILENT, WORD, PAIR, TRIPLE];

#[cfg(test)]
mod tests {
    use super::*;

    /// The rows of the table that starts with this heading.
    fn rows<'a>(document: &'a str, heading: &str) -> Vec<&'a str> {
        let lines = document.lines().skip_while(|line| *line != heading).skip(2);
        lines.take_while(|line| line.starts_with('|')).collect()
    }

    #[test]
    fn the_document_has_this_table() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/performance.md");
        let document = std::fs::read_to_string(path).unwrap();
        let grouped = |ns: f64| {
            let ns = ns as u64;
            if ns < 1000 { ns.to_string() } else { format!("{} {:03}", ns / 1000, ns % 1000) }
        };
        let expected: Vec<String> =
            ALL.iter().map(|rate| format!("| {} | {} |", rate.work, grouped(rate.ns))).collect();
        assert_eq!(rows(&document, "| work | thread ns |"), expected);
    }
}
