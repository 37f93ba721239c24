//! Files that users try in a volume's place: told apart by their first bytes, so that a refusal says what they are and
//! what to do.

use std::fs::File;
use std::io::Read;
use std::path::Path;

/// What to do with a scan in another format.
const CONVERT: &str = "convert it to NIfTI first, for example with 3D Slicer or SimpleITK";
const DICOM: &str = "convert the series to NIfTI first, for example with `dcm2niix -z y -o OUT FOLDER`";
const MGH: &str = "convert it to NIfTI first, for example with FreeSurfer's `mri_convert IN scan.nii.gz`";
const ARRAY: &str = "an array has no voxel sizes and no orientation: write it as NIfTI, for example with nibabel";
const PICTURE: &str = "a volume in NIfTI is expected";
const MODEL: &str = "a model, not a volume: -m takes a bundle, the folder of model.json and weights.safetensors";
const PICKLE: &str = "a pickle can run code and is never opened: save the weights with safetensors.torch.save_file, \
                      into a bundle, the folder of model.json and weights.safetensors that -m takes";
const UNPACK: &str = "unpack it first";

/// First bytes of formats: what they are called and what to do.
const MAGIC: [(&[u8], &str, &str); 18] = [
    (b"NRRD0", "an NRRD file", CONVERT),
    (b"ObjectType", "a MetaImage file (MHA, MHD)", CONVERT),
    (b"NDims", "a MetaImage file (MHA, MHD)", CONVERT),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file (perhaps MINC 2)", CONVERT),
    (b"CDF\x01", "a MINC 1 file", CONVERT),
    (b"\x93NUMPY", "a NumPy array", ARRAY),
    (b"\x89PNG\r\n\x1a\n", "a PNG picture", PICTURE),
    (b"\xff\xd8\xff", "a JPEG picture", PICTURE),
    (b"II*\0", "a TIFF picture", PICTURE),
    (b"MM\0*", "a TIFF picture", PICTURE),
    (b"BZh", "a bzip2 archive", UNPACK),
    (b"\xfd7zXZ\0", "an xz archive", UNPACK),
    (b"\x28\xb5\x2f\xfd", "a Zstandard archive", UNPACK),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", UNPACK),
    (b"version https://git-lfs", "a pointer of Git LFS", "fetch the file itself with `git lfs pull`"),
    (b"<!DOCTYPE", "a web page", "was the download refused?"),
    (b"<html", "a web page", "was the download refused?"),
    (b"%PDF", "a PDF document", PICTURE),
];

/// A refusal for a file of another known format. `stored` are its first bytes, `head` the same decompressed; none if
/// the format is unknown or NIfTI.
pub fn file(stored: &[u8], head: &[u8], path: &Path) -> Option<String> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let ends = |ends: &[&str]| ends.iter().any(|end| name.ends_with(end));
    let zip = stored.starts_with(b"PK\x03\x04");
    let torch = zip && (ends(&[".pt", ".pth", ".ckpt", ".bin"]) || holds(stored, b"data.pkl"));
    let (what, advice) = if is_dicom(head) {
        ("a DICOM file", DICOM)
    } else if torch {
        ("a PyTorch archive, a pickle in a zip", PICKLE)
    } else if head.first() == Some(&0x80) && head.get(1).is_some_and(|v| (2..=5).contains(v)) {
        ("a pickle (PyTorch or Python)", PICKLE)
    } else if zip && ends(&[".npz"]) {
        ("an archive of NumPy arrays", ARRAY)
    } else if zip {
        ("a zip archive", UNPACK)
    } else if is_onnx(head) {
        ("an ONNX model", MODEL)
    } else if is_safetensors(head) {
        ("weights in safetensors", MODEL)
    } else if is_mgh(head) {
        ("a FreeSurfer volume (MGH, MGZ)", MGH)
    } else {
        let (_, what, advice) = MAGIC.into_iter().find(|(magic, _, _)| head.starts_with(magic))?;
        (what, advice)
    };
    Some(format!("found {what}, expected NIfTI: {advice}"))
}

/// A refusal for a folder, named by what lies in it.
pub fn folder(path: &Path) -> String {
    let files = std::fs::read_dir(path).into_iter().flatten().flatten().take(64);
    let dicom = |file: &Path| {
        let mut head = Vec::new();
        let read = File::open(file).and_then(|f| f.take(1024).read_to_end(&mut head));
        file.ends_with("DICOMDIR") || (file.is_file() && read.is_ok() && is_dicom(&head))
    };
    match files.map(|f| f.path()).any(|file| dicom(&file)) {
        true => format!("found a folder of DICOM files, expected a NIfTI file: {DICOM}"),
        false => "found a folder, expected a NIfTI file".to_owned(),
    }
}

fn holds(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|w| w == part)
}

/// With the preamble, or without it as old scanners write: a first element of group 8 with a plausible length.
fn is_dicom(head: &[u8]) -> bool {
    let bare = head.starts_with(&[8, 0])
        && matches!(head.get(2..8), Some([0 | 5 | 8 | 0x16, 0, kind @ ..])
        if kind.iter().take(2).all(u8::is_ascii_uppercase) || (kind[1..] == [0; 3] && kind[0] <= 64));
    bare || head.get(128..132) == Some(b"DICM")
}

/// A message of protocol buffers that begins with the version of the format and the name of the producer.
fn is_onnx(head: &[u8]) -> bool {
    let [8, version, 0x12, length, rest @ ..] = head else { return false };
    let name = rest.get(..usize::from(*length)).unwrap_or_default();
    (1..=30).contains(version) && !name.is_empty() && name.iter().all(u8::is_ascii_graphic)
}

fn is_safetensors(head: &[u8]) -> bool {
    let Some((length, json)) = head.split_first_chunk::<8>() else { return false };
    json.starts_with(b"{\"") && (2..1 << 28).contains(&u64::from_le_bytes(*length))
}

/// Big-endian words: version 1, three sizes, frames, a type from 0 to 10.
fn is_mgh(head: &[u8]) -> bool {
    let Some(words) = head.get(..24) else { return false };
    let word = |n: usize| u32::from_be_bytes(words[4 * n..4 * n + 4].try_into().expect("4 bytes"));
    word(0) == 1 && (1..5).all(|n| (1..1 << 20).contains(&word(n))) && word(5) <= 10
}
