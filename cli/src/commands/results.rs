//! What `segment` writes beside the labels: a table of the classes, and a mask of each.

use std::path::{Path, PathBuf};

use blindvox_models::atomic::Staged;
use blindvox_models::data::labels::LabelMap;
use blindvox_models::data::nifti::Volume;
use blindvox_models::data::statistics::{ClassStatistics, statistics};
use blindvox_protocols::{Error, Result};
use serde::Serialize;

use crate::args::SegmentArgs;
use crate::ui::files;

/// What `--statistics` writes.
#[derive(Serialize)]
struct Statistics<'a> {
    model: &'a str,
    classes: Vec<ClassStatistics>,
}

/// The files of all classes' masks but the background's, by number and name.
pub(super) fn masks(folder: &Path, classes: &[String]) -> Vec<PathBuf> {
    let plain = |c: char| if c.is_alphanumeric() || matches!(c, '-' | '_') { c } else { '_' };
    let name = |(label, name): (usize, &String)| {
        let name: String = name.chars().map(plain).take(60).collect();
        folder.join(format!("{label:03}_{name}.nii.gz"))
    };
    classes.iter().enumerate().skip(1).map(name).collect()
}

/// Writes what was asked for beside its places.
///
/// # Errors
/// [`Error::Io`].
pub(super) fn stage(
    args: &SegmentArgs,
    model: &str,
    classes: &[String],
    volume: &Volume,
    map: &LabelMap,
) -> Result<Vec<Staged>> {
    let mut staged = Vec::new();
    if let Some(path) = &args.statistics {
        let all = Statistics { model, classes: statistics(map, volume, classes) };
        let json = serde_json::to_vec_pretty(&all).map_err(|e| Error::Input(format!("{}: {e}", path.display())))?;
        staged.push(files::stage(path, &json)?);
    }
    if let Some(folder) = &args.masks {
        for (label, path) in (1..=u8::MAX).zip(masks(folder, classes)) {
            let data = map.data.iter().map(|&l| u8::from(l == label)).collect();
            staged.push(LabelMap { data, ..map.clone() }.stage(&path)?);
        }
    }
    Ok(staged)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_have_files_of_their_own_in_the_folder() {
        let names = ["background", "left/../kidney", "left...kidney", ""].map(String::from);
        let files = masks(Path::new("m"), &names);
        let want = ["m/001_left____kidney.nii.gz", "m/002_left___kidney.nii.gz", "m/003_.nii.gz"];
        assert_eq!(files, want.map(PathBuf::from));
    }
}
