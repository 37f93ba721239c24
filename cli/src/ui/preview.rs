//! A picture of a segmentation: an axial, a coronal and a sagittal plane through the middle of what was found, the scan
//! above and the labels over it below.
//!
//! As radiologists look at them: the patient's right on the left, anterior or superior at the top, in the sagittal
//! plane anterior on the left. Pixels are square in millimetres. Where a file states no orientation, its axes are taken
//! as RAS.

use std::path::Path;

use blindvox_models::atomic::Staged;
use blindvox_models::data::labels::LabelMap;
use blindvox_models::data::nifti::{Axes, Orientation, Volume};
use blindvox_protocols::{Error, Result};

use crate::ui::files;

/// Screen pixels of a voxel's shortest side, unless that makes a panel larger than [`MOST_PIXELS`].
const ZOOM: f64 = 6.0;
/// The longest side of a panel.
const MOST_PIXELS: f64 = 1024.0;
/// Pixels between panels.
const GAP: usize = 8;
/// Overlay colours by label, from 1.
const COLOURS: [[f32; 3]; 6] = [
    [0.90, 0.30, 0.25],
    [0.25, 0.55, 0.95],
    [0.30, 0.80, 0.40],
    [0.95, 0.75, 0.20],
    [0.70, 0.40, 0.90],
    [0.30, 0.85, 0.85],
];

/// The scan and its labels on one grid, in C order of `dims`; axes run to the left, posterior and superior.
pub(crate) struct Picture {
    scan: Vec<f64>,
    labels: Vec<u8>,
    dims: [usize; 3],
    /// Screen pixels of a voxel's sides.
    zoom: [f64; 3],
}

/// One panel: voxels in rows and columns, row 0 at the top, and its size in pixels.
struct Plane {
    rows: usize,
    columns: usize,
    height: usize,
    width: usize,
    /// Voxel index of (row, column).
    index: Box<dyn Fn(usize, usize) -> usize>,
}

impl Picture {
    /// Puts a volume and its labels in anatomical order.
    pub(crate) fn new(volume: &Volume, labels: &LabelMap) -> Self {
        let stored = volume.dims;
        let affine = volume.header.affine().unwrap_or_else(|| Orientation::RAS.affine(volume.spacing()));
        let shown = Orientation::LPS;
        // A scan that lies askew is shown as it is stored.
        let axes = Axes::to(shown, &affine).unwrap_or(Axes::STORED);
        let dims = axes.dims(stored);
        // A side that the file doesn't state is taken as a millimetre.
        let sides = axes.order(volume.spacing()).map(|side| if side.is_normal() { side } else { 1.0 });
        let shortest = sides.iter().copied().fold(f64::INFINITY, f64::min);
        let longest = (0..3).map(|a| sides[a] * dims[a] as f64).fold(0.0, f64::max);
        let scale = (ZOOM / shortest).min(MOST_PIXELS / longest);
        Self {
            scan: axes.apply(&volume.data, stored),
            labels: axes.apply(&labels.data, stored),
            dims,
            zoom: sides.map(|side| side * scale),
        }
    }

    /// Draws the picture to a PNG file beside `path`, to be put there once all outputs are written.
    pub(crate) fn stage(&self, path: &Path) -> Result<Staged> {
        let planes = self.planes();
        let tallest = planes.iter().map(|p| p.height).max().unwrap_or(0);
        let width = planes.iter().map(|p| p.width + GAP).sum::<usize>() + GAP;
        let height = 2 * (tallest + GAP) + GAP;
        let mut canvas = vec![24u8; width * height * 3];
        let mut left = GAP;
        for plane in &planes {
            for (row, overlaid) in [false, true].into_iter().enumerate() {
                let top = GAP + row * (tallest + GAP) + (tallest - plane.height) / 2;
                self.draw(plane, overlaid, |y, x, colour| {
                    let at = ((top + y) * width + left + x) * 3;
                    canvas[at..at + 3].copy_from_slice(&colour);
                });
            }
            left += plane.width + GAP;
        }
        encode(path, &canvas, width, height)
    }

    /// Planes across the three axes through the centre of the labels, or of the grid where there are none.
    fn planes(&self) -> Vec<Plane> {
        let [d, h, w] = self.dims;
        let labelled: Vec<usize> = (0..self.labels.len()).filter(|&i| self.labels[i] != 0).collect();
        let centre = |coordinate: &dyn Fn(usize) -> usize, size: usize| match labelled.len() {
            0 => size / 2,
            count => labelled.iter().map(|&i| coordinate(i)).sum::<usize>() / count,
        };
        let (z, y, x) = (centre(&|i| i / (h * w), d), centre(&|i| i / w % h, h), centre(&|i| i % w, w));
        let plane = |rows: usize, columns: usize, index: Box<dyn Fn(usize, usize) -> usize>| Plane {
            rows: self.dims[rows],
            columns: self.dims[columns],
            height: self.pixels(rows),
            width: self.pixels(columns),
            index,
        };
        vec![
            plane(1, 0, Box::new(move |r, c| (c * h + r) * w + x)),
            plane(2, 0, Box::new(move |r, c| (c * h + y) * w + w - 1 - r)),
            plane(2, 1, Box::new(move |r, c| (z * h + c) * w + w - 1 - r)),
        ]
    }

    /// Pixels of an axis.
    fn pixels(&self, axis: usize) -> usize {
        ((self.dims[axis] as f64 * self.zoom[axis]).round() as usize).max(1)
    }

    fn draw(&self, plane: &Plane, overlaid: bool, mut pixel: impl FnMut(usize, usize, [u8; 3])) {
        let (low, high) = self.window();
        let Plane { height, width, .. } = *plane;
        for y in 0..height {
            for x in 0..width {
                let at = (plane.index)(y * plane.rows / height, x * plane.columns / width);
                let grey = ((self.scan[at] - low) / (high - low)).clamp(0.0, 1.0) as f32;
                let mut colour = [grey; 3];
                let label = self.labels[at] as usize;
                if overlaid && label > 0 {
                    let tint = COLOURS[(label - 1) % COLOURS.len()];
                    colour = std::array::from_fn(|c| 0.45 * grey + 0.55 * tint[c]);
                }
                pixel(y, x, colour.map(|c| (c * 255.0) as u8));
            }
        }
    }

    /// The intensities shown as black and white: the 1st and 99th percentile.
    fn window(&self) -> (f64, f64) {
        let mut sorted = self.scan.to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        let at = |percent: usize| sorted[(sorted.len() - 1) * percent / 100];
        (at(1), at(99).max(at(1) + f64::from(f32::EPSILON)))
    }
}

fn encode(path: &Path, canvas: &[u8], width: usize, height: usize) -> Result<Staged> {
    let failed = |source: std::io::Error| Error::Io { path: path.to_owned(), source };
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, width as u32, height as u32);
    encoder.set_color(png::ColorType::Rgb);
    let encoded = encoder.write_header().and_then(|mut w| w.write_image_data(canvas));
    encoded.map_err(|e| failed(std::io::Error::other(e)))?;
    files::stage(path, &file)
}
