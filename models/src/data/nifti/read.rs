//! Volumes and label maps from files.

use std::io::Read;
use std::path::{Path, PathBuf};

use super::header::{self, Promise};
use super::stream::Stream;
use super::{Affine, Orientation, Volume, foreign};
use crate::error::{Error, Result};

/// The most channels of a scan.
const MAX_CHANNELS: usize = 64;

/// How what a file leaves open is read.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReadOptions {
    /// The way the axes run in a file that doesn't state it.
    pub assume: Option<Orientation>,
    /// The value of voxels that are not a number; without it they are an error.
    pub nan: Option<f64>,
    /// Where the voxels of an array lie, which a NIfTI file says itself.
    pub affine: Option<Affine>,
}

impl Volume {
    /// Reads a NIfTI file, compressed or not, or one of a pair of `.hdr` and `.img`.
    ///
    /// # Errors
    /// [`Error::Io`] if it can't be opened; [`Error::Input`] that names the file and the field if it isn't a NIfTI
    /// file, isn't one volume, is empty, too large or cut short, or holds a value that isn't finite.
    pub fn load(path: &Path) -> Result<Self> {
        Self::load_with(path, &ReadOptions::default())
    }

    /// [`Volume::load`] with answers to what the file may leave open.
    ///
    /// # Errors
    /// Those of [`Volume::load`].
    pub fn load_with(path: &Path, options: &ReadOptions) -> Result<Self> {
        let mut volumes = Self::load_few(path, options, 1)?;
        Ok(volumes.swap_remove(0))
    }

    /// The volumes of a file, which are the channels of a scan: those of its fourth axis, or one.
    ///
    /// # Errors
    /// Those of [`Volume::load`], but for several volumes.
    pub fn load_all(path: &Path, options: &ReadOptions) -> Result<Vec<Self>> {
        Self::load_few(path, options, MAX_CHANNELS)
    }

    fn load_few(path: &Path, options: &ReadOptions, most: usize) -> Result<Vec<Self>> {
        let of = |path: &Path, what: String| Error::Input(format!("{}: {what}", path.display()));
        let wrong = |what| of(path, what);
        if path.is_dir() {
            return Err(wrong(foreign::folder(path)));
        }
        let named = header_of(path)?;
        let Stream { stored, head, mut content } = open(&named)?;
        if let Some(what) = foreign::file(&stored, &head, path) {
            return Err(wrong(what));
        }
        let (size, big_endian) = header::size(&head).ok_or_else(|| wrong(unknown(&head)))?;
        let mut bytes = vec![0; size];
        content.read_exact(&mut bytes).map_err(|e| short(e, "header").map_or_else(&wrong, &wrong))?;
        let mut promise = header::parse(&bytes, (big_endian, most), &wrong)?;
        let mut skip = promise.offset - if promise.pair { 0 } else { size };
        let mut voxels = named.clone();
        if promise.pair {
            voxels = image_of(&named)?;
            content = open(&voxels)?.content;
            skip = promise.offset;
        }
        let skipped = std::io::copy(&mut (&mut content).take(skip as u64), &mut std::io::sink());
        skipped.map_err(|e| of(&voxels, format!("reading what stands before the voxels: {e}")))?;
        if let Some(orientation) = options.assume {
            promise.header.assume(orientation);
        }
        let wrong = |what| of(&voxels, what);
        let channels = (0..promise.channels).map(|_| decode(&mut content, &promise, options.nan, &wrong));
        let channels = channels.collect::<Result<Vec<_>>>()?;
        // At the end of a compressed stream this checks its length and sum.
        content.read(&mut [0]).map_err(|e| wrong(format!("reading the end (is it cut short?): {e}")))?;
        let volume = |data| Self { dims: promise.dims, data, header: promise.header.clone() };
        Ok(channels.into_iter().map(volume).collect())
    }
}

fn open(path: &Path) -> Result<Stream> {
    Stream::open(path).map_err(|source| Error::Io { path: path.to_owned(), source })
}

/// What a file is that is not known at all.
fn unknown(head: &[u8]) -> String {
    match head.first_chunk() {
        None => "the file ends within the header (not a NIfTI file?)".to_owned(),
        Some(&size) => {
            let found = i32::from_le_bytes(size);
            let expected = format!("expected {} or {}", header::SIZE_1, header::SIZE_2);
            format!("not a NIfTI-1 or NIfTI-2 file: found header size {found}, {expected}")
        }
    }
}

/// An error of reading, in words.
fn short(e: std::io::Error, what: &str) -> std::result::Result<String, String> {
    match e.kind() {
        std::io::ErrorKind::UnexpectedEof => Ok(format!("the file ends within the {what}")),
        _ => Err(format!("reading the {what}: {e}")),
    }
}

/// Endings of a pair's header and image.
const PAIR: [(&str, [&str; 2]); 2] = [(".hdr", [".img", ".img.gz"]), (".hdr.gz", [".img.gz", ".img"])];

/// The file with the header: beside an image of a pair, else the file itself.
fn header_of(path: &Path) -> Result<PathBuf> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let Some(stem) = name.strip_suffix(".img").or_else(|| name.strip_suffix(".img.gz")) else {
        return Ok(path.to_owned());
    };
    let candidates = [".hdr", ".hdr.gz"].map(|end| path.with_file_name(format!("{stem}{end}")));
    let found = candidates.iter().find(|c| c.is_file()).cloned();
    let missing = || format!("{}: the header {} is not beside it", path.display(), candidates[0].display());
    found.ok_or_else(|| Error::Input(missing()))
}

/// The file with the voxels of a pair.
fn image_of(path: &Path) -> Result<PathBuf> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let wrong = |what: String| Error::Input(format!("{}: {what}", path.display()));
    let ends = PAIR.iter().find_map(|(end, images)| name.strip_suffix(end).map(|stem| (stem, images)));
    let Some((stem, images)) = ends else {
        let what = "found magic \"ni1\", the header of a pair of files, expected \"n+1\" or the name to end in .hdr";
        return Err(wrong(what.to_owned()));
    };
    let candidates = images.map(|end| path.with_file_name(format!("{stem}{end}")));
    let missing = || wrong(format!("the voxels {} are not beside it", candidates[0].display()));
    candidates.iter().find(|c| c.is_file()).cloned().ok_or_else(missing)
}

/// Reads the voxels from a stream of at least the promised bytes, plane by plane: memory is taken as they really
/// arrive.
fn decode(
    mut from: impl Read,
    promise: &Promise,
    nan: Option<f64>,
    wrong: &impl Fn(String) -> Error,
) -> Result<Vec<f64>> {
    let [ni, nj, nk] = promise.dims;
    let (size, read) = (promise.datatype.size, promise.datatype.read);
    let mut plane = vec![0u8; ni * nj * size];
    let mut fortran: Vec<f64> = Vec::new();
    for _ in 0..nk {
        from.read_exact(&mut plane).map_err(|e| short(e, "voxels").map_or_else(wrong, wrong))?;
        for voxel in plane.chunks_exact_mut(size) {
            if promise.header.big_endian() {
                voxel.reverse();
            }
            let mut value = read(voxel) * promise.slope + promise.intercept;
            if value.is_nan() {
                value = nan.unwrap_or(value);
            }
            if !value.is_finite() {
                let at = fortran.len();
                let [i, j, k] = [at % ni, at / ni % nj, at / (ni * nj)];
                let way = if value.is_nan() { " (--nan 0 reads a background of NaN as 0)" } else { "" };
                return Err(wrong(format!("voxel ({i}, {j}, {k}): found {value}, expected a finite value{way}")));
            }
            fortran.push(value);
        }
    }
    let mut data = Vec::with_capacity(fortran.len());
    for i in 0..ni {
        for j in 0..nj {
            data.extend((0..nk).map(|k| fortran[(k * nj + j) * ni + i]));
        }
    }
    Ok(data)
}
