//! Sizes in bytes as people write them.

use std::str::FromStr;

/// `12GiB`, `512MiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size(pub u64);

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let parts =
            [("GiB", 30), ("MiB", 20)].into_iter().find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, shift)));
        let bytes = parts.and_then(|(number, shift)| {
            let number: u64 = number.trim().parse().ok()?;
            number.checked_shl(shift).filter(|bytes| bytes >> shift == number && *bytes > 0)
        });
        bytes.map(Self).ok_or_else(|| format!("found {text:?}, expected a size as 12GiB or 512MiB"))
    }
}
