//! Rows of a table with a label, dealt out to hospitals and a held-out part.

use std::path::Path;

use crate::error::{Error, Result};

/// The most bytes of a table.
const MOST: u64 = 64 << 20;

/// A row: its features, comparable, and its class.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// As many as the network has inputs.
    pub features: Vec<f32>,
    /// From 0.
    pub class: usize,
}

/// Whose rows are whose.
#[derive(Clone, Debug)]
pub struct Dealt {
    /// A part each.
    pub hospitals: Vec<Vec<Row>>,
    /// Every fifth row: nobody trains on it.
    pub held_out: Vec<Row>,
}

/// Reads a table whose last column is the class, makes its features comparable by mean and deviation of the rows that are
/// not held out, and deals it.
///
/// # Errors
/// [`Error::Io`], [`Error::Input`] naming the file and the line.
pub fn deal(path: &Path, hospitals: usize) -> Result<Dealt> {
    let io = |source| Error::Io { path: path.to_owned(), source };
    if std::fs::metadata(path).map_err(io)?.len() > MOST {
        return Err(Error::Input(format!("{}: more than {MOST} bytes", path.display())));
    }
    let text = std::fs::read_to_string(path).map_err(io)?;
    let columns = text.lines().next().unwrap_or_default().split(',').count();
    let mut rows = Vec::new();
    for (i, line) in text.lines().enumerate().skip(1) {
        let wrong = |what: String| Error::Input(format!("{}: line {}: {what}", path.display(), i + 1));
        let numbers = line.split(',').map(|cell| {
            let number = cell.trim().parse::<f32>().ok().filter(|x| x.is_finite());
            number.ok_or_else(|| {
                wrong(format!("found {:?}, expected a number", cell.chars().take(20).collect::<String>()))
            })
        });
        let mut features = numbers.collect::<Result<Vec<f32>>>()?;
        let class = features.pop().unwrap_or_default();
        if features.len() + 1 != columns || columns < 2 || class < 0.0 || class.fract() != 0.0 {
            return Err(wrong(format!("found {} columns and class {class}, expected {columns}", features.len() + 1)));
        }
        rows.push(Row { features, class: class as usize });
    }
    let (mut held_out, mut training): (Vec<_>, Vec<_>) = (Vec::new(), Vec::new());
    for (i, row) in rows.into_iter().enumerate() {
        if i % 5 == 4 { held_out.push(row) } else { training.push(row) }
    }
    if training.len() < hospitals.max(1) || held_out.is_empty() {
        return Err(Error::Input(format!("{}: found too few rows for {hospitals} hospitals", path.display())));
    }
    for column in 0..columns - 1 {
        let values = || training.iter().map(|row| f64::from(row.features[column]));
        let mean = values().sum::<f64>() / training.len() as f64;
        let deviation = (values().map(|x| (x - mean).powi(2)).sum::<f64>() / training.len() as f64).sqrt().max(1e-9);
        for row in training.iter_mut().chain(&mut held_out) {
            let x = &mut row.features[column];
            *x = ((f64::from(*x) - mean) / deviation) as f32;
        }
    }
    let mut dealt = vec![Vec::new(); hospitals];
    training.into_iter().enumerate().for_each(|(i, row)| dealt[i % hospitals].push(row));
    Ok(Dealt { hospitals: dealt, held_out })
}
