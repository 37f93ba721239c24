//! Scans as they are stored: in any order of axes, at any spacing, larger and smaller than the network's grid. The
//! labels are the same in the world, or the scan is refused.

use std::path::Path;

use blindvox_models::data::dice::dice;
use blindvox_models::data::labels::LabelMap;
use blindvox_models::data::nifti::{Affine, Header, Volume};
use blindvox_models::format::bundle::MODEL_FILE;
use blindvox_models::{Bundle, Prepared, Program, Rounding, plain};
use serde_json::{Value, json};

use crate::common::{Numbers, Written, tiny};
use crate::demo_path;

fn mentions(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "{message:?} doesn't mention {part:?}");
    }
}

/// The small calibrated network on 8x8x8 voxels, with other keys of its preparation.
fn network(keys: Value) -> (Written, Bundle, Program) {
    let written = tiny();
    written.calibrate();
    let path = written.directory.path().join(MODEL_FILE);
    let mut model: Value = serde_json::from_slice(&std::fs::read(&path).expect("a model")).expect("JSON");
    for (key, value) in keys.as_object().expect("keys") {
        match value.is_null() {
            true => drop(model["preparation"].as_object_mut().expect("keys").remove(key)),
            false => model["preparation"][key] = value.clone(),
        }
    }
    std::fs::write(path, model.to_string()).expect("a write");
    let bundle = Bundle::load(written.directory.path()).expect("a well-formed bundle");
    let program = bundle.program().expect("a calibrated bundle");
    (written, bundle, program)
}

fn prepare(bundle: &Bundle, program: &Program, volume: &Volume) -> Prepared {
    bundle.prepare(program, volume, Path::new("v.nii")).expect("a volume of the model's kind")
}

/// Smooth random values at the voxels of a grid whose axes run as RAS.
fn scan(dims: [usize; 3], sides: [f64; 3]) -> Volume {
    let mut numbers = Numbers(17);
    let data = (0..dims.iter().product()).map(|_| numbers.draw().into()).collect();
    let affine = [[sides[0], 0.0, 0.0, -20.0], [0.0, sides[1], 0.0, 30.0], [0.0, 0.0, sides[2], 5.0]];
    Volume { dims, data, header: Header::on(dims, &Affine(affine)) }
}

fn index(at: [usize; 3], dims: [usize; 3]) -> usize {
    (at[0] * dims[1] + at[1]) * dims[2] + at[2]
}

/// All voxels of a grid.
fn places(dims: [usize; 3]) -> impl Iterator<Item = [usize; 3]> {
    (0..dims.iter().product()).map(move |v| [v / (dims[1] * dims[2]), v / dims[2] % dims[1], v % dims[2]])
}

/// One of the 48 ways to store a grid: stored axis s is the world's `order[s]`, backwards where `turned[s]`.
#[derive(Clone, Copy, Debug)]
struct Way {
    order: [usize; 3],
    turned: [bool; 3],
}

impl Way {
    fn all() -> impl Iterator<Item = Self> {
        let orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
        orders
            .into_iter()
            .flat_map(|order| (0..8).map(move |n| Self { order, turned: [0, 1, 2].map(|s| n >> s & 1 == 1) }))
    }

    /// Where a voxel of the upright grid is stored.
    fn place(self, at: [usize; 3], upright: [usize; 3]) -> [usize; 3] {
        [0, 1, 2].map(|s| {
            let (v, size) = (at[self.order[s]], upright[self.order[s]]);
            if self.turned[s] { size - 1 - v } else { v }
        })
    }

    /// An upright volume stored this way.
    fn store(self, upright: &Volume) -> Volume {
        let dims = self.order.map(|axis| upright.dims[axis]);
        let mut data = vec![0.0; upright.data.len()];
        for at in places(upright.dims) {
            data[index(self.place(at, upright.dims), dims)] = upright.data[index(at, upright.dims)];
        }
        let own = upright.header.affine().expect("an sform");
        let mut rows = [[0.0; 4]; 3];
        let mut first = [0.0; 3];
        for (s, (axis, turned)) in self.order.into_iter().zip(self.turned).enumerate() {
            let sign = if turned { -1.0 } else { 1.0 };
            if turned {
                first[axis] = upright.dims[axis] as f64 - 1.0;
            }
            rows.iter_mut().zip(own.0).for_each(|(row, own)| row[s] = sign * own[axis]);
        }
        let origin = own.apply(first);
        (0..3).for_each(|w| rows[w][3] = origin[w]);
        Volume { dims, data, header: Header::on(dims, &Affine(rows)) }
    }
}

/// All ways to store a scan give the network the same input and the world the same labels.
fn same_in_all_ways(keys: Value, dims: [usize; 3], sides: [f64; 3]) {
    let (_directory, bundle, _) = network(keys);
    same_for(&bundle, dims, sides);
}

/// The labels of a volume on its own grid, and the network's input.
fn labelled(bundle: &Bundle, volume: &Volume) -> (LabelMap, Prepared) {
    let (program, prepared) =
        bundle.job(std::slice::from_ref(volume), Path::new("v.nii")).expect("a volume of the model's kind");
    let labels = plain::run(&program, &prepared.integers, Rounding::Nearest).labels;
    (prepared.placement.restore(&labels, volume), prepared)
}

pub(crate) fn same_for(bundle: &Bundle, dims: [usize; 3], sides: [f64; 3]) {
    let upright = scan(dims, sides);
    let (expected, prepared) = labelled(bundle, &upright);
    assert!((0..3).all(|l| expected.data.contains(&l)), "all labels occur");
    let (mut ways, seen) = (0, prepared.placement.seen());
    for way in Way::all() {
        let stored = way.store(&upright);
        let (map, prepared) = labelled(bundle, &stored);
        assert_eq!((map.dims, map.header.affine()), (stored.dims, stored.header.affine()), "{way:?}");
        for at in places(dims) {
            let found = map.data[index(way.place(at, dims), stored.dims)];
            assert_eq!(found, expected.data[index(at, dims)], "{way:?} at {at:?}");
        }
        let bounds = prepared.placement.seen().bounds;
        assert!(
            bounds.iter().flatten().zip(seen.bounds.iter().flatten()).all(|(a, b)| (a - b).abs() < 1e-4),
            "{way:?}"
        );
        // A label map stored this way is the same on the upright grid, and the other way round.
        let onto = map.onto(&upright).expect("the same voxels");
        assert!(onto.data == expected.data && expected.onto(&stored).expect("the same voxels").data == map.data);
        ways += 1;
    }
    assert_eq!(ways, 48);
}

#[test]
fn all_orders_of_axes_give_the_same_labels() {
    same_in_all_ways(json!({}), [9, 6, 11], [1.0, 1.5, 0.8]);
    // All of it, in one pass and cut to its brighter part.
    same_in_all_ways(json!({"pad_to": null, "crop": null, "divisor": [4, 4, 4]}), [9, 6, 11], [1.0, 1.5, 0.8]);
    let bright = json!({"above": 0.9, "margin": 1});
    same_in_all_ways(json!({"pad_to": null, "crop": bright, "divisor": [4, 4, 8]}), [7, 6, 9], [1.0, 1.5, 0.8]);
}

#[test]
fn all_orders_of_axes_give_the_same_labels_at_another_spacing() {
    same_in_all_ways(json!({"spacing": [1.0, 1.25, 1.5]}), [17, 12, 9], [0.5, 1.0, 1.5]);
    same_in_all_ways(json!({"spacing": [1.0, 1.0, 1.0], "labels": "nearest"}), [7, 6, 4], [1.0, 1.3, 3.0]);
}

#[test]
fn labels_come_back_to_their_own_voxels_exactly() {
    let (_directory, bundle, program) = network(json!({"spacing": [1.0, 1.0, 1.0]}));
    let upright = scan([8, 8, 8], [1.0, 1.0, 1.0004]);
    let labels: Vec<u8> = (0..512).map(|v| (v * 7 % 251) as u8).collect();
    for way in Way::all() {
        let stored = way.store(&upright);
        let map = prepare(&bundle, &program, &stored).placement.restore(&labels, &stored);
        for (at, &label) in places([8, 8, 8]).zip(&labels) {
            assert_eq!(map.data[index(way.place(at, [8, 8, 8]), map.dims)], label, "{way:?}");
        }
    }
}

/// A scan turned in the scanner is taken along its nearest axes; where two are as near, nobody can say.
#[test]
fn oblique_scans_keep_their_nearest_axes() {
    let (_directory, bundle, program) = network(json!({}));
    let upright = scan([8, 9, 7], [1.0; 3]);
    let turned = |degrees: f64| {
        let (sin, cos) = degrees.to_radians().sin_cos();
        let affine = Affine([[cos, 0.0, sin, 1.0], [0.0, 1.0, 0.0, 2.0], [-sin, 0.0, cos, 3.0]]);
        Volume { header: Header::on(upright.dims, &affine), ..upright.clone() }
    };
    let expected = prepare(&bundle, &program, &upright);
    for degrees in [-40.0, 10.0, 44.0] {
        let prepared = prepare(&bundle, &program, &turned(degrees));
        assert_eq!(prepared.integers, expected.integers);
        assert!(prepared.warnings.is_empty(), "{:?}", prepared.warnings);
    }
    let error =
        bundle.prepare(&program, &turned(45.0), Path::new("v.nii")).map(drop).expect_err("ambiguous").to_string();
    mentions(&error, &["v.nii", "orientation", "45 degrees"]);
    let mut sheared = upright.clone();
    sheared.header =
        Header::on(sheared.dims, &Affine([[1.0, 0.2, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]]));
    mentions(&prepare(&bundle, &program, &sheared).warnings.concat(), &["v.nii", "11.3 degrees", "sheared"]);
}

/// Axes and voxels come out as nibabel's canonical form and MONAI's Spacing make them.
#[test]
fn grids_are_those_of_nibabel_and_monai() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/geometry");
    let wanted =
        [("turned", [1.0; 3]), ("finer", [1.0, 1.0, 0.8]), ("coarser", [1.0, 1.5, 1.0]), ("oblique", [1.0; 3])];
    for (name, sides) in wanted {
        let keys = json!({"spacing": sides, "pad_to": null, "crop": null, "divisor": [1, 1, 1], "normalise": "none"});
        let (_directory, bundle, _) = network(keys);
        let inputs = bundle.inputs(&folder.join(format!("{name}.nii.gz"))).expect("a volume of the model's kind");
        let expected = Volume::load(&folder.join(format!("{name}.ras.nii.gz"))).expect("a volume");
        assert_eq!((inputs.grid, inputs.values.len()), (expected.dims, 1), "{name}");
        let range = expected.data.iter().fold([f64::MAX, f64::MIN], |[a, b], &v| [a.min(v), b.max(v)]);
        assert_eq!(inputs.values[0].len(), expected.data.len());
        for (found, expected) in inputs.values[0].iter().zip(&expected.data) {
            assert!((f64::from(*found) - expected).abs() < 1e-3 * (range[1] - range[0]), "{name}: {found}, {expected}");
        }
    }
}

#[test]
fn what_the_model_or_the_file_leaves_open_is_said() {
    let (_directory, bundle, program) = network(json!({"spacing": [1.0, 1.0, 1.0], "resample": "none"}));
    let refusal =
        |volume: &Volume| bundle.prepare(&program, volume, Path::new("v.nii")).map(drop).expect_err("a refusal");
    mentions(
        &refusal(&scan([8; 3], [1.0, 1.0, 2.0])).to_string(),
        &["v.nii", "spacing", "1 x 1 x 2 mm", "1 x 1 x 1 mm"],
    );
    let (_directory, bundle, program) = network(json!({"spacing": [1.0, 1.0, 1.0]}));
    let silent = |sides: [f64; 3]| {
        let mut volume = scan([8; 3], sides);
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("s.nii");
        volume.save(&path).expect("a write");
        let mut bytes = std::fs::read(&path).expect("a read");
        bytes[254..256].fill(0);
        std::fs::write(&path, bytes).expect("a write");
        volume = Volume::load(&path).expect("its own file");
        volume
    };
    let error = bundle.prepare(&program, &silent([1.0; 3]), Path::new("v.nii")).map(drop).expect_err("no orientation");
    mentions(&error.to_string(), &["v.nii", "orientation", "sform_code and qform_code", "--assume RAS"]);
    mentions(
        &prepare(&bundle, &program, &scan([8; 3], [5.0; 3])).warnings.concat(),
        &["v.nii", "5 x 5 x 5 mm", "domain"],
    );
    let huge =
        bundle.prepare(&program, &scan([200; 3], [900.0; 3]), Path::new("v.nii")).map(drop).expect_err("too large");
    mentions(&huge.to_string(), &["v.nii", "spacing", "180000", "at most"]);

    // A model of its files' own order takes what comes, and says so.
    let (_directory, bundle, program) = network(json!({"orientation": null}));
    let prepared = prepare(&bundle, &program, &silent([1.0; 3]));
    assert_eq!(prepared.warnings.len(), 1);
    mentions(&prepared.warnings[0], &[MODEL_FILE, "orientation", "voxel order of its files"]);
    assert!(!prepared.placement.seen().millimetres);
}

/// The box that the network saw, in millimetres of the world.
#[test]
fn the_box_looked_at_is_told_in_millimetres() {
    let (_directory, bundle, program) = network(json!({"spacing": [1.0, 1.0, 1.0]}));
    let seen = |dims, sides| prepare(&bundle, &program, &scan(dims, sides)).placement.seen();
    let whole = seen([8, 8, 8], [1.0; 3]);
    assert_eq!((whole.share, whole.part, whole.bounds[0]), (1.0, false, [-20.5, -12.5]));
    // 20 mm along i from -20.5 mm on, of which the middle 8.
    let part = seen([20, 8, 8], [1.0; 3]);
    assert_eq!((part.share, part.part, part.bounds), (0.4, true, [[-14.5, -6.5], [29.5, 37.5], [4.5, 12.5]]));
    let fine = seen([40, 8, 4], [0.5, 1.0, 2.0]);
    assert_eq!((fine.share, fine.part, fine.bounds), (0.4, true, [[-14.25, -6.25], [29.5, 37.5], [4.0, 12.0]]));
    mentions(&part.to_string(), &["R -14.5 to -6.5", "A 29.5 to 37.5", "S 4.5 to 12.5", "mm", "40.0 %"]);

    // What the shipped models leave out at the rim on purpose is told, but is no missing part.
    let bundle = Bundle::load(&demo_path("models/hippo_relu")).expect("a shipped bundle");
    let program = bundle.program().expect("a calibrated bundle");
    for (dims, share, part) in
        [([36, 50, 36], 0.758_5, false), ([41, 48, 32], 0.780_5, true), ([32, 48, 32], 1.0, false)]
    {
        let seen = prepare(&bundle, &program, &scan(dims, [1.0; 3])).placement.seen();
        assert!((seen.share - share).abs() < 1e-3 && seen.part == part, "{dims:?}: {seen:?}");
    }
}

/// Eight labels that meet in the middle still meet there at any other spacing, and nothing else is labelled.
#[test]
fn labels_keep_their_borders_at_another_spacing() {
    let octant = |at: [f64; 3]| 1 + at.iter().fold(0, |n, v| 2 * n + u8::from(*v > 0.0));
    let middle = |at: [usize; 3], dims: [usize; 3]| [0, 1, 2].map(|a| at[a] as f64 - (dims[a] as f64 - 1.0) / 2.0);
    let coarse: Vec<u8> = places([8; 3]).map(|at| octant(middle(at, [8; 3]))).collect();
    for labels in ["linear", "nearest"] {
        let (_directory, bundle, program) = network(json!({"spacing": [1.0, 1.0, 1.0], "labels": labels}));
        for sides in [[0.5, 0.5, 0.5], [0.4, 0.7, 1.0], [1.0, 0.8, 0.3], [2.0, 1.3, 3.9]] {
            let dims = sides.map(|side: f64| (8.0 / side).round() as usize);
            let volume = scan(dims, sides);
            let map = prepare(&bundle, &program, &volume).placement.restore(&coarse, &volume);
            for (at, &label) in places(dims).zip(&map.data) {
                let place = middle(at, dims);
                // In the middle of an axis two labels have equal shares.
                if place.iter().all(|v| *v != 0.0) {
                    assert_eq!(label, octant(place), "{labels} {sides:?} {at:?}");
                } else {
                    assert!(label > 0, "{labels} {sides:?} {at:?}");
                }
            }
        }
    }
}

/// The shipped head at half a millimetre: the labels lie where they lie at one. Sampled from the 1 mm file they are
/// nearly the same; the half-millimetre files are of the same head, but masked and smoother, so that fewer voxels are
/// labelled.
#[test]
fn the_shipped_head_at_half_a_millimetre_has_its_labels_in_the_same_place() {
    let bundle = Bundle::load(&demo_path("models/hippo_hybrid")).expect("a shipped bundle");
    let program = bundle.program().expect("a calibrated bundle");
    let load = |name: String| Volume::load(&demo_path(&format!("volumes/images/{name}.nii.gz"))).expect("shipped");
    let label = |volume: &Volume| {
        let prepared = prepare(&bundle, &program, volume);
        let run = plain::run(&program, &prepared.integers, Rounding::Nearest);
        prepared.placement.restore(&run.labels, volume)
    };
    for side in ["left", "right"] {
        let (one, half) = (load(format!("colin27_{side}")), load(format!("colin27_half_mm_{side}")));
        // Each voxel as eight, about the same centre.
        let affine = one.header.affine().expect("an sform");
        let origin = affine.apply([-0.25; 3]);
        let rows = [0, 1, 2].map(|w| {
            let [x, y, z, _] = affine.0[w].map(|v| v / 2.0);
            [x, y, z, origin[w]]
        });
        let dims = one.dims.map(|d| 2 * d);
        let data = places(dims).map(|at| one.data[index(at.map(|v| v / 2), one.dims)]).collect();
        let eight = Volume { dims, data, header: Header::on(dims, &Affine(rows)) };

        let expected = label(&one);
        let thin = |map: &LabelMap| -> Vec<u8> {
            places(one.dims).map(|at| map.data[index(at.map(|v| 2 * v), dims)]).collect()
        };
        let same = dice(&expected.data, &thin(&label(&eight)), 3);
        // Voxel (i, j, k) of the 1 mm file has the place of (2i, 2j, 2k) in the other.
        assert_eq!(affine.apply([3.0; 3]), half.header.affine().expect("an sform").apply([6.0; 3]));
        let fine = thin(&label(&half));
        let inside = fine.iter().zip(&expected.data).filter(|(f, e)| **f > 0 && **e > 0).count();
        let part = inside as f64 / fine.iter().filter(|l| **l > 0).count() as f64;
        println!(
            "{side}: as eight voxels Dice {same:?}; of the half-millimetre file's labels {part:.3} lie in those at 1 mm"
        );
        assert!(same.iter().all(|d| *d > 0.9), "{side}: {same:?}");
        assert!(part > 0.8, "{side}: {part}");
    }
}

/// Values far from zero keep their differences until they are normalised.
#[test]
fn large_numbers_are_normalised_before_they_are_rounded() {
    let (_directory, bundle, program) = network(json!({}));
    let near = scan([8; 3], [1.0; 3]);
    let far = Volume { data: near.data.iter().map(|v| v * 100.0 + 2e9).collect(), ..near.clone() };
    let (near, far) = (prepare(&bundle, &program, &near).real, prepare(&bundle, &program, &far).real);
    let worst = near.iter().zip(&far).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst < 1e-5, "{worst}");
}

/// Values on a scale of their own, such as Hounsfield units, go through a line, and what lies beyond is cut off.
#[test]
fn ranges_go_to_ranges() {
    let normalise = json!({"range": {"from": [-57.0, 164.0], "to": [0.0, 1.0]}});
    let (_directory, bundle, program) = network(json!({"normalise": normalise, "clamp": [0.0, 1.0]}));
    let mut volume = scan([8; 3], [1.0; 3]);
    let values = [-57.0, 164.0, 53.5, -1000.0, 3000.0];
    volume.data.iter_mut().zip(values.iter().cycle()).for_each(|(v, &value)| *v = value);
    let mut got = prepare(&bundle, &program, &volume).real;
    got.sort_by(f32::total_cmp);
    got.dedup_by(|a, b| (*a - *b).abs() < 1e-6);
    assert!(got.len() == 3 && got.iter().zip([0.0, 0.5, 1.0]).all(|(g, w)| (g - w).abs() < 1e-6), "{got:?}");
}

#[test]
fn constant_volumes_are_refused() {
    let (_directory, bundle, program) = network(json!({}));
    let mut volume = scan([3, 4, 5], [1.0; 3]);
    volume.data.fill(7.0);
    let message = bundle.prepare(&program, &volume, Path::new("flat.nii")).map(drop).expect_err("constant").to_string();
    mentions(&message, &["flat.nii", "constant"]);
}

#[test]
fn small_and_large_volumes_fit_the_grid_and_return_to_their_own() {
    let bundle = Bundle::load(&demo_path("models/hippo_relu")).expect("a shipped bundle");
    let program = bundle.program().expect("a calibrated bundle");
    for dims in [[3, 4, 5], [70, 20, 41], [39, 57, 90], [1, 1, 2]] {
        let count = dims.iter().product::<usize>();
        let data = (0..count).map(|v| (v % 7) as f64).collect();
        let volume = Volume { dims, data, header: Header::new(dims, 1.0) };
        let prepared = prepare(&bundle, &program, &volume);
        let inside = prepared.real.iter().filter(|v| **v != 0.0).count();
        let labels = vec![1; prepared.real.len()];
        let restored = prepared.placement.restore(&labels, &volume);
        assert_eq!(restored.data.len(), count);
        assert!(restored.data.iter().filter(|l| **l == 1).count() >= inside);
        // A volume that fits within the network's grid is labelled everywhere.
        if dims.iter().zip([32, 48, 32]).all(|(d, n)| *d <= n) {
            assert!(restored.data.iter().all(|l| *l == 1), "{dims:?}");
        }
    }
}
