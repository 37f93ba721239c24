//! Scans that are unlike those of the calibration are told apart before a run.

use std::path::{Path, PathBuf};

use blindvox_models::data::nifti::Volume;
use blindvox_models::{Bundle, Rounding, plain};

use crate::{demo_path, model_path};

/// The lines of `prepare` about ranges, and the tensors that overflow.
fn told(model: &str, path: &Path) -> (Vec<String>, usize) {
    let bundle = Bundle::load(&model_path(model)).expect("a bundle");
    let program = bundle.program().expect("a calibrated bundle");
    let volume = Volume::load(path).expect("a volume");
    let prepared = bundle.prepare(&program, &volume, path).expect("a volume of the model's kind");
    let overflows = plain::run(&program, &prepared.integers, Rounding::Nearest).overflows().count();
    (prepared.warnings.into_iter().filter(|w| w.contains("calibrated on")).collect(), overflows)
}

/// A file of another data set, from the shipped volumes or the folder that they come from.
fn open_volume(name: &str) -> Option<PathBuf> {
    let folders = ["volumes/images", "../../shared/data/open_hippocampus/images"];
    folders.map(|folder| demo_path(folder).join(name)).into_iter().find(|path| path.is_file())
}

#[test]
fn another_head_on_quad_is_told_where_it_overflows() {
    for name in ["colin27_left.nii.gz", "colin27_right.nii.gz"] {
        let Some(path) = open_volume(name) else {
            assert!(std::env::var_os("CI").is_none(), "CI must have {name}");
            eprintln!("SKIPPED: {name} is not there");
            continue;
        };
        let (warnings, overflows) = told("hippo_quad", &path);
        assert!(overflows > 0 && warnings.len() == 1, "{name}: {overflows} tensors overflow; {warnings:?}");
        assert!(warnings[0].contains("percentile 0.5 ") && warnings[0].contains(name), "{warnings:?}");
    }
}

#[test]
fn volumes_of_the_domain_are_not() {
    let folders = ["volumes/images", "../../shared/data/hippocampus/images"];
    let numbers = ["017", "034", "051", "064", "067", "091", "105", "166"];
    let mut found = 0;
    for number in numbers {
        let paths = folders.map(|f| demo_path(f).join(format!("hippocampus_{number}.nii.gz")));
        let Some(path) = paths.into_iter().find(|p| p.is_file()) else { continue };
        found += 1;
        for model in ["hippo_quad", "hippo_hybrid", "hippo_relu", "hippo_square1"] {
            assert_eq!(told(model, &path), (Vec::new(), 0), "{model} on {number}");
        }
    }
    assert!(found == 8 || std::env::var_os("CI").is_none(), "CI must have all eight volumes, found {found}");
    if found < 8 {
        eprintln!("SKIPPED: {} of eight volumes are not there", 8 - found);
    }
}
