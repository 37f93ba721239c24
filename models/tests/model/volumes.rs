//! Files of volumes: every form that is read, what is written, and one clear error for every wrong one.

use std::io::Write;
use std::path::Path;

use blindvox_models::Error;
use blindvox_models::data::labels::LabelMap;
use blindvox_models::data::nifti::{Header, Orientation, ReadOptions, Volume};
use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;

fn scratch() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

fn mentions(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "{message:?} doesn't mention {part:?}");
    }
}

/// A small volume and the bytes of its file.
fn small_volume() -> (Volume, Vec<u8>) {
    let dims = [3, 4, 5];
    let data = (0..60).map(f64::from).collect();
    let volume = Volume { dims, data, header: Header::new(dims, 1.5) };
    let (directory, file) = (scratch(), "v.nii");
    volume.save(&directory.path().join(file)).expect("a write");
    (volume, std::fs::read(directory.path().join(file)).expect("a read"))
}

fn load_with(bytes: &[u8], options: &ReadOptions) -> blindvox_models::Result<Volume> {
    let directory = scratch();
    let path = directory.path().join("scan.nii");
    std::fs::write(&path, bytes).expect("a write");
    Volume::load_with(&path, options)
}

fn load_bytes(bytes: &[u8]) -> blindvox_models::Result<Volume> {
    load_with(bytes, &ReadOptions::default())
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gz = GzEncoder::new(Vec::new(), Compression::default());
    gz.write_all(bytes).expect("memory");
    gz.finish().expect("memory")
}

/// A file of NIfTI-2 with the values 0, 1, ... as signed 16-bit integers.
fn long_volume(dims: [i64; 3], big_endian: bool) -> Vec<u8> {
    let mut bytes = vec![0; 544];
    let mut set = |at: usize, little: &[u8]| {
        let to = &mut bytes[at..at + little.len()];
        to.copy_from_slice(little);
        if big_endian {
            to.reverse();
        }
    };
    set(0, &540i32.to_le_bytes());
    set(12, &4i16.to_le_bytes());
    set(14, &16i16.to_le_bytes());
    for (n, size) in [3, dims[0], dims[1], dims[2], 0, 0, 0, 0].into_iter().enumerate() {
        set(16 + 8 * n, &size.to_le_bytes());
    }
    set(168, &544i64.to_le_bytes());
    set(348, &1i32.to_le_bytes());
    for (row, side) in [2.0f64, 3.0, 4.0].into_iter().enumerate() {
        set(400 + 40 * row, &side.to_le_bytes());
    }
    bytes[4..12].copy_from_slice(b"n+2\0\r\n\x1a\n");
    let count = dims.iter().fold(1i64, |n, d| n.saturating_mul(*d)).clamp(0, 1000) as i16;
    bytes.extend((0..count).flat_map(|v| if big_endian { v.to_be_bytes() } else { v.to_le_bytes() }));
    bytes
}

#[test]
fn volumes_round_trip_in_both_forms() {
    let (volume, bytes) = small_volume();
    assert_eq!(bytes.len(), 352 + 240);
    // i is fastest in the file.
    assert_eq!(bytes[356..360], 20f32.to_le_bytes());
    let back = load_bytes(&bytes).expect("its own file");
    assert_eq!((back.dims, &back.data), (volume.dims, &volume.data));
    let directory = scratch();
    let labels = LabelMap { dims: volume.dims, data: (0..60).collect(), header: back.header };
    for name in ["l.nii", "l.nii.gz"] {
        let path = directory.path().join(name);
        labels.save(&path).expect("a write");
        let read = LabelMap::load(&path).expect("its own file");
        assert_eq!((read.dims, &read.data, read.header.affine()), (labels.dims, &labels.data, volume.header.affine()));
    }
    assert_eq!(volume.header.affine().expect("an sform").0[1], [0.0, 1.5, 0.0, 0.0]);
    assert_eq!(std::fs::read_dir(directory.path()).expect("a directory").count(), 2, "no temporary file is left");
    assert!(labels.save(Path::new("/nowhere/l.nii")).is_err());
}

#[test]
fn big_endian_scaled_integers_are_read() {
    let (_, mut bytes) = small_volume();
    bytes.truncate(352);
    let mut set = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    set(0, &348i32.to_be_bytes());
    for (i, d) in [3i16, 2, 1, 2, 1, 1, 1, 1].into_iter().enumerate() {
        set(40 + 2 * i, &d.to_be_bytes());
    }
    set(70, &4i16.to_be_bytes());
    set(108, &352f32.to_be_bytes());
    set(112, &0.5f32.to_be_bytes());
    set(116, &10f32.to_be_bytes());
    bytes.extend([1i16, -2, 300, 4].into_iter().flat_map(i16::to_be_bytes));
    let volume = load_bytes(&bytes).expect("big endian");
    assert_eq!((volume.dims, volume.data), ([2, 1, 2], vec![10.5, 160.0, 9.0, 12.0]));
}

#[test]
fn wrong_volumes_are_refused_by_field() {
    let (_, bytes) = small_volume();
    let refusal = |at: usize, value: &[u8]| {
        let mut bytes = bytes.clone();
        bytes[at..at + value.len()].copy_from_slice(value);
        match load_bytes(&bytes) {
            Err(e @ Error::Input(_)) => e.to_string(),
            other => panic!("expected a refusal, found {:?}", other.map(|v| v.dims)),
        }
    };
    mentions(&refusal(0, &[9]), &["scan.nii", "not a NIfTI-1"]);
    mentions(&refusal(344, b"ni1"), &["ni1", "n+1"]);
    mentions(&refusal(40, &0i16.to_le_bytes()), &["dim[0]", "found 0"]);
    mentions(&refusal(42, &0i16.to_le_bytes()), &["dim[1]", "found 0", "empty"]);
    mentions(&refusal(44, &(-3i16).to_le_bytes()), &["dim[2]", "found -3"]);
    mentions(&refusal(40, &[4, 0, 3, 0, 4, 0, 5, 0, 2, 0]), &["dim[4]", "found 2", "one volume"]);
    mentions(&refusal(42, &[0xff, 0x7f, 0xff, 0x7f, 0xff, 0x7f]), &["voxels", "at most"]);
    mentions(&refusal(46, &6i16.to_le_bytes()), &["ends within the voxels"]);
    mentions(&refusal(70, &32i16.to_le_bytes()), &["datatype", "32"]);
    mentions(&refusal(108, &f32::NAN.to_le_bytes()), &["vox_offset", "NaN"]);
    mentions(&refusal(352 + 4, &f32::NAN.to_le_bytes()), &["voxel (1, 0, 0)", "NaN"]);
    mentions(&refusal(352, &f32::INFINITY.to_le_bytes()), &["voxel (0, 0, 0)", "inf"]);
    mentions(&load_bytes(b"").map(drop).expect_err("empty").to_string(), &["header"]);
    mentions(&load_bytes(&[0x1f, 0x8b, 0, 0]).map(drop).expect_err("not gzip").to_string(), &["scan.nii"]);
}

#[test]
fn nifti_2_is_read_and_written_in_both_byte_orders() {
    for big_endian in [false, true] {
        let bytes = long_volume([2, 3, 4], big_endian);
        let volume = load_bytes(&bytes).expect("NIfTI-2");
        assert_eq!((volume.dims, volume.spacing()), ([2, 3, 4], [2.0, 3.0, 4.0]));
        // i is fastest in the file, k in memory.
        assert_eq!(volume.data[..5], [0.0, 6.0, 12.0, 18.0, 2.0]);
        let (directory, labels) = (scratch(), volume.data.iter().map(|&v| v as u8).collect());
        let path = directory.path().join("l.nii");
        let map = LabelMap { dims: volume.dims, data: labels, header: volume.header.clone() };
        map.save(&path).expect("a write");
        let written = std::fs::read(&path).expect("a read");
        assert_eq!((written.len(), &written[..12]), (544 + 24, &bytes[..12]));
        let back = LabelMap::load(&path).expect("its own file");
        assert_eq!((back.dims, back.data, back.header.affine()), (map.dims, map.data, map.header.affine()));
        assert_eq!(std::fs::metadata(&path).expect("a file").len(), 544 + 24);
    }
    let refusal = |dims| load_bytes(&long_volume(dims, false)).map(drop).expect_err("a refusal").to_string();
    for dims in [[i64::MAX, 1, 1], [1 << 40, 1 << 40, 1 << 40], [1 << 20, 1 << 20, 1]] {
        mentions(&refusal(dims), &["voxels", "at most"]);
    }
    mentions(&refusal([-4, 2, 2]), &["dim[1]", "-4"]);
    let whole = long_volume([4, 2, 2], false);
    mentions(&load_bytes(&whole[..560]).map(drop).expect_err("short").to_string(), &["ends within the voxels"]);
}

#[test]
fn pairs_are_read_from_either_name() {
    let (volume, bytes) = small_volume();
    let directory = scratch();
    let at = |name: &str| directory.path().join(name);
    let write = |name: &str, bytes: &[u8]| std::fs::write(at(name), bytes).expect("a write");
    let refusal = |name: &str| Volume::load(&at(name)).map(drop).expect_err("a refusal").to_string();
    let mut header = bytes[..348].to_vec();
    header[344..348].copy_from_slice(b"ni1\0");
    header[108..112].copy_from_slice(&0f32.to_le_bytes());
    write("a.hdr", &header);
    mentions(&refusal("a.hdr"), &["a.hdr", "a.img", "not beside it"]);
    write("a.img", &bytes[352..]);
    write("b.hdr.gz", &gzip(&header));
    write("b.img.gz", &gzip(&bytes[352..]));
    for name in ["a.hdr", "a.img", "b.hdr.gz", "b.img.gz"] {
        assert_eq!(Volume::load(&at(name)).expect("a pair").data, volume.data, "{name}");
    }
    write("c.img", &bytes[352..]);
    mentions(&refusal("c.img"), &["c.img", "c.hdr", "not beside it"]);
    write("d.nii", &header);
    mentions(&refusal("d.nii"), &["ni1", "n+1", ".hdr"]);
    write("a.img", &bytes[356..]);
    mentions(&refusal("a.hdr"), &["a.img", "ends within the voxels"]);
    header[344..348].fill(0);
    write("a.hdr", &header);
    mentions(&refusal("a.img"), &["Analyze 7.5", "orientation"]);
}

#[test]
fn compressed_files_may_be_padded_and_in_parts() {
    let (volume, bytes) = small_volume();
    let parts = [gzip(&bytes[..100]), vec![0; 512], gzip(&bytes[100..400]), gzip(&[]), gzip(&bytes[400..])].concat();
    for file in [parts.clone(), [parts.clone(), vec![0; 100_000]].concat()] {
        assert_eq!(load_bytes(&file).expect("in parts").data, volume.data);
    }
    let refusal = |bytes: &[u8]| load_bytes(bytes).map(drop).expect_err("a refusal").to_string();
    let whole = gzip(&bytes);
    mentions(&refusal(&[&whole[..], b"rest"].concat()), &["zeros", "scan.nii"]);
    let mut wrong = whole.clone();
    let sum = wrong.len() - 8;
    wrong[sum] ^= 1;
    mentions(&refusal(&wrong), &["scan.nii", "corrupt"]);
    mentions(&refusal(&whole[..whole.len() - 4]), &["scan.nii"]);
    mentions(&refusal(&[&gzip(&bytes[..400])[..], &gzip(&bytes[400..])[..9]].concat()), &["scan.nii"]);
}

#[test]
fn unused_sizes_may_be_zero() {
    let (volume, mut bytes) = small_volume();
    for unused in [[3, 3, 4, 5, 0, 0, 0, 0], [4, 3, 4, 5, 0, 0, 0, 0], [7, 3, 4, 5, 1, 0, 1, 0]] {
        for (n, size) in unused.into_iter().enumerate() {
            bytes[40 + 2 * n..42 + 2 * n].copy_from_slice(&i16::to_le_bytes(size));
        }
        assert_eq!(load_bytes(&bytes).expect("one volume").data, volume.data, "{unused:?}");
    }
}

#[test]
fn a_background_of_nan_is_read_as_what_the_user_says() {
    let (_, mut bytes) = small_volume();
    bytes[352..356].copy_from_slice(&f32::NAN.to_le_bytes());
    mentions(&load_bytes(&bytes).map(drop).expect_err("NaN").to_string(), &["(0, 0, 0)", "NaN", "--nan 0"]);
    let options = ReadOptions { nan: Some(-7.5), ..ReadOptions::default() };
    assert_eq!(load_with(&bytes, &options).expect("a value").data[..2], [-7.5, 1.0]);
    bytes[356..360].copy_from_slice(&f32::INFINITY.to_le_bytes());
    mentions(&load_with(&bytes, &options).map(drop).expect_err("no value").to_string(), &["(1, 0, 0)", "inf"]);
}

#[test]
fn wide_numbers_keep_their_differences() {
    let (_, short) = small_volume();
    let file = |code: i16, values: &dyn Fn(i64) -> Vec<u8>| {
        let mut bytes = short[..352].to_vec();
        bytes[70..72].copy_from_slice(&code.to_le_bytes());
        bytes.extend((0..60).flat_map(values));
        load_bytes(&bytes).expect("wide numbers").data
    };
    let far = 2_000_000_000;
    for data in [
        file(8, &|v| ((far + v) as i32).to_le_bytes().to_vec()),
        file(768, &|v| ((far + v) as u32).to_le_bytes().to_vec()),
        file(64, &|v| ((far + v) as f64).to_le_bytes().to_vec()),
        file(1024, &|v| (far + v).to_le_bytes().to_vec()),
    ] {
        assert_eq!(data[..3], [0.0, 12.0, 24.0].map(|v| far as f64 + v));
    }
}

/// What other programs leave in a scan's header says nothing about labels, and stays out of their file.
#[test]
fn label_maps_say_what_they_are_and_nothing_foreign() {
    let (_, mut bytes) = small_volume();
    // All but sizes, types, sides, offset, slope, units, orientation and magic gets a value of its own.
    let kept = [0..4, 40..56, 70..74, 76..92, 108..120, 123..124, 252..328, 344..352];
    for (at, byte) in bytes.iter_mut().enumerate().take(352) {
        if !kept.iter().any(|k| k.contains(&at)) {
            *byte = 0x41;
        }
    }
    bytes[123] = 2 | 8;
    let volume = load_bytes(&bytes).expect("a volume");
    let directory = scratch();
    let path = directory.path().join("l.nii");
    LabelMap { dims: volume.dims, data: vec![1; 60], header: volume.header.clone() }.save(&path).expect("a write");
    let written = std::fs::read(&path).expect("a read");
    assert_eq!(written[68..70], 1002i16.to_le_bytes());
    assert_eq!((&written[70..74], written[123]), (&[2, 0, 8, 0][..], 2));
    assert!(!written[..352].contains(&0x41), "foreign bytes in {:?}", &written[..352]);
    assert_eq!(written[252..328], bytes[252..328], "the orientation is the scan's");
    assert_eq!(written[76..92], bytes[76..92], "so are the sides");
    let zeros = |range: std::ops::Range<usize>| written[range].iter().all(|b| *b == 0);
    assert!(zeros(4..40) && zeros(56..68) && zeros(74..76) && zeros(116..123) && zeros(124..252) && zeros(328..344));
}

#[test]
fn files_of_other_formats_are_named_with_what_to_do() {
    let directory = scratch();
    let refusal = |name: &str, bytes: &[u8]| {
        let path = directory.path().join(name);
        std::fs::write(&path, bytes).expect("a write");
        let error = Volume::load(&path).map(drop).expect_err("another format");
        assert!(error.is_input());
        let message = error.to_string();
        mentions(&message, &[name, "expected NIfTI"]);
        message
    };
    let dicom = [&[0; 128][..], b"DICM", &[0; 400]].concat();
    mentions(&refusal("1.dcm", &dicom), &["DICOM", "dcm2niix"]);
    mentions(&refusal("2.ima", b"\x08\0\x05\0CS\x0a\0ISO_IR 100"), &["DICOM", "dcm2niix"]);
    mentions(&refusal("3.ima", b"\x08\0\0\0\x04\0\0\0\x10\0\0\0"), &["DICOM"]);
    mentions(&refusal("a.nrrd", b"NRRD0004\ntype: short\n"), &["NRRD", "convert"]);
    mentions(&refusal("a.mha", b"ObjectType = Image\nNDims = 3\n"), &["MHA", "convert"]);
    let words = [1u32, 256, 256, 256, 1, 3, 0].map(u32::to_be_bytes).concat();
    mentions(&refusal("a.mgh", &words), &["MGZ", "mri_convert"]);
    mentions(&refusal("a.mgz", &gzip(&words)), &["MGZ", "mri_convert"]);
    mentions(&refusal("a.onnx", b"\x08\x0a\x12\x07pytorch\x1a\x062.15.0"), &["ONNX", "-m", "model.json"]);
    mentions(&refusal("a.pkl", b"\x80\x04\x95\x10\0\0"), &["pickle", "safetensors"]);
    mentions(&refusal("a.pt", b"PK\x03\x04\0\0\x08\x08weights"), &["PyTorch", "safetensors"]);
    mentions(&refusal("b.zip", b"PK\x03\x04\0\0\x08\x08archive/data.pkl"), &["PyTorch"]);
    mentions(&refusal("a.npz", b"PK\x03\x04\0\0\x08\x08x.npy"), &["NumPy", "nibabel"]);
    mentions(&refusal("c.zip", b"PK\x03\x04\0\0\x08\x08x.nii"), &["zip", "unpack"]);
    mentions(&refusal("a.npy", b"\x93NUMPY\x01\0"), &["NumPy"]);
    mentions(&refusal("w.safetensors", b"\x10\0\0\0\0\0\0\0{\"a\":{}}"), &["safetensors", "-m"]);
    mentions(&refusal("p.nii.gz", b"version https://git-lfs.github.com/spec/v1\n"), &["Git LFS", "git lfs pull"]);
    mentions(&refusal("d.nii.gz", b"<!DOCTYPE html><html>"), &["web page"]);

    let folder = directory.path().join("series");
    std::fs::create_dir(&folder).expect("a folder");
    mentions(&Volume::load(&folder).map(drop).expect_err("a folder").to_string(), &["series", "found a folder"]);
    std::fs::write(folder.join("IM0001"), &dicom).expect("a write");
    mentions(&Volume::load(&folder).map(drop).expect_err("a series").to_string(), &["series", "DICOM", "dcm2niix"]);
}

#[test]
fn forms_of_orientation_are_read_in_their_order() {
    let (_, bytes) = small_volume();
    let with = |edits: &[(usize, &[u8])]| {
        let mut bytes = bytes.clone();
        edits.iter().for_each(|(at, value)| bytes[*at..at + value.len()].copy_from_slice(value));
        bytes
    };
    let header = |edits: &[(usize, &[u8])]| load_bytes(&with(edits)).expect("a volume").header;
    let ras = Orientation::RAS.affine([1.5; 3]);
    assert_eq!((header(&[]).affine(), header(&[]).doubts()), (Some(ras), None));
    // The quaternion (0, 1, 0, 0) of half a turn about i, at another place.
    let (code, one, seven) = (1i16.to_le_bytes(), 1f32.to_le_bytes(), 7f32.to_le_bytes());
    let qform: [(usize, &[u8]); 3] = [(252, &code), (256, &one), (268, &seven)];
    let no_sform: (usize, &[u8]) = (254, &[0, 0]);
    let both = header(&qform);
    assert_eq!(both.affine(), Some(ras), "the sform comes first");
    mentions(&both.doubts().expect("they differ"), &["sform", "qform", "7.0"]);
    let alone = header(&[&qform[..], &[no_sform]].concat());
    let turned = [[1.5, 0.0, 0.0, 7.0], [0.0, -1.5, 0.0, 0.0], [0.0, 0.0, -1.5, 0.0]];
    assert_eq!((alone.affine().map(|a| a.0), alone.doubts()), (Some(turned), None));
    let mirrored = header(&[&qform[..], &[no_sform, (76, &(-1f32).to_le_bytes())]].concat());
    assert_eq!(mirrored.affine().expect("a qform").0[2], [0.0, 0.0, 1.5, 0.0], "a negative handedness turns k");
    let none = header(&[no_sform]);
    assert_eq!((none.affine(), none.pixdim()), (None, [1.5; 3]));
    assert_eq!(header(&[(123, &[3])]).affine().expect("an sform").spacing(), [1.5e-3; 3], "micrometres");

    let options = ReadOptions { assume: Some(Orientation::LPS), ..ReadOptions::default() };
    let assumed = load_with(&with(&[no_sform]), &options).expect("a volume").header;
    assert_eq!(assumed.affine(), Some(Orientation::LPS.affine([1.5; 3])));
    assert_eq!(load_with(&bytes, &options).expect("a volume").header.affine(), Some(ras), "what the file says holds");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = load_bytes(&bytes);
        let _ = load_bytes(&[&[0x1f, 0x8b, 8, 0][..], &bytes].concat());
    }

    #[test]
    fn mutated_volumes_never_panic(at in 0usize..592, bytes in proptest::collection::vec(any::<u8>(), 1..9), cut in 0usize..592) {
        let (_, mut file) = small_volume();
        for (to, from) in file[at..].iter_mut().zip(bytes) {
            *to = from;
        }
        let _ = load_bytes(&file);
        let _ = load_bytes(&file[..cut]);
    }

    #[test]
    fn mutated_nifti_2_never_panics(at in 0usize..592, bytes in proptest::collection::vec(any::<u8>(), 1..9)) {
        let mut file = long_volume([2, 3, 4], false);
        for (to, from) in file[at..].iter_mut().zip(bytes) {
            *to = from;
        }
        let _ = load_bytes(&file);
    }
}
