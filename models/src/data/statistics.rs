//! What people ask of labels: how large each class is, where it lies, and whether the scan cuts it off.

use serde::Serialize;

use super::labels::LabelMap;
use super::nifti::Volume;
use super::nifti::geometry::Affine;

/// One class of a label map on its scan.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClassStatistics {
    /// Its number in the map.
    pub label: u8,
    /// Its name.
    pub name: String,
    /// How many voxels have it.
    pub voxels: usize,
    /// Their volume in cubic millimetres.
    pub volume_mm3: f64,
    /// The same in millilitres.
    pub volume_ml: f64,
    /// The mean of the scan's values there; none where there is no voxel.
    pub mean: Option<f64>,
    /// Their population standard deviation.
    pub std: Option<f64>,
    /// Lowest and highest coordinate in millimetres to the right, anterior and superior, of the voxels' outer sides;
    /// none where there is no voxel or the file states no orientation.
    pub bounding_box_mm: Option<[[f64; 2]; 3]>,
    /// Whether a voxel lies at the scan's border, so that the organ may be incomplete.
    pub touches_border: bool,
}

/// The classes from 1 on of labels on the grid of `volume`, by the names of a model's classes.
///
/// # Panics
/// If the map and the volume differ in size.
pub fn statistics(map: &LabelMap, volume: &Volume, classes: &[String]) -> Vec<ClassStatistics> {
    assert_eq!(map.data.len(), volume.data.len(), "labels on the volume's grid");
    let affine = volume.header.affine();
    let voxel = affine.as_ref().map_or_else(|| volume.header.pixdim().iter().product(), volume_of);
    let of = |(label, name): (usize, &String)| {
        let found = Found::of(map, volume, label as u8);
        let (count, volume_mm3) = (found.voxels as f64, found.voxels as f64 * voxel);
        let mean = (found.voxels > 0).then(|| found.sum / count);
        let deviation = |mean: f64| {
            let inside = map.data.iter().zip(&volume.data).filter(|(l, _)| usize::from(**l) == label);
            (inside.map(|(_, v)| (v - mean).powi(2)).sum::<f64>() / count).sqrt()
        };
        ClassStatistics {
            label: label as u8,
            name: name.clone(),
            voxels: found.voxels,
            volume_mm3,
            volume_ml: volume_mm3 / 1000.0,
            mean,
            std: mean.map(deviation),
            bounding_box_mm: affine.as_ref().filter(|_| found.voxels > 0).map(|a| found.millimetres(a)),
            touches_border: found.touches_border(map.dims),
        }
    };
    classes.iter().enumerate().skip(1).map(of).collect()
}

/// The voxels of one label.
struct Found {
    voxels: usize,
    /// Of the scan's values.
    sum: f64,
    /// The lowest and the highest index along i, j, k.
    low: [usize; 3],
    high: [usize; 3],
}

impl Found {
    fn of(map: &LabelMap, volume: &Volume, label: u8) -> Self {
        let [_, height, width] = map.dims;
        let mut found = Self { voxels: 0, sum: 0.0, low: [usize::MAX; 3], high: [0; 3] };
        for (at, (_, value)) in map.data.iter().zip(&volume.data).enumerate().filter(|(_, (l, _))| **l == label) {
            let place = [at / (height * width), at / width % height, at % width];
            found.voxels += 1;
            found.sum += value;
            for ((low, high), at) in found.low.iter_mut().zip(&mut found.high).zip(place) {
                (*low, *high) = ((*low).min(at), (*high).max(at));
            }
        }
        found
    }

    fn touches_border(&self, dims: [usize; 3]) -> bool {
        // Along an axis of one voxel every voxel lies at the border: that says nothing.
        let cut = |a: usize| dims[a] > 1 && (self.low[a] == 0 || self.high[a] + 1 == dims[a]);
        self.voxels > 0 && (0..3).any(cut)
    }

    /// The box in millimetres, from the outer sides of its voxels.
    fn millimetres(&self, affine: &Affine) -> [[f64; 2]; 3] {
        let corner = |bits: usize| {
            affine.apply(std::array::from_fn(|a| match bits >> a & 1 {
                0 => self.low[a] as f64 - 0.5,
                _ => self.high[a] as f64 + 0.5,
            }))
        };
        let corners: Vec<[f64; 3]> = (0..8).map(corner).collect();
        std::array::from_fn(|a| {
            let along = || corners.iter().map(|c| c[a]);
            [along().fold(f64::INFINITY, f64::min), along().fold(f64::NEG_INFINITY, f64::max)]
        })
    }
}

/// Of a voxel, in cubic millimetres.
fn volume_of(affine: &Affine) -> f64 {
    let [a, b, c] = [0, 1, 2].map(|axis| affine.step(axis));
    let cross = [b[1] * c[2] - b[2] * c[1], b[2] * c[0] - b[0] * c[2], b[0] * c[1] - b[1] * c[0]];
    a.iter().zip(cross).map(|(a, c)| a * c).sum::<f64>().abs()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::nifti::Header;

    #[test]
    fn classes_are_measured_in_millimetres() {
        let dims = [4, 5, 6];
        // Steps of 2 mm to the left, 3 mm up, 0.5 mm and a shear to the front, from (10, 20, 30).
        let affine = Affine([[-2.0, 0.0, 0.0, 10.0], [0.0, 0.25, 0.5, 20.0], [0.0, 3.0, 0.0, 30.0]]);
        let header = Header::on(dims, &affine);
        let data: Vec<f64> = (0..120).map(f64::from).collect();
        let mut labels = vec![0u8; 120];
        // Voxels (1, 1, 1), (1, 1, 2) and (2, 1, 1) of class 1, (0, 0, 0) of class 2.
        let at = |i: usize, j: usize, k: usize| (i * 5 + j) * 6 + k;
        [at(1, 1, 1), at(1, 1, 2), at(2, 1, 1)].into_iter().for_each(|v| labels[v] = 1);
        labels[0] = 2;
        let map = LabelMap { dims, data: labels, header: header.clone() };
        let volume = Volume { dims, data, header };
        let names = ["background", "a", "b", "c"].map(String::from);
        let [a, b, c] = &statistics(&map, &volume, &names)[..] else { panic!("three classes") };
        assert_eq!((a.label, a.voxels, a.touches_border, b.touches_border), (1, 3, false, true));
        assert!((a.volume_mm3 - 3.0 * 3.0).abs() < 1e-6 && (a.volume_ml - 0.009).abs() < 1e-9, "{a:?}");
        let mean = (37.0 + 38.0 + 67.0) / 3.0;
        let deviation = [37.0f64, 38.0, 67.0].iter().map(|v| (v - mean).powi(2)).sum::<f64>() / 3.0;
        assert!((a.mean.unwrap() - mean).abs() < 1e-9 && (a.std.unwrap() - deviation.sqrt()).abs() < 1e-9);
        let want = [[5.0, 9.0], [20.375, 21.625], [31.5, 34.5]];
        let got = a.bounding_box_mm.expect("an orientation");
        assert!(got.iter().flatten().zip(want.iter().flatten()).all(|(g, w)| (g - w).abs() < 1e-4), "{got:?}");
        assert_eq!((c.voxels, c.mean, c.std, c.bounding_box_mm, c.touches_border), (0, None, None, None, false));
    }
}
