//! `service.toml`: what a service is told. Unknown keys are errors.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use blindvox_net::transport::tcp::Limits;
use blindvox_protocols::infer::Comparison;
use blindvox_protocols::{Error, Result};
use serde::Deserialize;

use crate::size::Size;

/// All of it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// Where clients connect, as `0.0.0.0:7443`.
    pub listen: SocketAddr,
    /// The service's own identity, `NAME.pem` of `blindvox keygen`.
    pub identity: PathBuf,
    /// Who may have what.
    pub clients: PathBuf,
    /// Certificates of authorities that vouch for clients.
    pub authorities: Option<PathBuf>,
    /// Health and metrics.
    #[serde(default = "admin")]
    pub admin: SocketAddr,
    /// Lets other machines read them.
    #[serde(default)]
    pub admin_remote: bool,
    /// Runs at a time.
    #[serde(default = "sessions")]
    pub sessions: usize,
    /// Runs that wait.
    #[serde(default = "queue")]
    pub queue: usize,
    /// Bytes that runs may take together, by estimate.
    #[serde(deserialize_with = "bytes")]
    pub memory: u64,
    /// Seconds that runs may go on after the service was told to end.
    #[serde(default = "drain")]
    pub drain: u64,
    /// Where runs are written down.
    pub audit: Option<PathBuf>,
    /// The form of log lines.
    #[serde(default)]
    pub log: Log,
    /// Seconds for a client's greeting.
    #[serde(default = "greeting")]
    pub greeting: u64,
    /// Seconds without any sign of life after which a client is given up; it sends one every 15 s.
    #[serde(default = "silence")]
    pub silence: u64,
    /// Seconds of a run.
    #[serde(default = "run_seconds")]
    pub run_seconds: u64,
    /// Who deals for rows of tables.
    pub dealer: Option<Dealer>,
    /// What is served.
    pub model: Vec<Model>,
}

/// Who deals correlated randomness: a host of a third party.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Dealer {
    /// Where it is, HOST:PORT.
    pub address: String,
    /// Its .crt file or its fingerprint.
    pub trust: String,
}

/// A model that is served.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Model {
    /// As clients name it.
    pub name: String,
    /// The bundle.
    pub path: PathBuf,
    /// How runs of it may be made; in any way where it isn't said.
    #[serde(default = "presets")]
    pub presets: Vec<Preset>,
}

/// A named way to make runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Preset {
    /// Comparisons by signs and selection, or by transfers.
    Default,
    /// Scans whole in garbled circuits, rows with ring triples: as published.
    Paper,
    /// Rows without a dealer.
    Silent,
    /// Rows with one, by one opening.
    Dealer,
}

impl Preset {
    /// The preset that makes comparisons so.
    pub(crate) fn of(comparison: Comparison) -> Self {
        match comparison {
            Comparison::SignSelect | Comparison::Transfers => Self::Default,
            Comparison::FullCircuit => Self::Paper,
        }
    }
}

fn presets() -> Vec<Preset> {
    vec![Preset::Default, Preset::Paper, Preset::Silent, Preset::Dealer]
}

/// The form of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Log {
    #[default]
    Text,
    Json,
}

fn admin() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 9464))
}

fn sessions() -> usize {
    (std::thread::available_parallelism().map_or(1, usize::from) / 2).max(1)
}

fn queue() -> usize {
    16
}

fn drain() -> u64 {
    300
}

fn greeting() -> u64 {
    10
}

fn silence() -> u64 {
    60
}

fn run_seconds() -> u64 {
    24 * 3600
}

/// A size.
fn bytes<'de, D: serde::Deserializer<'de>>(from: D) -> std::result::Result<u64, D::Error> {
    let text = String::deserialize(from)?;
    text.parse().map(|Size(bytes)| bytes).map_err(serde::de::Error::custom)
}

impl Config {
    /// Reads it; paths in it are beside it.
    ///
    /// # Errors
    /// [`Error::Input`] naming the file, the line and the key.
    pub(crate) fn load(path: &Path) -> Result<Self> {
        let wrong = |what: String| Error::Input(format!("{}: {what}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|e| wrong(e.to_string()))?;
        let mut config: Self = toml::from_str(&text).map_err(|e| wrong(one_line(&e)))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let beside = |p: &mut PathBuf| *p = folder.join(&*p);
        beside(&mut config.identity);
        beside(&mut config.clients);
        config.authorities.iter_mut().for_each(beside);
        config.audit.iter_mut().for_each(beside);
        config.model.iter_mut().for_each(|m| beside(&mut m.path));
        if let Some(dealer) = config.dealer.as_mut().filter(|d| !d.trust.starts_with("bv1:")) {
            dealer.trust = folder.join(&dealer.trust).to_string_lossy().into_owned();
        }
        if config.model.is_empty() {
            return Err(wrong("found no [[model]], expected one or more".to_owned()));
        }
        if let Some(model) = config.model.iter().find(|m| m.presets.is_empty()) {
            return Err(wrong(format!(
                "model {:?}: presets: found none, expected some of default, paper, silent, dealer",
                model.name
            )));
        }
        if config.silence < 20 {
            return Err(wrong(format!(
                "silence: found {}, expected 20 or more: clients show life every 15 s",
                config.silence
            )));
        }
        if config.sessions == 0 {
            return Err(wrong("sessions: found 0, expected 1 or more".to_owned()));
        }
        if !config.admin.ip().is_loopback() && !config.admin_remote {
            return Err(wrong(format!(
                "admin: found {}, expected an address of this machine alone, or admin_remote = true",
                config.admin
            )));
        }
        Ok(config)
    }

    /// What a peer is allowed, in a run at most.
    pub(crate) fn limits(&self) -> Limits {
        let run = Duration::from_secs(self.run_seconds);
        Limits { silence: Duration::from_secs(self.silence), total: run, wait: run, ..Limits::between_hosts() }
    }
}

/// What is wrong with a file of TOML, and in which line.
pub(crate) fn one_line(e: &toml::de::Error) -> String {
    e.to_string().lines().map(str::trim).filter(|l| !l.is_empty()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_read_with_defaults_and_bad_ones_are_one_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("service.toml");
        let load = |text: &str| {
            std::fs::write(&path, text).unwrap();
            Config::load(&path)
        };
        let good = "listen = \"0.0.0.0:7443\"\nidentity = \"s.pem\"\nclients = \"clients.toml\"\nmemory = \"12GiB\"\n\
                    [[model]]\nname = \"a\"\npath = \"m\"\n";
        let config = load(good).unwrap();
        assert_eq!((config.memory, config.queue, config.admin.port()), (12 << 30, 16, 9464));
        assert_eq!(config.model[0].path, folder.path().join("m"));
        for (bad, expected) in [
            (good.replace("12GiB", "12 apples"), "12GiB"),
            (good.replace("queue", "x") + "colour = 1\n", "colour"),
            (good.replace("12GiB\"", "12GiB\"\nsessions = 0"), "sessions"),
            (good.replace("12GiB\"", "12GiB\"\nadmin = \"0.0.0.0:1\""), "admin_remote"),
            ("listen = 3".to_owned(), "listen"),
            (good.to_owned() + "presets = []\n", "presets: found none"),
            (good.to_owned() + "presets = [\"fast\"]\n", "fast"),
        ] {
            let text = load(&bad).unwrap_err().to_string();
            assert!(text.contains(expected) && !text.contains('\n') && text.contains("service.toml"), "{text}");
        }
    }
}
