//! What a bundle says about its scans, held to its network and to the version of `model.json`.

use super::{Channel, Foreground, Preparation, three};
use crate::error::{Error, Result};
use crate::network::Shape;

/// The longest name of a channel, in bytes.
const MAX_NAME: usize = 200;

impl Preparation {
    /// Checks the preparation of rows against their number of features.
    ///
    /// # Errors
    /// [`Error::Model`] naming `file`, the field, what was found and what was expected.
    pub fn check_table(&self, file: &str, features: usize) -> Result<()> {
        let wrong = |found: &str, expected: String| {
            Err(Error::Model(format!("{file}: preparation: found {found}, expected {expected}")))
        };
        let Some(table) = &self.table else {
            return wrong("no table", format!("one with {features} columns, as the input has features"));
        };
        let alone = Self { table: self.table.clone(), ..Self::default() };
        if *self != alone {
            return wrong("keys of volumes beside table", "none".to_owned());
        }
        table.check(file, features)
    }

    /// Checks the fields of volumes against the network's input and the version of `model.json`.
    ///
    /// # Errors
    /// [`Error::Model`] naming `file`, the field, what was found and what was expected.
    pub fn check(&self, file: &str, input: Shape, planar: bool, version: u32) -> Result<()> {
        let wrong = |field: &str, found: String, expected: String| {
            Error::Model(format!("{file}: preparation.{field}: found {found}, expected {expected}"))
        };
        if self.table.is_some() {
            return Err(wrong("table", "one".into(), "none, as the input has channels and dims".into()));
        }
        self.check_channels(input.channels, &wrong)?;
        let newer = [
            ("orientation", self.orientation.is_some()),
            ("spacing", self.spacing.is_some()),
            ("resample", self.resample.is_some()),
            ("labels", self.labels.is_some()),
        ];
        let others = [
            ("normalise", self.normalise.is_some_and(|n| !n.is_old())),
            ("channels", !self.channels.is_empty()),
            ("divisor", !self.divisor.is_empty()),
            ("window", self.window.is_some()),
            ("crop", self.crop.foreground().is_some()),
        ];
        if let Some((field, _)) = newer.into_iter().chain(others).find(|(_, given)| *given && version < 2) {
            return Err(wrong(field, format!("it in version {version}"), "graph.version 2".into()));
        }
        if let Some((field, _)) = newer[1..].iter().find(|(_, given)| *given && self.orientation.is_none()) {
            return Err(wrong("orientation", "none".into(), format!("three letters such as RAS beside {field}")));
        }
        if let Some((field, _)) = newer[2..].iter().find(|(_, given)| *given && self.spacing.is_none()) {
            return Err(wrong("spacing", "none".into(), format!("the voxels' sides in mm beside {field}")));
        }
        if let Some(spacing) = &self.spacing
            && (spacing.len() != if planar { 2 } else { 3 } || !spacing.iter().all(|s| (1e-3..=1e3).contains(s)))
        {
            let expected = format!("{} sides of 0.001 to 1000 mm", if planar { 2 } else { 3 });
            return Err(wrong("spacing", format!("{spacing:?}"), expected));
        }
        if let Some([low, high]) = self.clamp
            && !(low.is_finite() && high.is_finite() && low < high)
        {
            return Err(wrong("clamp", format!("[{low}, {high}]"), "[low, high], finite".into()));
        }
        self.check_grid(input, planar, &wrong)
    }

    /// One rule a channel, each sound.
    fn check_channels(&self, channels: usize, wrong: &dyn Fn(&str, String, String) -> Error) -> Result<()> {
        match (self.normalise, self.channels.len()) {
            (Some(_), 0) if channels == 1 => {}
            (Some(_), 0) => {
                let expected =
                    "1 beside normalise, as a volume has (preparation.channels says one for each of several)";
                return Err(wrong("channels", channels.to_string(), expected.into()));
            }
            (None, 0) => {
                let expected = "z_score, range, percentiles, ct or none";
                return Err(wrong("normalise", "none of it".into(), expected.into()));
            }
            (Some(_), _) => return Err(wrong("normalise", "it beside channels".into(), "one of both".into())),
            (None, count) if count != channels => {
                return Err(wrong("channels", count.to_string(), format!("{channels}, as the network's input has")));
            }
            (None, _) => {}
        }
        if let Some(rule) = self.rules().find(|rule| !rule.is_sound()) {
            let expected = "from and to or clip, each a low and a high value, finite, and deviations above 0";
            return Err(wrong("normalise", format!("{rule:?}"), expected.into()));
        }
        let bad = |c: &&Channel| c.name.len() > MAX_NAME || c.name.chars().any(char::is_control);
        match self.channels.iter().find(bad) {
            Some(channel) => {
                let shown: String = channel.name.chars().take(40).collect();
                let expected = format!("names of at most {MAX_NAME} bytes, no control characters");
                Err(wrong("channels", format!("{shown:?}"), expected))
            }
            None => Ok(()),
        }
    }

    /// One grid for all that is the network's, or such as it takes.
    fn check_grid(&self, input: Shape, planar: bool, wrong: &dyn Fn(&str, String, String) -> Error) -> Result<()> {
        if let Some(Foreground { above, .. }) = self.crop.foreground().filter(|f| !f.above.is_finite()) {
            return Err(wrong("crop.above", above.to_string(), "a finite value".into()));
        }
        let native = if planar { &input.dims[1..] } else { &input.dims[..] };
        if !self.is_of_any_size() {
            let sizes = three(&self.pad_to, planar, 1).zip(self.crop.margins(planar));
            let target = sizes.map(|(pad, crop)| {
                let side = |a: usize| crop[a].checked_mul(2).and_then(|c| pad[a].checked_sub(c));
                [side(0), side(1), side(2)]
            });
            if target != Some(input.dims.map(Some)) {
                let found = format!("{:?} less twice {:?}", self.pad_to, self.crop.ends());
                return Err(wrong("pad_to, crop", found, format!("the input's {:?}", input.dims)));
            }
            return Ok(());
        }
        if !self.pad_to.is_empty() || !self.crop.ends().is_empty() {
            return Err(wrong("pad_to, crop", "a grid beside divisor or window".into(), "one of both".into()));
        }
        if let Some((field, found, expected)) = self.sliding().and_then(|s| s.fault(native)) {
            return Err(wrong(&format!("window.{field}"), found, expected));
        }
        let fits = |(d, n): (&usize, &usize)| *d > 0 && n.is_multiple_of(*d);
        let every = self.divisor.len() == native.len() && self.divisor.iter().zip(native).all(fits);
        match self.divisor.is_empty() {
            true if self.sliding().is_some() => Ok(()),
            false if every => Ok(()),
            _ => Err(wrong("divisor", format!("{:?}", self.divisor), format!("divisors of the input's {native:?}"))),
        }
    }
}
