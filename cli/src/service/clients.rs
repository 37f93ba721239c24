//! `clients.toml`: who may have what. Read anew when it changes; who is taken out finishes what runs, and starts nothing.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use blindvox_net::identity::Pin;
use blindvox_net::{Code, Refusal};
use blindvox_protocols::{Error, Result};
use serde::Deserialize;

use super::config::one_line;

/// How often the file is looked at.
const LOOK: Duration = Duration::from_secs(1);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    client: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    /// The key's fingerprint.
    pin: Option<String>,
    /// The DNS name that an authority vouches for.
    subject: Option<String>,
    models: Models,
    runs_per_day: Option<u64>,
    parallel: Option<usize>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
enum Models {
    All(String),
    Some(Vec<String>),
}

/// One client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Client {
    /// In records.
    pub name: String,
    pin: Option<Pin>,
    subject: Option<String>,
    models: Models,
    /// Runs a day, by the service's clock in UTC.
    pub runs_per_day: u64,
    /// Runs at a time, waiting ones included.
    pub parallel: usize,
}

impl Client {
    /// Whether it may have this model.
    pub(crate) fn may(&self, model: &str) -> bool {
        match &self.models {
            Models::All(_) => true,
            Models::Some(names) => names.iter().any(|name| name == model),
        }
    }
}

fn parse(path: &Path) -> Result<Vec<Client>> {
    let wrong = |what: String| Error::Input(format!("{}: {what}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|e| wrong(e.to_string()))?;
    let file: File = toml::from_str(&text).map_err(|e| wrong(one_line(&e)))?;
    let mut clients: Vec<Client> = Vec::new();
    for entry in file.client {
        let Entry { name, pin, subject, models, runs_per_day, parallel } = entry;
        let about = |what: &str| wrong(format!("client {name:?}: {what}"));
        if name.is_empty() || name.len() > 64 || name.chars().any(|c| c.is_control() || c == '"') {
            return Err(about("expected a name of at most 64 bytes, no control characters or quotes"));
        }
        if clients.iter().any(|c| c.name == name) {
            return Err(about("found twice"));
        }
        if matches!(&models, Models::All(all) if all != "*") {
            return Err(about("models: expected a list of names, or \"*\""));
        }
        if pin.is_some() == subject.is_some() {
            return Err(about("expected a pin (`blindvox fingerprint`), or a subject that an authority vouches for"));
        }
        let pin = pin.map(|p| p.parse::<Pin>()).transpose().map_err(|e| about(&e.to_string()))?;
        let (runs_per_day, parallel) = (runs_per_day.unwrap_or(u64::MAX), parallel.unwrap_or(usize::MAX));
        clients.push(Client { name, pin, subject, models, runs_per_day, parallel });
    }
    Ok(clients)
}

/// Today, in days since 1970, UTC.
fn today() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() / 86_400
}

struct State {
    clients: Vec<Client>,
    changed: Option<SystemTime>,
    looked: Instant,
    /// Runs of today and at present, by client.
    day: u64,
    runs: HashMap<String, u64>,
    present: HashMap<String, usize>,
}

/// The list as it is, and what its clients have had.
pub(crate) struct Clients {
    path: PathBuf,
    state: Mutex<State>,
}

impl Clients {
    /// Reads the list.
    ///
    /// # Errors
    /// [`Error::Input`] naming the file and the client.
    pub(crate) fn load(path: &Path) -> Result<Self> {
        let changed = modified(path);
        let clients = parse(path)?;
        let (runs, present) = Default::default();
        let state = State { clients, changed, looked: Instant::now(), day: today(), runs, present };
        Ok(Self { path: path.to_owned(), state: Mutex::new(state) })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Reads the list anew. One that is wrong leaves the old one.
    ///
    /// # Errors
    /// Those of [`Self::load`].
    pub(crate) fn reload(&self) -> Result<()> {
        let (changed, clients) = (modified(&self.path), parse(&self.path));
        let mut state = self.lock();
        (state.changed, state.looked) = (changed, Instant::now());
        state.clients = clients?;
        Ok(())
    }

    /// The same if the file has changed; what is wrong with it is `told`.
    fn look(&self, told: &dyn Fn(&Error)) {
        let due = {
            let state = self.lock();
            state.looked.elapsed() >= LOOK && state.changed != modified(&self.path)
        };
        if due && let Err(e) = self.reload() {
            told(&e);
        }
    }

    /// Who this is.
    ///
    /// # Errors
    /// A refusal that says what to do, for somebody who isn't in the list.
    pub(crate) fn find(
        &self,
        pin: Pin,
        names: &[String],
        told: &dyn Fn(&Error),
    ) -> std::result::Result<Client, Refusal> {
        self.look(told);
        let state = self.lock();
        let is = |c: &&Client| match &c.subject {
            Some(subject) => names.contains(subject),
            None => c.pin == Some(pin),
        };
        let found = state.clients.iter().find(is).cloned();
        found.ok_or_else(|| {
            let text = format!("this client ({pin}) is not in the service's list; send the service its .crt file");
            Refusal::new(Code::UnknownClient, text)
        })
    }

    /// Counts a run of a client that is still in the list, against its quotas.
    ///
    /// # Errors
    /// A refusal that names the quota.
    pub(crate) fn begin(&self, client: &Client, told: &dyn Fn(&Error)) -> std::result::Result<(), Refusal> {
        self.look(told);
        let mut state = self.lock();
        let Some(client) = state.clients.iter().find(|c| c.name == client.name && c.pin == client.pin).cloned() else {
            let text = format!("client {:?} was taken off the service's list", client.name);
            return Err(Refusal::new(Code::UnknownClient, text));
        };
        if state.day != today() {
            state.day = today();
            state.runs.clear();
        }
        let (runs, present) = (state.runs.get(&client.name), state.present.get(&client.name));
        if runs.is_some_and(|&n| n >= client.runs_per_day) || client.runs_per_day == 0 {
            let text = format!("client {:?} has had its {} runs of today (UTC)", client.name, client.runs_per_day);
            return Err(Refusal::new(Code::Quota, text));
        }
        if present.is_some_and(|&n| n >= client.parallel) || client.parallel == 0 {
            let text = format!(
                "client {:?} has {} runs already, as many as it may have at once",
                client.name, client.parallel
            );
            return Err(Refusal::new(Code::Quota, text));
        }
        *state.runs.entry(client.name.clone()).or_default() += 1;
        *state.present.entry(client.name).or_default() += 1;
        Ok(())
    }

    /// A run that was begun has ended.
    pub(crate) fn end(&self, client: &Client) {
        if let Some(present) = self.lock().present.get_mut(&client.name) {
            *present = present.saturating_sub(1);
        }
    }
}

fn modified(path: &Path) -> Option<SystemTime> {
    path.metadata().and_then(|m| m.modified()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_lets_in_counts_and_reloads() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("clients.toml");
        let (a, b) = (Pin::of(b"a"), Pin::of(b"b"));
        let entry =
            |name: &str, pin: Pin, more: &str| format!("[[client]]\nname = \"{name}\"\npin = \"{pin}\"\n{more}\n");
        std::fs::write(&path, entry("a", a, "models = [\"m\"]\nruns_per_day = 3\nparallel = 2")).unwrap();
        let clients = Clients::load(&path).unwrap();
        let quiet = |_: &Error| ();
        let one = clients.find(a, &[], &quiet).unwrap();
        assert!(one.may("m") && !one.may("other"));
        let text = clients.find(b, &["a".to_owned()], &quiet).unwrap_err().text;
        assert!(text.contains(&b.to_string()) && text.contains("not in the service's list"), "{text}");
        assert!(clients.begin(&one, &quiet).is_ok() && clients.begin(&one, &quiet).is_ok());
        assert!(clients.begin(&one, &quiet).unwrap_err().text.contains("at once"));
        clients.end(&one);
        clients.begin(&one, &quiet).unwrap();
        clients.end(&one);
        assert!(clients.begin(&one, &quiet).unwrap_err().text.contains("3 runs of today"));
        // A file that is wrong leaves the list; one that is right replaces it.
        std::fs::write(&path, "[[client]]\nname = 3").unwrap();
        assert!(clients.reload().is_err() && clients.find(a, &[], &quiet).is_ok());
        std::fs::write(&path, entry("b", b, "models = \"*\"")).unwrap();
        clients.reload().unwrap();
        assert!(clients.find(a, &[], &quiet).is_err() && clients.find(b, &[], &quiet).unwrap().may("any"));
        assert_eq!(clients.begin(&one, &quiet).unwrap_err().code, Code::UnknownClient);
    }

    #[test]
    fn bad_lists_name_the_client() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("clients.toml");
        let pin = Pin::of(b"a");
        for (text, expected) in [
            ("[[client]]\nname = \"a\"\nmodels = \"*\"".to_owned(), "expected a pin"),
            (format!("[[client]]\nname = \"a\"\nmodels = \"all\"\npin = \"{pin}\""), "models"),
            ("[[client]]\nname = \"a\"\nmodels = \"*\"\npin = \"bv1:AB\"".to_owned(), "fingerprint"),
            (format!("[[client]]\nname = \"a\"\nmodels = \"*\"\npin = \"{pin}\"\ncolour = 1"), "colour"),
        ] {
            std::fs::write(&path, text).unwrap();
            let found = Clients::load(&path).err().unwrap().to_string();
            assert!(found.contains(expected) && found.contains("clients.toml") && !found.contains('\n'), "{found}");
        }
    }
}
