//! The header of a NIfTI file, versions 1 and 2.
//!
//! Only what belongs to the grid is kept (voxel sides, both affines, version and byte order), so nothing that was said
//! about a scan's values (display range, statistics, description) can stand in the header of a map made from it.

use super::datatype::{Datatype, datatype};
use super::geometry::{Affine, Orientation};
use super::{MAX_VOXELS, Volume};
use crate::error::Error;

/// Bytes of the header of NIfTI-1.
pub(super) const SIZE_1: usize = 348;
/// Bytes of the header of NIfTI-2.
pub(super) const SIZE_2: usize = 540;
/// The furthest that extensions may push the voxels.
const MAX_OFFSET: f64 = (1 << 24) as f64;
/// `NIFTI_INTENT_LABEL`.
pub(super) const INTENT_LABEL: i16 = 1002;
/// How far the entries of both affines may differ, in millimetres.
const SAME_AFFINE: f64 = 1e-3;

/// What a file says about its grid, kept for the files written on the same grid.
#[derive(Clone, Debug, PartialEq)]
pub struct Header {
    /// NIfTI-2, whose sizes go beyond 32767.
    long: bool,
    big_endian: bool,
    /// `pixdim[0]` to `pixdim[3]`: the handedness of the quaternion, the voxels' sides.
    pixdim: [f64; 4],
    /// The unit of lengths.
    units: u8,
    qform_code: i16,
    sform_code: i16,
    /// b, c, d.
    quaternion: [f64; 3],
    offset: [f64; 3],
    srow: [[f64; 4]; 3],
    /// Said by the user where the file says nothing; never written.
    assumed: Option<Affine>,
}

/// What a header promises about the voxels.
pub(super) struct Promise {
    pub header: Header,
    pub dims: [usize; 3],
    /// Volumes, one after another.
    pub channels: usize,
    pub offset: usize,
    pub datatype: Datatype,
    pub slope: f64,
    pub intercept: f64,
    /// The voxels stand in a file of their own.
    pub pair: bool,
}

/// Bytes of a header as numbers.
struct Raw<'a> {
    bytes: &'a [u8],
    big_endian: bool,
}

impl Raw<'_> {
    fn word<const N: usize>(&self, at: usize) -> [u8; N] {
        let mut word: [u8; N] = self.bytes[at..at + N].try_into().expect("N bytes");
        if self.big_endian {
            word.reverse();
        }
        word
    }

    fn i16(&self, at: usize) -> i16 {
        i16::from_le_bytes(self.word(at))
    }

    fn i32(&self, at: usize) -> i32 {
        i32::from_le_bytes(self.word(at))
    }

    fn i64(&self, at: usize) -> i64 {
        i64::from_le_bytes(self.word(at))
    }

    fn f32(&self, at: usize) -> f64 {
        f64::from(f32::from_le_bytes(self.word(at)))
    }

    fn f64(&self, at: usize) -> f64 {
        f64::from_le_bytes(self.word(at))
    }
}

/// The fields that both versions have.
struct Fields {
    header: Header,
    dim: [i64; 8],
    datatype: i16,
    offset: f64,
    slope: f64,
    intercept: f64,
}

impl Fields {
    fn one(raw: &Raw<'_>) -> Self {
        let reals = |at: usize| move |n: usize| raw.f32(at + 4 * n);
        let header = Header {
            long: false,
            big_endian: raw.big_endian,
            pixdim: [0, 1, 2, 3].map(reals(76)),
            units: raw.bytes[123] & 7,
            qform_code: raw.i16(252),
            sform_code: raw.i16(254),
            quaternion: [0, 1, 2].map(reals(256)),
            offset: [0, 1, 2].map(reals(268)),
            srow: [0, 1, 2].map(|row| [0, 1, 2, 3].map(reals(280 + 16 * row))),
            assumed: None,
        };
        Self {
            header,
            dim: [0, 1, 2, 3, 4, 5, 6, 7].map(|n| i64::from(raw.i16(40 + 2 * n))),
            datatype: raw.i16(70),
            offset: raw.f32(108),
            slope: raw.f32(112),
            intercept: raw.f32(116),
        }
    }

    fn two(raw: &Raw<'_>) -> Self {
        let reals = |at: usize| move |n: usize| raw.f64(at + 8 * n);
        // Codes are small; one that isn't says no more than an unknown one.
        let code = |at: usize| i16::try_from(raw.i32(at)).unwrap_or(-1);
        let header = Header {
            long: true,
            big_endian: raw.big_endian,
            pixdim: [0, 1, 2, 3].map(reals(104)),
            units: (raw.i32(500) & 7) as u8,
            qform_code: code(344),
            sform_code: code(348),
            quaternion: [0, 1, 2].map(reals(352)),
            offset: [0, 1, 2].map(reals(376)),
            srow: [0, 1, 2].map(|row| [0, 1, 2, 3].map(reals(400 + 32 * row))),
            assumed: None,
        };
        Self {
            header,
            dim: [0, 1, 2, 3, 4, 5, 6, 7].map(|n| raw.i64(16 + 8 * n)),
            datatype: raw.i16(12),
            offset: raw.i64(168) as f64,
            slope: raw.f64(176),
            intercept: raw.f64(184),
        }
    }
}

/// The size that a header states, and whether it is big endian; none if it is not a NIfTI header's.
pub(super) fn size(head: &[u8]) -> Option<(usize, bool)> {
    let stated = i32::from_le_bytes(*head.first_chunk()?);
    [SIZE_1, SIZE_2].into_iter().find_map(|size| {
        let big_endian = stated.swap_bytes() == size as i32;
        (stated == size as i32 || big_endian).then_some((size, big_endian))
    })
}

/// Checks a whole header of at most so many volumes; `wrong` makes the error of a file.
pub(super) fn parse(
    bytes: &[u8],
    (big_endian, most): (bool, usize),
    wrong: &impl Fn(String) -> Error,
) -> Result<Promise, Error> {
    let raw = Raw { bytes, big_endian };
    let long = bytes.len() == SIZE_2;
    let magic = if long { &bytes[4..8] } else { &bytes[344..348] };
    let (single, double) = if long { (b"n+2\0", b"ni2\0") } else { (b"n+1\0", b"ni1\0") };
    let pair = magic == double;
    if magic != single && !pair {
        let found = String::from_utf8_lossy(&magic[..3]).into_owned();
        let analyze =
            if long { "" } else { "; a header of Analyze 7.5 states no orientation: convert it to NIfTI first" };
        let expected = String::from_utf8_lossy(&single[..3]).into_owned();
        return Err(wrong(format!("not a NIfTI file: found magic {found:?}, expected {expected:?}{analyze}")));
    }
    let fields = if long { Fields::two(&raw) } else { Fields::one(&raw) };
    let (dims, channels) = dims(&fields.dim, most, wrong)?;
    let code = fields.datatype;
    let datatype = datatype(code)
        .ok_or_else(|| wrong(format!("datatype: found code {code}, expected an integer or float type")))?;
    let least = if pair { 0 } else { bytes.len() };
    let offset = fields.offset;
    if !(offset == 0.0 || (least as f64..=MAX_OFFSET).contains(&offset)) {
        return Err(wrong(format!("vox_offset: found {offset}, expected {} to {MAX_OFFSET}", least + 4)));
    }
    let offset = if offset == 0.0 && !pair { bytes.len() + 4 } else { offset as usize };
    // A slope of 0 (or no number) means that values aren't scaled.
    let scaled = fields.slope.is_finite() && fields.slope != 0.0 && fields.intercept.is_finite();
    let (slope, intercept) = if scaled { (fields.slope, fields.intercept) } else { (1.0, 0.0) };
    Ok(Promise { header: fields.header, dims, channels, offset, datatype, slope, intercept, pair })
}

/// The sizes of a volume, and how many there are, at most so many, along the fourth axis or, as NIfTI has vectors, the
/// fifth. Sizes of axes beyond the third may be 0, which some programs write for "unused".
fn dims(dim: &[i64; 8], most: usize, wrong: &impl Fn(String) -> Error) -> Result<([usize; 3], usize), Error> {
    let count = dim[0];
    if !(1..=7).contains(&count) {
        return Err(wrong(format!("dim[0]: found {count}, expected 1 to 7")));
    }
    let (mut dims, mut channels) = ([1usize; 3], 1);
    for (axis, &size) in dim.iter().enumerate().take(count as usize + 1).skip(1) {
        if size < i64::from(axis <= 3) {
            return Err(wrong(format!("dim[{axis}]: found {size}, expected at least 1 (an empty volume)")));
        }
        let bound = if axis <= 5 && channels == 1 { most } else { 1 };
        if axis > 3 && size > bound as i64 {
            let expected =
                if bound == 1 { "1 (one volume, not a series)".to_owned() } else { format!("at most {bound}") };
            return Err(wrong(format!("dim[{axis}]: found {size}, expected {expected}")));
        }
        if axis <= 3 {
            dims[axis - 1] = usize::try_from(size).unwrap_or(usize::MAX);
        } else if size > 1 {
            channels = size as usize;
        }
    }
    let voxels = dims.iter().try_fold(channels, |n, &d| n.checked_mul(d)).unwrap_or(usize::MAX);
    if voxels > MAX_VOXELS {
        return Err(wrong(format!("dim: found {dims:?} voxels, expected at most {MAX_VOXELS} in all")));
    }
    Ok((dims, channels))
}

impl Header {
    /// A header for a grid of `dims` with cubic voxels of `spacing` millimetres whose axes run as RAS.
    pub fn new(dims: [usize; 3], spacing: f32) -> Self {
        Self::on(dims, &Orientation::RAS.affine([f64::from(spacing); 3]))
    }

    /// A header for a grid of `dims` at `affine`, kept as the `sform` in 32-bit floats.
    pub fn on(dims: [usize; 3], affine: &Affine) -> Self {
        let [i, j, k] = affine.spacing();
        Self {
            long: dims.iter().any(|&d| d > i16::MAX as usize),
            big_endian: false,
            pixdim: [1.0, i, j, k],
            units: 2,
            qform_code: 0,
            sform_code: 1,
            quaternion: [0.0; 3],
            offset: [0.0; 3],
            srow: affine.0.map(|row| row.map(|v| f64::from(v as f32))),
            assumed: None,
        }
    }

    /// A header that says nothing but the sides of voxels, which are 1 mm.
    pub fn unstated(dims: [usize; 3]) -> Self {
        Self { sform_code: 0, ..Self::new(dims, 1.0) }
    }

    /// Where the grid lies: the `sform` if its code is over 0, else the `qform`, else what the user assumed.
    pub fn affine(&self) -> Option<Affine> {
        self.sform().or_else(|| self.qform()).or(self.assumed)
    }

    /// The sides of the voxels as stored in `pixdim`, in millimetres.
    pub fn pixdim(&self) -> [f64; 3] {
        [1, 2, 3].map(|n| self.pixdim[n].abs() * self.unit())
    }

    /// Says which way the axes run, where the file doesn't.
    pub(crate) fn assume(&mut self, orientation: Orientation) {
        self.assumed = Some(orientation.affine(self.pixdim()));
    }

    /// In words, what makes the orientation doubtful.
    pub fn doubts(&self) -> Option<String> {
        let (sform, qform) = self.sform().zip(self.qform())?;
        let entries = |affine: Affine| affine.0.into_iter().flatten();
        let apart = entries(sform).zip(entries(qform)).map(|(s, q)| (s - q).abs()).fold(0.0, f64::max);
        let same = apart <= SAME_AFFINE;
        (!same).then(|| format!("sform and qform differ by {apart:.4}: the sform was taken"))
    }

    /// Millimetres of the unit of lengths; without one they are millimetres.
    fn unit(&self) -> f64 {
        match self.units {
            1 => 1e3,
            3 => 1e-3,
            _ => 1.0,
        }
    }

    fn sform(&self) -> Option<Affine> {
        (self.sform_code > 0).then(|| Affine(self.srow.map(|row| row.map(|v| v * self.unit()))))
    }

    fn qform(&self) -> Option<Affine> {
        if self.qform_code <= 0 {
            return None;
        }
        let [b, c, d] = self.quaternion;
        let squares = b * b + c * c + d * d;
        // Rounding may leave no room for the first part: half a turn, and the rest is made a unit.
        let (a, scale) = if squares < 1.0 { ((1.0 - squares).sqrt(), 1.0) } else { (0.0, squares.sqrt().recip()) };
        let [b, c, d] = [b * scale, c * scale, d * scale];
        let handed = if self.pixdim[0] < 0.0 { -1.0 } else { 1.0 };
        let [i, j, k] = self.pixdim();
        let side = [i, j, k * handed];
        let rotation = [
            [a * a + b * b - c * c - d * d, 2.0 * (b * c - a * d), 2.0 * (b * d + a * c)],
            [2.0 * (b * c + a * d), a * a + c * c - b * b - d * d, 2.0 * (c * d - a * b)],
            [2.0 * (b * d - a * c), 2.0 * (c * d + a * b), a * a + d * d - c * c - b * b],
        ];
        Some(Affine([0, 1, 2].map(|r| {
            let [x, y, z] = [0, 1, 2].map(|n| rotation[r][n] * side[n]);
            [x, y, z, self.offset[r] * self.unit()]
        })))
    }

    pub(super) fn big_endian(&self) -> bool {
        self.big_endian
    }

    /// The bytes before the voxels of a file of its own: the header and an empty extension mark.
    ///
    /// # Panics
    /// If a size is over 32767 and the header isn't one of NIfTI-2.
    pub(super) fn encode(&self, dims: [usize; 3], datatype: i16, bits: i16, intent: i16) -> Vec<u8> {
        let mut out = Writer { bytes: Vec::new(), big_endian: self.big_endian };
        if self.long {
            self.encode_2(&mut out, dims, datatype, bits, intent)
        } else {
            self.encode_1(&mut out, dims, datatype, bits, intent)
        }
        out.bytes
    }

    fn encode_1(&self, out: &mut Writer, dims: [usize; 3], datatype: i16, bits: i16, intent: i16) {
        out.bytes.resize(SIZE_1 + 4, 0);
        let mut real = |at: usize, v: f64| out.put(at, (v as f32).to_le_bytes());
        // Slope 1, intercept 0.
        for (at, value) in [(108, (SIZE_1 + 4) as f64), (112, 1.0)] {
            real(at, value);
        }
        (0..8).for_each(|n| real(76 + 4 * n, self.pixdim.get(n).copied().unwrap_or(1.0)));
        (0..3).for_each(|n| real(256 + 4 * n, self.quaternion[n]));
        (0..3).for_each(|n| real(268 + 4 * n, self.offset[n]));
        self.srow.iter().flatten().enumerate().for_each(|(n, &v)| real(280 + 4 * n, v));
        let mut short = |at: usize, v: i16| out.put(at, v.to_le_bytes());
        for (at, value) in [(68, intent), (70, datatype), (72, bits), (252, self.qform_code), (254, self.sform_code)] {
            short(at, value);
        }
        let size = |d: usize| i16::try_from(d).expect("NIfTI-1 sizes are at most 32767");
        for (n, value) in [3, size(dims[0]), size(dims[1]), size(dims[2]), 1, 1, 1, 1].into_iter().enumerate() {
            short(40 + 2 * n, value);
        }
        out.put(0, (SIZE_1 as i32).to_le_bytes());
        out.bytes[123] = self.units;
        out.bytes[344..348].copy_from_slice(b"n+1\0");
    }

    fn encode_2(&self, out: &mut Writer, dims: [usize; 3], datatype: i16, bits: i16, intent: i16) {
        out.bytes.resize(SIZE_2 + 4, 0);
        let mut real = |at: usize, v: f64| out.put(at, v.to_le_bytes());
        real(176, 1.0);
        (0..8).for_each(|n| real(104 + 8 * n, self.pixdim.get(n).copied().unwrap_or(1.0)));
        (0..3).for_each(|n| real(352 + 8 * n, self.quaternion[n]));
        (0..3).for_each(|n| real(376 + 8 * n, self.offset[n]));
        self.srow.iter().flatten().enumerate().for_each(|(n, &v)| real(400 + 8 * n, v));
        let sizes = [3, dims[0], dims[1], dims[2], 1, 1, 1, 1];
        sizes.into_iter().enumerate().for_each(|(n, v)| out.put(16 + 8 * n, (v as i64).to_le_bytes()));
        out.put(168, ((SIZE_2 + 4) as i64).to_le_bytes());
        let codes = [(0, SIZE_2 as i32), (344, self.qform_code.into()), (348, self.sform_code.into())];
        for (at, value) in codes.into_iter().chain([(500, self.units.into()), (504, intent.into())]) {
            out.put(at, value.to_le_bytes());
        }
        out.put(12, datatype.to_le_bytes());
        out.put(14, bits.to_le_bytes());
        out.bytes[4..12].copy_from_slice(b"n+2\0\r\n\x1a\n");
    }
}

/// Bytes of a header in the making.
struct Writer {
    bytes: Vec<u8>,
    big_endian: bool,
}

impl Writer {
    fn put<const N: usize>(&mut self, at: usize, mut word: [u8; N]) {
        if self.big_endian {
            word.reverse();
        }
        self.bytes[at..at + N].copy_from_slice(&word);
    }
}

impl Volume {
    /// The sides of the voxels in millimetres, by the affine where there is one.
    pub fn spacing(&self) -> [f64; 3] {
        self.header.affine().map_or(self.header.pixdim(), |affine| affine.spacing())
    }
}
