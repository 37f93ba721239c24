//! A table's rows and what is written of them.

use std::borrow::Cow;
use std::path::Path;

use blindvox_models::data::table::{as_csv, texts};
use blindvox_protocols::cryptmed::plan::SCORE_BITS;
use blindvox_protocols::cryptmed::session::{Answer, Outcome};
use blindvox_protocols::{Error, Result};

use crate::args::PredictArgs;
use crate::ui::files::check_outputs;

/// What is known of rows beside the network's inputs.
pub(super) struct Rows {
    /// All names.
    pub classes: Vec<String>,
    ids: Option<Vec<String>>,
    /// True classes.
    pub truth: Option<Vec<usize>>,
}

/// What came of rows.
pub(super) struct Found {
    /// The largest score's class.
    pub labels: Vec<usize>,
    /// Where they were opened.
    pub scores: Option<Vec<Vec<f64>>>,
}

/// Checks that all files can be written.
pub(super) fn check(args: &PredictArgs) -> Result<()> {
    let mut outputs = vec![("--output", &*args.output)];
    outputs.extend(args.report.as_deref().map(|p| ("--report", p)));
    check_outputs(&[("--input", &*args.input)], &outputs)
}

impl Rows {
    /// Reads columns that the network doesn't take.
    pub(super) fn read(args: &PredictArgs, classes: &[String]) -> Result<Self> {
        let ids = args.id.as_ref().map(|column| texts(&args.input, column)).transpose()?;
        let truth = args.labels.as_ref().map(|column| truth(&args.input, column, classes)).transpose()?;
        Ok(Self { classes: classes.to_vec(), ids, truth })
    }

    /// The output: a line a row.
    pub(super) fn table(&self, args: &PredictArgs, found: &Found) -> Vec<u8> {
        let (classes, scores) = (&self.classes, found.scores.as_ref());
        let named: Vec<String> = classes.iter().map(|class| format!("score {class}")).collect();
        let mut names = vec![args.id.as_deref().unwrap_or("row"), "label"];
        names.extend(named.iter().filter(|_| scores.is_some()).map(String::as_str));
        let row = |(at, label): (usize, &usize)| {
            let id = self.ids.as_ref().map_or_else(|| (at + 1).to_string(), |ids| ids[at].clone());
            let mut cells: Vec<Cow<'_, str>> = vec![id.into(), classes[*label].as_str().into()];
            cells.extend(scores.iter().flat_map(|s| &s[at]).map(|score| Cow::from(score.to_string())));
            cells
        };
        as_csv(&names, found.labels.iter().enumerate().map(row))
    }
}

impl Found {
    /// From a client's outcomes, a list of batches.
    pub(super) fn of(outcomes: Vec<Outcome>) -> Result<Self> {
        let (mut labels, mut scores) = (Vec::new(), None);
        for outcome in outcomes {
            match outcome.answer {
                Some(Answer::Labels(rows)) => labels.extend(rows.iter().map(|row| usize::from(row[0]))),
                Some(Answer::Scores(rows)) => {
                    let largest =
                        |row: &Vec<i32>| (1..row.len()).fold(0, |best, c| if row[c] > row[best] { c } else { best });
                    labels.extend(rows.iter().map(largest));
                    let real =
                        |row: &Vec<i32>| row.iter().map(|&s| f64::from(s) / f64::from(1 << SCORE_BITS)).collect();
                    scores.get_or_insert_with(Vec::new).extend(rows.iter().map(real));
                }
                None => return Err(Error::Protocol("the run ended without an answer".into())),
            }
        }
        Ok(Self { labels, scores })
    }
}

/// Rows as voxels of a line, `[element][row]`.
pub(super) fn side_by_side(rows: &[Vec<i32>]) -> Vec<i32> {
    let elements = rows.first().map_or(0, Vec::len);
    (0..elements).flat_map(|e| rows.iter().map(move |row| row[e])).collect()
}

/// True classes by name or number.
fn truth(path: &Path, column: &str, classes: &[String]) -> Result<Vec<usize>> {
    let class = |(row, cell): (usize, String)| {
        let named = classes.iter().position(|name| *name == cell);
        let numbered =
            || cell.parse::<f64>().ok().filter(|n| n.fract() == 0.0 && (0.0..classes.len() as f64).contains(n));
        named.or_else(|| numbered().map(|n| n as usize)).ok_or_else(|| {
            let (found, row) = (cell.chars().take(40).collect::<String>(), row + 1);
            let known = classes.join(", ");
            Error::Input(format!(
                "{}: row {row}, column {column:?}: found {found:?}, expected one of {known}",
                path.display()
            ))
        })
    };
    texts(path, column)?.into_iter().enumerate().map(class).collect()
}

/// The share of rows whose class is the true one.
pub(super) fn accuracy(truth: &[usize], labels: &[usize]) -> f64 {
    truth.iter().zip(labels).filter(|(a, b)| a == b).count() as f64 / truth.len() as f64
}
