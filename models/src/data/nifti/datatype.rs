//! The types of stored voxels.

/// A voxel type: its size and how its little-endian bytes become a number.
pub(super) struct Datatype {
    pub size: usize,
    pub read: fn(&[u8]) -> f64,
}

/// The first `N` bytes as an array.
fn bytes<const N: usize>(b: &[u8]) -> [u8; N] {
    b[..N].try_into().expect("N bytes")
}

/// The type of a code; none for colours, complex numbers and unknown ones.
pub(super) fn datatype(code: i16) -> Option<Datatype> {
    let (size, read): (usize, fn(&[u8]) -> f64) = match code {
        2 => (1, |b| f64::from(b[0])),
        256 => (1, |b| f64::from(b[0] as i8)),
        4 => (2, |b| f64::from(i16::from_le_bytes(bytes(b)))),
        512 => (2, |b| f64::from(u16::from_le_bytes(bytes(b)))),
        8 => (4, |b| f64::from(i32::from_le_bytes(bytes(b)))),
        768 => (4, |b| f64::from(u32::from_le_bytes(bytes(b)))),
        1024 => (8, |b| i64::from_le_bytes(bytes(b)) as f64),
        1280 => (8, |b| u64::from_le_bytes(bytes(b)) as f64),
        16 => (4, |b| f64::from(f32::from_le_bytes(bytes(b)))),
        64 => (8, |b| f64::from_le_bytes(bytes(b))),
        _ => return None,
    };
    Some(Datatype { size, read })
}
