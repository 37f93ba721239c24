//! A picture of a segmentation: three planes through the middle of what was found, the scan above and
//! the labels over it below.

use std::path::Path;

use blindvox_protocols::atomic::Staged;
use blindvox_protocols::{Error, Result};

use crate::files;

/// Screen pixels a voxel, unless that makes a panel larger than [`MOST_PIXELS`].
const ZOOM: usize = 6;
/// The longest side of a panel.
const MOST_PIXELS: usize = 1024;
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

/// The scan and its labels on one grid, in C order of `dims`.
pub struct Picture<'a> {
    /// Intensities.
    pub scan: &'a [f32],
    /// Labels, 0 for background.
    pub labels: &'a [u8],
    /// The grid.
    pub dims: [usize; 3],
}

/// One panel: `rows` x `columns` voxels, row 0 at the top.
struct Plane {
    rows: usize,
    columns: usize,
    /// Voxel index of (row, column).
    index: Box<dyn Fn(usize, usize) -> usize>,
}

impl Picture<'_> {
    /// Draws the picture to a PNG file beside `path`, to be put there once all outputs are written.
    pub fn stage(&self, path: &Path) -> Result<Staged> {
        let planes = self.planes();
        let tallest = planes.iter().map(|p| self.pixels(p.rows)).max().unwrap_or(0);
        let width = planes.iter().map(|p| self.pixels(p.columns) + GAP).sum::<usize>() + GAP;
        let height = 2 * (tallest + GAP) + GAP;
        let mut canvas = vec![24u8; width * height * 3];
        let mut left = GAP;
        for plane in &planes {
            for (row, overlaid) in [false, true].into_iter().enumerate() {
                let top = GAP + row * (tallest + GAP) + (tallest - self.pixels(plane.rows)) / 2;
                self.draw(plane, overlaid, |y, x, colour| {
                    let at = ((top + y) * width + left + x) * 3;
                    canvas[at..at + 3].copy_from_slice(&colour);
                });
            }
            left += self.pixels(plane.columns) + GAP;
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
        vec![
            Plane { rows: h, columns: d, index: Box::new(move |r, c| (c * h + h - 1 - r) * w + x) },
            Plane { rows: w, columns: d, index: Box::new(move |r, c| (c * h + y) * w + w - 1 - r) },
            Plane { rows: w, columns: h, index: Box::new(move |r, c| (z * h + c) * w + w - 1 - r) },
        ]
    }

    /// Pixels of a side of `voxels`.
    fn pixels(&self, voxels: usize) -> usize {
        let longest = self.dims.iter().copied().max().unwrap_or(1);
        if longest * ZOOM <= MOST_PIXELS { voxels * ZOOM } else { (voxels * MOST_PIXELS / longest).max(1) }
    }

    fn draw(&self, plane: &Plane, overlaid: bool, mut pixel: impl FnMut(usize, usize, [u8; 3])) {
        let (low, high) = self.window();
        let (height, width) = (self.pixels(plane.rows), self.pixels(plane.columns));
        for y in 0..height {
            for x in 0..width {
                let at = (plane.index)(y * plane.rows / height, x * plane.columns / width);
                let grey = ((self.scan[at] - low) / (high - low)).clamp(0.0, 1.0);
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
    fn window(&self) -> (f32, f32) {
        let mut sorted = self.scan.to_vec();
        sorted.sort_unstable_by(f32::total_cmp);
        let at = |percent: usize| sorted[(sorted.len() - 1) * percent / 100];
        (at(1), at(99).max(at(1) + f32::EPSILON))
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
