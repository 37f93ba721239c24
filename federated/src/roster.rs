//! Who is in a federation: `federation.toml`.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::signing::PublicKey;

/// The most holders that a key is shared among.
pub const MOST_HOLDERS: usize = 16;
/// The most members: sums of as many fit.
pub const MOST_MEMBERS: usize = 1024;
/// The fewest updates in a sum that is opened: with two, each of the two learns the other's.
pub const FEWEST_CLIENTS: usize = 3;
/// The longest name, in bytes.
const MOST_NAME: usize = 63;

/// A member by its place in the roster.
pub type MemberId = u16;
/// Who is no member, and signs Plan, Close and Result.
pub const AGGREGATOR: MemberId = MemberId::MAX;

/// A member or the aggregator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Person {
    /// What it is called.
    pub name: String,
    /// Its Ed25519 key.
    pub key: PublicKey,
    /// Whether keys are shared with it. The aggregator's says nothing.
    #[serde(default)]
    pub holder: bool,
}

/// Who is in a federation, and how many of them open a sum.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Roster {
    /// Holders that open a sum together.
    pub threshold: usize,
    /// The fewest updates in a sum that is opened.
    pub min_clients: usize,
    /// Who adds what it can't read.
    pub aggregator: Person,
    /// Who sends updates.
    #[serde(rename = "member")]
    pub members: Vec<Person>,
}

impl Roster {
    /// A roster of people whose first `MOST_HOLDERS` are holders where none is named.
    ///
    /// # Errors
    /// [`Error::Input`] naming the field that is wrong.
    pub fn new(aggregator: Person, mut members: Vec<Person>, threshold: Option<usize>, min: usize) -> Result<Self> {
        if members.iter().all(|m| !m.holder) {
            members.iter_mut().take(MOST_HOLDERS).for_each(|m| m.holder = true);
        }
        let holders = members.iter().filter(|m| m.holder).count();
        let threshold = threshold.unwrap_or(holders / 2 + 1);
        let roster = Self { threshold, min_clients: min, aggregator, members };
        roster.check()?;
        Ok(roster)
    }

    fn check(&self) -> Result<()> {
        let (h, k) = (self.holders().count(), self.members.len());
        let wrong = |what: String| Err(Error::Input(what));
        if !(FEWEST_CLIENTS..=MOST_MEMBERS).contains(&k) {
            return wrong(format!("member: found {k}, expected {FEWEST_CLIENTS} to {MOST_MEMBERS}"));
        }
        if h == 0 || h > MOST_HOLDERS {
            return wrong(format!("holder: found {h} members, expected 1 to {MOST_HOLDERS}"));
        }
        if 2 * self.threshold <= h || self.threshold > h {
            return wrong(format!("threshold: found {}, expected {} to {h} of {h} holders", self.threshold, h / 2 + 1));
        }
        if !(FEWEST_CLIENTS..=k).contains(&self.min_clients) {
            let found = self.min_clients;
            return wrong(format!("min_clients: found {found}, expected {FEWEST_CLIENTS} to {k}, the members"));
        }
        let everyone: Vec<&Person> = self.members.iter().chain([&self.aggregator]).collect();
        for (i, person) in everyone.iter().enumerate() {
            let name = &person.name;
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
            if name.is_empty() || name.len() > MOST_NAME || !name.chars().all(plain) {
                return wrong(format!("name: found {name:?}, expected 1 to {MOST_NAME} letters, digits, ., _ and -"));
            }
            if everyone[..i].iter().any(|other| other.name == *name) {
                return wrong(format!("name: found {name:?} twice, expected names that differ"));
            }
            if everyone[..i].iter().any(|other| other.key == person.key) {
                return wrong(format!("key of {name:?}: found that of another, expected one of its own"));
            }
        }
        Ok(())
    }

    /// Reads `federation.toml`.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Input`] naming the file and the field.
    pub fn load(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|source| Error::Io { path: path.to_owned(), source })?;
        Self::parse(&text).map_err(|e| Error::Input(format!("{}: {e}", path.display())))
    }

    /// Reads the text of `federation.toml`.
    ///
    /// # Errors
    /// [`Error::Input`] naming the field.
    pub fn parse(text: &str) -> Result<Self> {
        let roster: Self = toml::from_str(text).map_err(|e| {
            let line = e.span().map_or(0, |span| text[..span.start.min(text.len())].lines().count().max(1));
            Error::Input(format!("line {line}: {}", e.message()))
        })?;
        roster.check()?;
        Ok(roster)
    }

    /// The text of `federation.toml`.
    ///
    /// # Errors
    /// [`Error::Input`] where it has no form as text.
    pub fn to_text(&self) -> Result<String> {
        toml::to_string(self).map_err(|e| Error::Input(e.to_string()))
    }

    /// The federation's id, which every message carries: the hash of all that the roster says.
    pub fn id(&self) -> [u8; 32] {
        let bytes = postcard::to_allocvec(self).unwrap_or_default();
        blake3::derive_key("blindvox 2026 federation", &bytes)
    }

    /// The holders, in the order of their points 1, 2, ..
    pub fn holders(&self) -> impl Iterator<Item = MemberId> {
        (0..self.members.len()).filter(|&i| self.members[i].holder).map(|i| i as MemberId)
    }

    /// The point, from 1, of a holder.
    pub fn point(&self, member: MemberId) -> Option<usize> {
        self.holders().position(|h| h == member).map(|i| i + 1)
    }

    /// The member with this key.
    pub fn find(&self, key: &PublicKey) -> Option<MemberId> {
        self.members.iter().position(|m| m.key == *key).map(|i| i as MemberId)
    }

    /// Somebody's name, for messages.
    pub fn name(&self, id: MemberId) -> &str {
        self.person(id).map_or("nobody", |p| &p.name)
    }

    /// Somebody.
    pub fn person(&self, id: MemberId) -> Option<&Person> {
        if id == AGGREGATOR { Some(&self.aggregator) } else { self.members.get(usize::from(id)) }
    }

    /// Holders that may answer twice before a difference of two sums can be opened: 2t - h - 1.
    pub fn faithless(&self) -> usize {
        2 * self.threshold - self.holders().count() - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn person(name: &str, key: u8) -> Person {
        Person { name: name.to_owned(), key: PublicKey([key; 32]), holder: false }
    }

    fn roster(members: usize, threshold: Option<usize>, min: usize) -> Result<Roster> {
        let members = (0..members).map(|i| person(&format!("h{i}"), i as u8 + 1)).collect();
        Roster::new(person("sum", 255), members, threshold, min)
    }

    #[test]
    fn rosters_read_back_with_their_id() {
        let made = roster(5, None, 3).unwrap();
        assert_eq!((made.threshold, made.faithless()), (3, 0));
        assert_eq!(roster(5, Some(4), 3).unwrap().faithless(), 2);
        let text = made.to_text().unwrap();
        let read = Roster::parse(&text).unwrap();
        assert_eq!((read.id(), &read), (made.id(), &made));
        assert_ne!(roster(5, Some(4), 3).unwrap().id(), made.id());
        assert_eq!((made.point(0), made.point(4), made.find(&PublicKey([3; 32]))), (Some(1), Some(5), Some(2)));
        assert!(Roster::parse(&text.replace("threshold", "treshold")).unwrap_err().to_string().contains("line 1"));
    }

    #[test]
    fn what_would_open_too_much_is_refused() {
        for (members, threshold, min, what) in [
            (2, None, 2, "member"),
            (4, Some(2), 3, "threshold"),
            (4, Some(5), 3, "threshold"),
            (4, None, 2, "min_clients"),
            (4, None, 5, "min_clients"),
        ] {
            let error = roster(members, threshold, min).unwrap_err().to_string();
            assert!(error.starts_with(what), "{error}");
        }
        assert_eq!(roster(40, None, 3).unwrap().holders().count(), MOST_HOLDERS);
        let twice = |a: Person, b: Person| Roster::new(person("s", 9), vec![a, b, person("c", 3)], None, 3).is_err();
        assert!(twice(person("a", 1), person("a", 2)) && twice(person("a", 1), person("b", 1)));
        assert!(twice(person("a b", 1), person("b", 2)));
    }
}
