//! Rows of a table (CSV with a line of names) to the network's input, and labels of rows.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The most rows a table may have.
pub const MAX_ROWS: usize = 1 << 20;
/// The most numbers that are taken from a table.
const MAX_CELLS: usize = 1 << 28;

/// How rows become the network's input: the value of each column, normalised, in this order. Part of a bundle.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// One a feature.
    pub columns: Vec<Column>,
    /// Lowest and highest value after that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clip: Option<[f32; 2]>,
}

/// A column and what makes its values comparable: (x - mean) / std.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Column {
    /// As the table's first line has it.
    pub name: String,
    /// Taken off each value.
    #[serde(default)]
    pub mean: f64,
    /// Divides it then; above 0.
    #[serde(default = "one")]
    pub std: f64,
    /// What is done about an empty cell; it is refused where that isn't said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<Missing>,
}

/// What is done about an empty cell.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected missing to be a number or \"refuse\"")]
pub enum Missing {
    /// This takes its place, in the table's own units.
    Value(f64),
    /// The table is refused.
    Rule(Refuse),
}

/// The word for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refuse {
    /// "refuse".
    Refuse,
}

fn one() -> f64 {
    1.0
}

impl Table {
    /// Checks the fields against the number of features.
    ///
    /// # Errors
    /// [`Error::Model`] naming `file`, the field, what was found and what was expected.
    pub fn check(&self, file: &str, features: usize) -> Result<()> {
        let wrong = |field: &str, found: String, expected: &str| {
            Err(Error::Model(format!("{file}: preparation.table.{field}: found {found}, expected {expected}")))
        };
        if self.columns.len() != features {
            return wrong("columns", self.columns.len().to_string(), &format!("one for each of {features} features"));
        }
        for (at, column) in self.columns.iter().enumerate() {
            let name = format!("{:?}", column.name.chars().take(40).collect::<String>());
            if column.name.is_empty() || column.name.chars().any(char::is_control) {
                return wrong("columns", name, "names without control characters");
            }
            if self.columns[..at].iter().any(|other| other.name == column.name) {
                return wrong("columns", format!("{name} twice"), "names of their own");
            }
            let missing = if let Some(Missing::Value(value)) = column.missing { value } else { 0.0 };
            if !(column.mean.is_finite() && column.std.is_finite() && column.std > 0.0 && missing.is_finite()) {
                let found = format!("{name}: mean {}, std {}, missing {missing}", column.mean, column.std);
                return wrong("columns", found, "finite numbers, std above 0");
            }
        }
        match self.clip {
            Some([low, high]) if !(low.is_finite() && high.is_finite() && low < high) => {
                wrong("clip", format!("[{low}, {high}]"), "[low, high], finite")
            }
            _ => Ok(()),
        }
    }

    /// The rows of a file as the network's inputs.
    ///
    /// # Errors
    /// [`Error::Io`] for a file that can't be read, [`Error::Input`] naming the file, the row and the column: a missing
    /// column, a cell that is no finite number, a gap without a rule, rows of other lengths, no rows or too many.
    pub fn read(&self, path: &Path) -> Result<Vec<Vec<f32>>> {
        let wrong = |what: String| Error::Input(format!("{}: {what}", path.display()));
        let (mut reader, names) = open(path)?;
        let place = |column: &Column| place(path, &names, &column.name);
        let places: Vec<usize> = self.columns.iter().map(place).collect::<Result<_>>()?;
        let mut rows = Vec::new();
        for record in reader.records() {
            let record = record.map_err(|e| unreadable(path, e))?;
            if rows.len() == MAX_ROWS.min(MAX_CELLS / self.columns.len()) {
                return Err(wrong(format!("found more than {} rows, expected at most that", rows.len())));
            }
            let cell = |(column, &at): (&Column, &usize)| {
                column.value(&record[at], self.clip).map_err(|found| {
                    let (row, name) = (rows.len() + 1, &column.name);
                    wrong(format!("row {row}, column {name:?}: found {found}, expected a finite number"))
                })
            };
            let row = self.columns.iter().zip(&places).map(cell).collect::<Result<_>>()?;
            rows.push(row);
        }
        if rows.is_empty() {
            return Err(wrong("found no rows, expected at least one below the line of names".into()));
        }
        Ok(rows)
    }
}

impl Column {
    /// A cell's value for the network; in words what was found where it has none.
    fn value(&self, cell: &str, clip: Option<[f32; 2]>) -> std::result::Result<f32, String> {
        let value = match (cell, self.missing) {
            ("", Some(Missing::Value(value))) => value,
            ("", _) => return Err("nothing".to_owned()),
            _ => {
                let number = cell.parse::<f64>().ok().filter(|v| v.is_finite());
                number.ok_or_else(|| format!("{:?}", cell.chars().take(40).collect::<String>()))?
            }
        };
        let [low, high] = clip.unwrap_or([f32::MIN, f32::MAX]);
        Ok((((value - self.mean) / self.std) as f32).clamp(low, high))
    }
}

/// A table's reader and its line of names.
fn open(path: &Path) -> Result<(csv::Reader<std::fs::File>, csv::StringRecord)> {
    let file = std::fs::File::open(path).map_err(|source| Error::Io { path: path.to_owned(), source })?;
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(file);
    let names = reader.headers().map_err(|e| unreadable(path, e))?.clone();
    Ok((reader, names))
}

/// What is wrong with a table that can't be read.
fn unreadable(path: &Path, e: csv::Error) -> Error {
    let wrong = |what: String| Error::Input(format!("{}: {what}", path.display()));
    match e.into_kind() {
        csv::ErrorKind::Io(source) => Error::Io { path: path.to_owned(), source },
        csv::ErrorKind::UnequalLengths { pos, expected_len, len } => {
            let row = pos.map_or(0, |p| p.record());
            wrong(format!("row {row}: found {len} cells, expected {expected_len}"))
        }
        csv::ErrorKind::Utf8 { pos, .. } => {
            wrong(format!("row {}: found bytes that are no UTF-8", pos.map_or(0, |p| p.record())))
        }
        _ => wrong("found no table, expected CSV with a line of names".into()),
    }
}

/// The one column of this name.
fn place(path: &Path, names: &csv::StringRecord, column: &str) -> Result<usize> {
    let wrong = |found: &str| {
        Error::Input(format!("{}: column {column:?}: found {found}, expected one of that name", path.display()))
    };
    let mut places = (0..names.len()).filter(|&at| &names[at] == column);
    match (places.next(), places.next()) {
        (Some(at), None) => Ok(at),
        (None, _) => Err(wrong("none")),
        _ => Err(wrong("several")),
    }
}

/// The cells of a column as they are.
///
/// # Errors
/// As [`Table::read`], but for what cells hold.
pub fn texts(path: &Path, column: &str) -> Result<Vec<String>> {
    let (reader, names) = open(path)?;
    let at = place(path, &names, column)?;
    let cell =
        |record: csv::Result<csv::StringRecord>| record.map(|r| r[at].to_owned()).map_err(|e| unreadable(path, e));
    reader.into_records().take(MAX_ROWS + 1).map(cell).collect()
}

/// A table of these cells under a line of names.
pub fn as_csv<'a>(names: &[&str], rows: impl IntoIterator<Item = Vec<std::borrow::Cow<'a, str>>>) -> Vec<u8> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(names).expect("memory takes all");
    for row in rows {
        writer.write_record(row.iter().map(|cell| cell.as_bytes())).expect("memory takes all");
    }
    writer.into_inner().expect("memory takes all")
}

/// A table with the number of each row, from 1 on, and its label.
pub fn labels_as_csv<'a>(labels: impl IntoIterator<Item = &'a str>) -> Vec<u8> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(["row", "label"]).expect("memory takes all");
    for (at, label) in labels.into_iter().enumerate() {
        writer.write_record([&(at + 1).to_string(), label]).expect("memory takes all");
    }
    writer.into_inner().expect("memory takes all")
}
