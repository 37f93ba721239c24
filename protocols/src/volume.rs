//! Volumes in NIfTI-1 files (`.nii`, `.nii.gz`), read with bounds and written atomically.
//!
//! A file is a header of 348 bytes, padding or extensions up to `vox_offset`, and the voxels with `i` fastest. In
//! memory the voxels stand with `k` fastest, which is the order `[D, H, W]` = `[i, j, k]` of the networks. Format:
//! <https://nifti.nimh.nih.gov/nifti-1>.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;

use crate::atomic::{self, Staged};
use crate::error::{Error, Result};

/// The most voxels a volume may have.
pub const MAX_VOXELS: usize = 1 << 28;

const HEADER: usize = 348;
/// Where the voxels of a written file begin: the header and an empty extension mark.
const WRITTEN_OFFSET: usize = HEADER + 4;
/// The furthest that extensions may push the voxels.
const MAX_OFFSET: usize = 1 << 24;

/// The header of a NIfTI-1 file as it was read: the grid's orientation and everything else that is kept.
#[derive(Clone)]
pub struct Header {
    bytes: [u8; HEADER],
    big_endian: bool,
}

/// A scan: finite values on a grid.
#[derive(Clone)]
pub struct Volume {
    /// i, j, k.
    pub dims: [usize; 3],
    /// Values with k fastest, slope and intercept applied.
    pub data: Vec<f32>,
    /// Of the file it came from.
    pub header: Header,
}

/// A label for each voxel of a grid.
#[derive(Clone)]
pub struct LabelMap {
    /// i, j, k.
    pub dims: [usize; 3],
    /// Labels with k fastest.
    pub data: Vec<u8>,
    /// Of the volume it belongs to.
    pub header: Header,
}

impl Header {
    fn word<const N: usize>(&self, at: usize) -> [u8; N] {
        let mut bytes: [u8; N] = self.bytes[at..at + N].try_into().expect("N bytes");
        if self.big_endian {
            bytes.reverse();
        }
        bytes
    }

    fn i16(&self, at: usize) -> i16 {
        i16::from_le_bytes(self.word(at))
    }

    fn f32(&self, at: usize) -> f32 {
        f32::from_le_bytes(self.word(at))
    }

    fn set<const N: usize>(&mut self, at: usize, mut bytes: [u8; N]) {
        if self.big_endian {
            bytes.reverse();
        }
        self.bytes[at..at + N].copy_from_slice(&bytes);
    }

    /// A header for a grid of `dims` with cubic voxels of `spacing` millimetres and no rotation.
    ///
    /// # Panics
    /// If a size is over 32767, the format's limit.
    pub fn new(dims: [usize; 3], spacing: f32) -> Self {
        let mut header = Self { bytes: [0; HEADER], big_endian: false };
        header.set(0, (HEADER as i32).to_le_bytes());
        header.bytes[344..].copy_from_slice(b"n+1\0");
        header.set(70, 16i16.to_le_bytes());
        header.set(72, 32i16.to_le_bytes());
        header.set(112, 1f32.to_le_bytes());
        header.set_dims(dims);
        // sform: scanner coordinates are voxel indices times the spacing.
        header.set(254, 1i16.to_le_bytes());
        for axis in 0..3 {
            header.set(80 + 4 * axis, spacing.to_le_bytes());
            header.set(280 + 20 * axis, spacing.to_le_bytes());
        }
        header
    }

    fn set_dims(&mut self, dims: [usize; 3]) {
        let sizes = dims.map(|d| i16::try_from(d).expect("NIfTI-1 sizes are at most 32767"));
        for (at, size) in [3, sizes[0], sizes[1], sizes[2], 1, 1, 1, 1].into_iter().enumerate() {
            self.set(40 + 2 * at, size.to_le_bytes());
        }
    }

    /// The rows of the affine (`srow_x`, `srow_y`, `srow_z`) that maps voxel indices to millimetres.
    pub fn affine(&self) -> [[f32; 4]; 3] {
        [0, 1, 2].map(|row| [0, 1, 2, 3].map(|column| self.f32(280 + 16 * row + 4 * column)))
    }

    /// The header of a one-byte label map or a float volume on this grid.
    fn for_output(&self, dims: [usize; 3], datatype: i16, bits: i16) -> Self {
        let mut header = self.clone();
        header.set_dims(dims);
        header.set(70, datatype.to_le_bytes());
        header.set(72, bits.to_le_bytes());
        header.set(108, (WRITTEN_OFFSET as f32).to_le_bytes());
        // Slope 1, intercept 0, no display range.
        for (at, value) in [(112, 1f32), (116, 0.0), (124, 0.0), (128, 0.0)] {
            header.set(at, value.to_le_bytes());
        }
        header
    }
}

/// A voxel type: its code, its size and how its little-endian bytes become a number.
struct Datatype {
    size: usize,
    read: fn(&[u8]) -> f64,
}

/// The first `N` bytes as an array.
fn bytes<const N: usize>(b: &[u8]) -> [u8; N] {
    b[..N].try_into().expect("N bytes")
}

fn datatype(code: i16) -> Option<Datatype> {
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
        64 => (8, |b| f64::from_bits(u64::from_le_bytes(bytes(b)))),
        _ => return None,
    };
    Some(Datatype { size, read })
}

/// What a file's header promises.
struct Promise {
    header: Header,
    dims: [usize; 3],
    offset: usize,
    datatype: Datatype,
    slope: f64,
    intercept: f64,
}

/// Checks a header; `wrong` makes the error of a file.
fn parse_header(bytes: [u8; HEADER], wrong: &impl Fn(String) -> Error) -> Result<Promise> {
    let size = i32::from_le_bytes(bytes[..4].try_into().expect("4 bytes"));
    let big_endian = size.swap_bytes() == HEADER as i32;
    if size != HEADER as i32 && !big_endian {
        return Err(wrong(format!("not a NIfTI-1 file: found header size {size}, expected {HEADER}")));
    }
    let header = Header { bytes, big_endian };
    if &header.bytes[344..] != b"n+1\0" {
        let found = String::from_utf8_lossy(&header.bytes[344..347]).into_owned();
        return Err(wrong(format!("not a single NIfTI-1 file: found magic {found:?}, expected \"n+1\"")));
    }
    let count = header.i16(40);
    if !(1..=7).contains(&count) {
        return Err(wrong(format!("dim[0]: found {count}, expected 1 to 7")));
    }
    let mut dims = [1usize; 3];
    for axis in 1..=count as usize {
        let size = header.i16(40 + 2 * axis);
        if size < 1 {
            return Err(wrong(format!("dim[{axis}]: found {size}, expected at least 1 (an empty volume)")));
        }
        if axis > 3 && size > 1 {
            return Err(wrong(format!("dim[{axis}]: found {size}, expected 1 (one volume, not a series)")));
        }
        if axis <= 3 {
            dims[axis - 1] = size as usize;
        }
    }
    // 32767^3 fits u64, so the product doesn't overflow.
    let voxels = dims.iter().map(|&d| d as u64).product::<u64>();
    if voxels > MAX_VOXELS as u64 {
        return Err(wrong(format!("dim: found {voxels} voxels, expected at most {MAX_VOXELS}")));
    }
    let code = header.i16(70);
    let datatype = datatype(code)
        .ok_or_else(|| wrong(format!("datatype: found code {code}, expected an integer or float type")))?;
    let offset = header.f32(108);
    if !(offset == 0.0 || (HEADER as f32..=MAX_OFFSET as f32).contains(&offset)) {
        return Err(wrong(format!("vox_offset: found {offset}, expected {WRITTEN_OFFSET} to {MAX_OFFSET}")));
    }
    let offset = if offset == 0.0 { WRITTEN_OFFSET } else { offset as usize };
    let (slope, intercept) = (f64::from(header.f32(112)), f64::from(header.f32(116)));
    // A slope of 0 (or no number) means that values aren't scaled.
    let scaled = slope.is_finite() && slope != 0.0 && intercept.is_finite();
    let (slope, intercept) = if scaled { (slope, intercept) } else { (1.0, 0.0) };
    Ok(Promise { header, dims, offset, datatype, slope, intercept })
}

/// Reads a volume from a stream of at least the promised bytes; reads no more than those.
fn decode(mut from: impl Read, path: &Path) -> Result<Volume> {
    let wrong = |what: String| Error::Input(format!("{}: {what}", path.display()));
    let short = |e: std::io::Error, what: &str| match e.kind() {
        std::io::ErrorKind::UnexpectedEof => wrong(format!("the file ends within the {what}")),
        _ => wrong(format!("reading the {what}: {e}")),
    };
    let mut bytes = [0; HEADER];
    from.read_exact(&mut bytes).map_err(|e| short(e, "header (not a NIfTI file?)"))?;
    let Promise { header, dims, offset, datatype, slope, intercept } = parse_header(bytes, &wrong)?;
    let skipped = std::io::copy(&mut (&mut from).take((offset - HEADER) as u64), &mut std::io::sink());
    skipped.map_err(|e| short(e, "header extensions"))?;
    let [ni, nj, nk] = dims;
    // Plane by plane: memory is taken as the bytes really arrive.
    let mut plane = vec![0u8; ni * nj * datatype.size];
    let mut fortran: Vec<f32> = Vec::new();
    for _ in 0..nk {
        from.read_exact(&mut plane).map_err(|e| short(e, "voxels"))?;
        for voxel in plane.chunks_exact_mut(datatype.size) {
            if header.big_endian {
                voxel.reverse();
            }
            let value = ((datatype.read)(voxel) * slope + intercept) as f32;
            if !value.is_finite() {
                let at = fortran.len();
                let [i, j, k] = [at % ni, at / ni % nj, at / (ni * nj)];
                return Err(wrong(format!("voxel ({i}, {j}, {k}): found {value}, expected a finite value")));
            }
            fortran.push(value);
        }
    }
    // At the end of a compressed stream this checks its length and sum.
    from.read(&mut [0]).map_err(|e| short(e, "end (is it cut short?)"))?;
    let mut data = Vec::with_capacity(fortran.len());
    for i in 0..ni {
        for j in 0..nj {
            data.extend((0..nk).map(|k| fortran[(k * nj + j) * ni + i]));
        }
    }
    Ok(Volume { dims, data, header })
}

impl Volume {
    /// Reads a NIfTI-1 file, compressed or not.
    ///
    /// # Errors
    /// [`Error::Io`] if it can't be opened; [`Error::Input`] that names the file and the field if it isn't a NIfTI-1
    /// file, isn't one volume, is empty, too large or cut short, or holds a value that isn't finite.
    pub fn load(path: &Path) -> Result<Self> {
        let io = |source| Error::Io { path: path.to_owned(), source };
        let mut file = File::open(path).map_err(io)?;
        let mut magic = Vec::new();
        (&mut file).take(2).read_to_end(&mut magic).map_err(io)?;
        let whole = std::io::Cursor::new(magic.clone()).chain(std::io::BufReader::new(file));
        if magic == [0x1f, 0x8b] { decode(MultiGzDecoder::new(whole), path) } else { decode(whole, path) }
    }

    /// Writes the volume as 32-bit floats, atomically.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn save(&self, path: &Path) -> Result<()> {
        let header = self.header.for_output(self.dims, 16, 32);
        let big = header.big_endian;
        let value = |v: f32| if big { v.to_be_bytes() } else { v.to_le_bytes() };
        stage(path, &header, fortran(&self.data, self.dims).flat_map(|&v| value(v)))?.commit()
    }
}

impl LabelMap {
    /// Reads a label map: a NIfTI-1 volume of integers from 0 to 255.
    ///
    /// # Errors
    /// Those of [`Volume::load`], and [`Error::Input`] for a value that isn't a label.
    pub fn load(path: &Path) -> Result<Self> {
        let Volume { dims, data, header } = Volume::load(path)?;
        if let Some(v) = data.iter().find(|v| v.fract() != 0.0 || !(0.0..=255.0).contains(*v)) {
            return Err(Error::Input(format!("{}: labels: found {v}, expected integers 0 to 255", path.display())));
        }
        Ok(Self { dims, data: data.into_iter().map(|v| v as u8).collect(), header })
    }

    /// Writes the label map as bytes on its grid, compressed if the name ends in `.gz`; the file appears whole or
    /// not at all.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn save(&self, path: &Path) -> Result<()> {
        self.stage(path)?.commit()
    }

    /// Writes the label map beside `path`, to be put there with others once all are written.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn stage(&self, path: &Path) -> Result<Staged> {
        stage(path, &self.header.for_output(self.dims, 2, 8), fortran(&self.data, self.dims).copied())
    }
}

/// The values of a volume with i fastest.
fn fortran<T>(data: &[T], [ni, nj, nk]: [usize; 3]) -> impl Iterator<Item = &T> {
    (0..nk).flat_map(move |k| (0..nj).flat_map(move |j| (0..ni).map(move |i| &data[(i * nj + j) * nk + k])))
}

/// Writes header and voxels, compressed if the name says so.
fn stage(path: &Path, header: &Header, voxels: impl Iterator<Item = u8>) -> Result<Staged> {
    let content: Vec<u8> = header.bytes.into_iter().chain([0; WRITTEN_OFFSET - HEADER]).chain(voxels).collect();
    if path.extension().is_some_and(|e| e == "gz") {
        atomic::stage(path, |out| {
            let mut gz = GzEncoder::new(out, Compression::default());
            gz.write_all(&content)?;
            gz.finish().map(drop)
        })
    } else {
        atomic::stage(path, |out| out.write_all(&content))
    }
}
