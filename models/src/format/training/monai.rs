//! A bundle of MONAI's model zoo: the transforms of `configs/inference.json` one by one.
//!
//! References (`@name`, `%name`) are followed; what is an expression of Python (`$...`) can't be, and is named. All that is
//! not understood stands in one message.

use std::path::Path;

use serde_json::Value;

use super::{Training, by_number, json, numbers, sizes, wrong};
use crate::data::prepare::{Channel, Crop, Foreground, Normalise, Preparation, Resample, Window};
use crate::error::Result;
use crate::windows::{Blend, Positions, Sliding};

/// What changes no value of a volume.
const PASSIVE: [&str; 8] = [
    "LoadImage",
    "EnsureChannelFirst",
    "EnsureType",
    "ToTensor",
    "CastToType",
    "AddChannel",
    "AsChannelFirst",
    "ToDevice",
];

/// Reads a bundle's folder.
///
/// # Errors
/// [`crate::Error::Io`] without the files, [`crate::Error::Input`] naming the file and all that is not understood.
pub fn read(folder: &Path) -> Result<Training> {
    let path = folder.join("configs/inference.json");
    let config = json(&path)?;
    let metadata_path = folder.join("configs/metadata.json");
    let metadata = if metadata_path.is_file() { json(&metadata_path)? } else { Value::Null };
    let format = &metadata["network_data_format"];
    let channels = by_number(&format["inputs"]["image"]["channel_def"]);
    let count = channels.as_ref().map_or(1, Vec::len);
    let mut reader = Reader { config: &config, count, preparation: Preparation::default(), rule: None, faults: vec![] };
    match reader.transforms() {
        Some(transforms) => transforms.iter().for_each(|t| reader.transform(t)),
        None => reader.faults.push("preprocessing: found no list of transforms".to_owned()),
    }
    reader.inferer();
    let Reader { mut preparation, rule, faults, .. } = reader;
    if !faults.is_empty() {
        let all = faults.join("; ");
        return Err(wrong(&path, &format!("{all}; say it in a file with --preparation instead")));
    }
    let mut notices = Vec::new();
    if preparation.orientation.is_none() {
        notices.push("preparation: no Orientationd, so axes stay as files have them".to_owned());
    }
    let rule = rule.unwrap_or(Normalise::None);
    match channels {
        Some(names) if names.len() > 1 => {
            preparation.channels = names.into_iter().map(|name| Channel { name, normalise: rule }).collect();
        }
        _ => preparation.normalise = Some(rule),
    }
    let classes = by_number(&format["outputs"]["pred"]["channel_def"]);
    Ok(Training { preparation, classes, notices })
}

struct Reader<'a> {
    config: &'a Value,
    /// Channels of a scan.
    count: usize,
    preparation: Preparation,
    rule: Option<Normalise>,
    /// What is not understood.
    faults: Vec<String>,
}

impl<'a> Reader<'a> {
    fn transforms(&self) -> Option<&'a Vec<Value>> {
        let found = self.followed(&self.config["preprocessing"]);
        self.followed(if found.is_array() { found } else { &found["transforms"] }).as_array()
    }

    /// What a reference stands for.
    fn followed(&self, value: &'a Value) -> &'a Value {
        let mut value = value;
        // References that lead back to themselves end somewhere.
        for _ in 0..8 {
            let Some(name) = value.as_str().and_then(|text| text.strip_prefix(['@', '%'])) else { break };
            let step = |at: &'a Value, part: &str| match part.parse::<usize>() {
                Ok(index) if at.is_array() => &at[index],
                _ => &at[part],
            };
            value = name.split(['#', ':']).filter(|p| !p.is_empty()).fold(self.config, step);
        }
        value
    }

    /// A field, if it is there and no expression.
    fn field(&mut self, node: &'a Value, name: &str) -> Option<&'a Value> {
        let value = self.followed(&node[name]);
        match value.as_str() {
            Some(text) if text.starts_with('$') => {
                self.faults.push(format!("{}: {name}: found an expression {text:?}", target(node)));
                None
            }
            _ => Some(value).filter(|v| !v.is_null()),
        }
    }

    fn number(&mut self, node: &'a Value, name: &str, default: f64) -> f64 {
        self.field(node, name).and_then(Value::as_f64).unwrap_or(default)
    }

    fn flag(&mut self, node: &'a Value, name: &str) -> bool {
        self.field(node, name).and_then(Value::as_bool).unwrap_or(false)
    }

    fn transform(&mut self, node: &'a Value) {
        let node = self.followed(node);
        if self.flag(node, "_disabled_") {
            return;
        }
        let name = target(node);
        match name {
            passive if PASSIVE.contains(&passive) => {}
            "Orientation" => match self.field(node, "axcodes").and_then(Value::as_str).map(str::parse) {
                Some(Ok(orientation)) => self.preparation.orientation = Some(orientation),
                _ => self.fault(node, "axcodes"),
            },
            "Spacing" => match self.field(node, "pixdim").and_then(|v| numbers(v, 3)) {
                Some(sides) => {
                    (self.preparation.spacing, self.preparation.resample) = (Some(sides), Some(Resample::Linear));
                }
                None => self.fault(node, "pixdim"),
            },
            "ScaleIntensityRange" => {
                let from = ["a_min", "a_max"].map(|n| self.number(node, n, f64::NAN));
                let to = [self.number(node, "b_min", 0.0), self.number(node, "b_max", 1.0)];
                let clip = self.flag(node, "clip");
                self.normalise(node, Normalise::Range { from, to, clip });
            }
            "ScaleIntensityRangePercentiles" if !self.flag(node, "relative") => {
                let from = ["lower", "upper"].map(|n| self.number(node, n, f64::NAN));
                let to = [self.number(node, "b_min", 0.0), self.number(node, "b_max", 1.0)];
                let clip = self.flag(node, "clip");
                self.by_channel(node);
                self.normalise(node, Normalise::Percentiles { from, to, clip });
            }
            "ScaleIntensity" if self.field(node, "factor").is_none() => {
                let to = [self.number(node, "minv", 0.0), self.number(node, "maxv", 1.0)];
                self.by_channel(node);
                self.normalise(node, Normalise::Percentiles { from: [0.0, 100.0], to, clip: false });
            }
            "NormalizeIntensity" => self.z_score(node),
            "CropForeground" => self.crop(node),
            "DivisiblePad" => match self.field(node, "k").and_then(|v| numbers(v, 3)) {
                Some(k) if k.iter().all(|k| *k >= 1.0) => {
                    self.preparation.divisor = k.iter().map(|k| *k as usize).collect();
                }
                _ => self.fault(node, "k"),
            },
            other => self.faults.push(format!("found the transform {other:?}")),
        }
    }

    fn fault(&mut self, node: &Value, field: &str) {
        self.faults.push(format!("{}: {field}: found {}", target(node), node[field]));
    }

    /// Several channels are normalised one by one or not at all here.
    fn by_channel(&mut self, node: &'a Value) {
        if self.count > 1 && !self.flag(node, "channel_wise") {
            self.faults.push(format!("{}: found statistics of {} channels together", target(node), self.count));
        }
    }

    fn normalise(&mut self, node: &Value, rule: Normalise) {
        if !rule.is_sound() {
            self.faults.push(format!("{}: found {rule:?}", target(node)));
        }
        if self.rule.replace(rule).is_some() {
            self.faults.push(format!("{}: found a second normalisation", target(node)));
        }
    }

    fn z_score(&mut self, node: &'a Value) {
        let given = ["subtrahend", "divisor"].map(|n| self.field(node, n).and_then(Value::as_f64));
        let nonzero = self.flag(node, "nonzero");
        let rule = match given {
            [Some(mean), Some(by)] if !nonzero => {
                Normalise::Range { from: [mean, mean + by], to: [0.0, 1.0], clip: false }
            }
            [None, None] => {
                self.by_channel(node);
                if nonzero { Normalise::ZScoreNonzero } else { Normalise::ZScore }
            }
            _ => return self.faults.push("NormalizeIntensity: found subtrahend and divisor beside nonzero".to_owned()),
        };
        self.normalise(node, rule);
    }

    /// The box of what is above 0 when it is cut: before a line is applied, or behind it.
    fn crop(&mut self, node: &'a Value) {
        if node.get("select_fn").is_some() {
            return self.fault(node, "select_fn");
        }
        let margin = match self.field(node, "margin").map(Value::as_u64) {
            None => 0,
            Some(Some(margin)) => usize::try_from(margin).unwrap_or(usize::MAX).min(1 << 16),
            Some(None) => return self.fault(node, "margin"),
        };
        let above = match self.rule {
            None | Some(Normalise::None) => 0.0,
            Some(Normalise::Range { from: [a, b], to: [c, d], .. }) => a - c * (b - a) / (d - c),
            Some(_) => {
                return self.faults.push("CropForeground: found it behind a normalisation by statistics".to_owned());
            }
        };
        self.preparation.crop = Crop::Foreground(Foreground { above, margin });
    }

    fn inferer(&mut self) {
        let node = self.followed(&self.config["inferer"]);
        match target(node) {
            "SlidingWindowInferer" => {
                let overlap = self.number(node, "overlap", 0.25);
                let sigma = self.number(node, "sigma_scale", 0.125);
                let blend = match self.field(node, "mode").and_then(Value::as_str) {
                    Some("gaussian") => Blend::Gaussian,
                    _ => Blend::Constant,
                };
                match self.field(node, "roi_size").and_then(sizes) {
                    Some(size) => {
                        let sliding = Sliding { size, overlap, blend, sigma, grid: Positions::Monai };
                        self.preparation.window = Some(Window::Sliding(sliding));
                    }
                    None => self.fault(node, "roi_size"),
                }
            }
            // One pass, or nothing said: the network's own grid decides.
            "SimpleInferer" | "" => {}
            other => self.faults.push(format!("inferer: found {other:?}")),
        }
    }
}

/// The class that a node names, without its module and the ending of those that work on dictionaries.
fn target(node: &Value) -> &str {
    let name = node["_target_"].as_str().unwrap_or_default().rsplit('.').next().unwrap_or_default();
    ["Dict", "d", "D"].into_iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name)
}
