//! A model of nnU-Net, version 2: `plans.json` and `dataset.json`.
//!
//! Its arrays have the file's axes in the order k, j, i, transposed by the plans. Files are read as they are stored
//! unless the plans name the reader that turns them to RAS.

use std::path::Path;

use serde_json::Value;

use super::{Training, by_number, json, numbers, sizes, wrong};
use crate::data::prepare::{Channel, Crop, Foreground, Normalise, Preparation, Resample, Window};
use crate::error::Result;
use crate::windows::{Blend, Positions, Sliding};

/// The configuration that is taken where the folder's name says none.
const CONFIGURATION: &str = "3d_fullres";

/// Reads a model's folder, such as `nnUNetTrainer__nnUNetPlans__3d_fullres`.
///
/// # Errors
/// [`crate::Error::Io`] without the files, [`crate::Error::Input`] naming the file and the field.
pub fn read(folder: &Path) -> Result<Training> {
    let (plans_path, dataset_path) = (folder.join("plans.json"), folder.join("dataset.json"));
    let (plans, dataset) = (json(&plans_path)?, json(&dataset_path)?);
    let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let stated = name.rsplit_once("__").map(|(_, configuration)| configuration);
    let configurations = &plans["configurations"];
    let chosen = stated.filter(|c| configurations.get(c).is_some()).unwrap_or(CONFIGURATION);
    let configuration = &configurations[chosen];
    let field = |what: &str, found: &Value, expected: &str| {
        wrong(&plans_path, &format!("configurations.{chosen}.{what}: found {found}, expected {expected}"))
    };
    let three = |name: &str| sizes(&configuration[name]).filter(|list| list.len() == 3);
    let size = three("patch_size").ok_or_else(|| {
        field("patch_size", &configuration["patch_size"], "three sizes (2D models are not supported)")
    })?;
    let spacing = numbers(&configuration["spacing"], 0).filter(|list| list.len() == 3);
    let spacing = spacing.ok_or_else(|| field("spacing", &configuration["spacing"], "three sides in mm"))?;
    let order = plans["transpose_forward"].as_array().map_or_else(
        || Some(vec![0, 1, 2]),
        |list| list.iter().map(|v| v.as_u64().and_then(|v| usize::try_from(v).ok()).filter(|v| *v < 3)).collect(),
    );
    let order: [usize; 3] = order.and_then(|list| list.try_into().ok()).ok_or_else(|| {
        let found = &plans["transpose_forward"];
        wrong(&plans_path, &format!("transpose_forward: found {found}, expected an order of three axes"))
    })?;
    let letters: String = order.iter().map(|&axis| ['S', 'A', 'R'][axis]).collect();
    let orientation = letters.parse().map_err(|what: String| wrong(&plans_path, &what))?;

    let mut faults = Vec::new();
    let names = by_number(&dataset["channel_names"]).unwrap_or_else(|| vec!["image".to_owned()]);
    let rules: Vec<Normalise> = (0..names.len()).filter_map(|c| rule(&plans, configuration, c, &mut faults)).collect();
    let classes = classes(&dataset["labels"], &mut faults);
    if !faults.is_empty() {
        return Err(wrong(&plans_path, &faults.join("; ")));
    }
    let mut preparation = Preparation {
        orientation: Some(orientation),
        spacing: Some(spacing),
        resample: Some(Resample::Linear),
        window: Some(Window::Sliding(Sliding {
            size,
            overlap: 0.5,
            blend: Blend::Gaussian,
            sigma: 0.125,
            grid: Positions::Nnunet,
        })),
        ..Preparation::default()
    };
    // It cuts what is 0 around a volume. Of CT that is nothing, as air is below.
    if rules.iter().all(|r| matches!(r, Normalise::ZScore | Normalise::ZScoreNonzero)) {
        preparation.crop = Crop::Foreground(Foreground { above: 0.0, margin: 0 });
    }
    match rules[..] {
        [rule] => preparation.normalise = Some(rule),
        _ => {
            let each = names.into_iter().zip(rules);
            preparation.channels = each.map(|(name, normalise)| Channel { name, normalise }).collect();
        }
    }
    let mut notices = vec![
        "nnU-Net resamples by cubic splines and normalises before that; here values are interpolated by lines"
            .to_owned(),
    ];
    if plans["image_reader_writer"].as_str() != Some("NibabelIOWithReorient") {
        notices.push(format!(
            "nnU-Net keeps the order of its files: they were taken to run as RAS (preparation.orientation {letters}); change \
             it where the training's files run otherwise"
        ));
    }
    Ok(Training { preparation, classes, notices })
}

/// What a channel is normalised by.
fn rule(plans: &Value, configuration: &Value, channel: usize, faults: &mut Vec<String>) -> Option<Normalise> {
    let scheme = configuration["normalization_schemes"][channel].as_str().unwrap_or("nothing");
    let masked = configuration["use_mask_for_norm"][channel].as_bool().unwrap_or(false);
    let seen = &plans["foreground_intensity_properties_per_channel"][channel.to_string()];
    let seen = |name: &str| seen[name].as_f64().unwrap_or(f64::NAN);
    let rule = match scheme {
        "CTNormalization" => Normalise::Ct {
            clip: [seen("percentile_00_5"), seen("percentile_99_5")],
            mean: seen("mean"),
            deviation: seen("std"),
        },
        "ZScoreNormalization" if masked => Normalise::ZScoreNonzero,
        "ZScoreNormalization" => Normalise::ZScore,
        "NoNormalization" => Normalise::None,
        "RescaleTo01Normalization" => Normalise::Percentiles { from: [0.0, 100.0], to: [0.0, 1.0], clip: false },
        "RGBTo01Normalization" => Normalise::Range { from: [0.0, 255.0], to: [0.0, 1.0], clip: false },
        other => {
            faults.push(format!("normalization_schemes: found {other:?} for channel {channel}"));
            return None;
        }
    };
    if !rule.is_sound() {
        faults.push(format!("foreground_intensity_properties_per_channel: found {rule:?} for channel {channel}"));
    }
    Some(rule)
}

/// The labels' names by their values.
fn classes(labels: &Value, faults: &mut Vec<String>) -> Option<Vec<String>> {
    let map = labels.as_object()?;
    let mut named = Vec::with_capacity(map.len());
    for (name, value) in map {
        match value.as_u64() {
            Some(value) => named.push((value, name.clone())),
            None => {
                faults.push(format!("labels: {name}: found {value}: regions that overlap have no form here"));
            }
        }
    }
    named.sort();
    let whole = named.iter().enumerate().all(|(n, (value, _))| n as u64 == *value);
    if !whole && faults.is_empty() {
        faults.push("labels: found values that are not 0, 1, 2, ..".to_owned());
    }
    Some(named.into_iter().map(|(_, name)| name).collect())
}
