//! Where voxels lie: affines, the directions of axes, and how one grid's axes become another's.
//!
//! World coordinates are NIfTI's: millimetres to the right, anterior and superior.

use serde::{Deserialize, Serialize};

/// The least cosine between a voxel axis and the anatomical axis that it stands for; at 45 degrees there are two of
/// them.
const CLEAR: f64 = std::f64::consts::FRAC_1_SQRT_2 + 1e-6;
/// How far, in voxels, the places of two equal grids may differ: rounding of headers.
const SAME_PLACE: f64 = 0.05;

/// Maps voxel indices to world coordinates: three rows of `[per i, per j, per k, origin]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Affine(pub [[f64; 4]; 3]);

impl Affine {
    /// The world coordinates of a place on the grid, (0, 0, 0) being the centre of the first voxel.
    pub fn apply(&self, at: [f64; 3]) -> [f64; 3] {
        self.0.map(|[a, b, c, origin]| a * at[0] + b * at[1] + c * at[2] + origin)
    }

    /// The step along one voxel axis, in millimetres.
    pub fn step(&self, axis: usize) -> [f64; 3] {
        self.0.map(|row| row[axis])
    }

    /// The voxels' sides in millimetres.
    pub fn spacing(&self) -> [f64; 3] {
        [0, 1, 2].map(|axis| norm(self.step(axis)))
    }

    /// The affine that takes world coordinates to voxel indices.
    ///
    /// # Errors
    /// In words, if the axes don't span space.
    fn inverse(&self) -> Result<Self, String> {
        let rows = self.0;
        let minor =
            |r: [usize; 2], c: [usize; 2]| rows[r[0]][c[0]] * rows[r[1]][c[1]] - rows[r[0]][c[1]] * rows[r[1]][c[0]];
        let others = [[1, 2], [0, 2], [0, 1]];
        let sign = |r: usize, c: usize| if (r + c).is_multiple_of(2) { 1.0 } else { -1.0 };
        let cofactor = |r: usize, c: usize| sign(r, c) * minor(others[r], others[c]);
        let determinant: f64 = (0..3).map(|c| rows[0][c] * cofactor(0, c)).sum();
        if !(determinant.is_normal() && determinant.abs() > 1e-6 * self.spacing().iter().product::<f64>()) {
            return Err("the axes of its affine don't span space".to_owned());
        }
        Ok(Self([0, 1, 2].map(|r| {
            let row = [0, 1, 2].map(|c| cofactor(c, r) / determinant);
            [row[0], row[1], row[2], -(0..3).map(|c| row[c] * rows[c][3]).sum::<f64>()]
        })))
    }

    /// The largest deviation from 90 degrees between two axes, in degrees.
    pub fn shear_degrees(&self) -> f64 {
        let [a, b, c] = [0, 1, 2].map(|axis| self.step(axis));
        let lean = |a: [f64; 3], b: [f64; 3]| {
            let cosine = (0..3).map(|w| a[w] * b[w]).sum::<f64>() / (norm(a) * norm(b));
            cosine.abs().min(1.0).asin().to_degrees()
        };
        lean(a, b).max(lean(a, c)).max(lean(b, c))
    }
}

fn norm(v: [f64; 3]) -> f64 {
    v.iter().map(|x| x * x).sum::<f64>().sqrt()
}

/// The way that each of three axes runs, as letters: `RAS` runs to the right, anterior and superior.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Orientation([Way; 3]);

/// A direction along a world axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Way {
    /// 0 right-left, 1 anterior-posterior, 2 superior-inferior.
    world: usize,
    /// Against it: to the left, posterior, inferior.
    backwards: bool,
}

/// Letters of the world axes, along them and against.
const LETTERS: [[char; 2]; 3] = [['R', 'L'], ['A', 'P'], ['S', 'I']];

impl Orientation {
    /// To the left, posterior and superior: DICOM's axes.
    pub const LPS: Self = Self([
        Way { world: 0, backwards: true },
        Way { world: 1, backwards: true },
        Way { world: 2, backwards: false },
    ]);
    /// The world's own.
    pub const RAS: Self = Self([
        Way { world: 0, backwards: false },
        Way { world: 1, backwards: false },
        Way { world: 2, backwards: false },
    ]);

    /// A grid's affine with axes of these directions, voxels of `spacing` and the first voxel at the origin.
    pub fn affine(self, spacing: [f64; 3]) -> Affine {
        let mut rows = [[0.0; 4]; 3];
        for (axis, way) in self.0.into_iter().enumerate() {
            rows[way.world][axis] = if way.backwards { -spacing[axis] } else { spacing[axis] };
        }
        Affine(rows)
    }
}

impl std::str::FromStr for Orientation {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("found {text:?}, expected three letters such as RAS: R or L, A or P, S or I in any order");
        let way = |letter: char| {
            let world = LETTERS.iter().position(|pair| pair.contains(&letter)).ok_or_else(wrong)?;
            Ok::<_, String>(Way { world, backwards: letter == LETTERS[world][1] })
        };
        let ways: Vec<Way> = text.chars().map(way).collect::<Result<_, _>>()?;
        let ways: [Way; 3] = ways.try_into().map_err(|_| wrong())?;
        let all = (0..3).all(|world| ways.iter().any(|w| w.world == world));
        if all { Ok(Self(ways)) } else { Err(wrong()) }
    }
}

impl TryFrom<String> for Orientation {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse().map_err(|e| format!("orientation: {e}"))
    }
}

impl std::fmt::Display for Orientation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|way| write!(f, "{}", LETTERS[way.world][usize::from(way.backwards)]))
    }
}

impl From<Orientation> for String {
    fn from(orientation: Orientation) -> Self {
        orientation.to_string()
    }
}

/// How the axes of a stored grid become those of another: which one each comes from, and whether it is turned round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Axes {
    from: [usize; 3],
    flipped: [bool; 3],
}

impl Axes {
    /// Axes as they are stored.
    pub const STORED: Self = Self { from: [0, 1, 2], flipped: [false; 3] };

    /// From a grid with this affine to `orientation`, each stored axis standing for the anatomical one that it is
    /// nearest.
    ///
    /// # Errors
    /// In words, if an axis has no length or lies 45 degrees or more from every anatomical axis.
    pub fn to(orientation: Orientation, affine: &Affine) -> Result<Self, String> {
        let mut ways = [Way { world: 0, backwards: false }; 3];
        for (axis, name) in ["i", "j", "k"].into_iter().enumerate() {
            let (step, length) = (affine.step(axis), affine.spacing()[axis]);
            if !length.is_normal() {
                return Err(format!("axis {name}: found a voxel of {length} mm, expected a length"));
            }
            let world = (0..3).fold(0, |best, w| if step[w].abs() > step[best].abs() { w } else { best });
            let cosine = step[world].abs() / length;
            if cosine < CLEAR {
                let degrees = cosine.acos().to_degrees();
                return Err(format!(
                    "orientation: axis {name} lies {degrees:.0} degrees from the nearest anatomical axis, expected less than \
                     45; resample the scan onto straight axes first"
                ));
            }
            ways[axis] = Way { world, backwards: step[world] < 0.0 };
        }
        let mut axes = Self::STORED;
        for (to, way) in orientation.0.into_iter().enumerate() {
            let from = ways.iter().position(|w| w.world == way.world);
            axes.from[to] = from.ok_or("orientation: two axes run along the same anatomical one")?;
            axes.flipped[to] = ways[axes.from[to]].backwards != way.backwards;
        }
        Ok(axes)
    }

    /// From one grid onto another that has the same voxels in another order; `this` and `other` are affines and sizes.
    ///
    /// # Errors
    /// In words, what differs if they don't have the same voxels.
    pub fn onto(this: (&Affine, [usize; 3]), other: (&Affine, [usize; 3])) -> Result<Self, String> {
        let back = other.0.inverse()?;
        let (own, wanted) = (this.0.spacing(), other.0.spacing());
        let direction = |axis: usize| {
            let step = this.0.step(axis);
            back.0.map(|row| row[0] * step[0] + row[1] * step[1] + row[2] * step[2])
        };
        let mut axes = Self::STORED;
        let mut taken = [false; 3];
        for from in 0..3 {
            let step = direction(from);
            let to = (0..3).fold(0, |best, w| if step[w].abs() > step[best].abs() { w } else { best });
            let length = own[from] / wanted[to];
            if (length - 1.0).abs() * this.1[from] as f64 > SAME_PLACE {
                return Err(format!("spacing {} mm, the volume's is {}", sides(own), sides(wanted)));
            }
            let off = (0..3).map(|w| (step[w].abs() - f64::from(u8::from(w == to))).abs()).fold(0.0, f64::max);
            if taken[to] || off * this.1[from] as f64 > SAME_PLACE {
                return Err("an orientation whose axes are not the volume's".to_owned());
            }
            taken[to] = true;
            (axes.from[to], axes.flipped[to]) = (from, step[to] < 0.0);
        }
        if axes.dims(this.1) != other.1 {
            return Err(format!("labels of {:?} voxels, the volume has {:?}", this.1, other.1));
        }
        let first = axes.affine(this.0, this.1).apply([0.0; 3]);
        let place = back.apply(first);
        if place.iter().any(|p| p.is_nan() || p.abs() > SAME_PLACE) {
            let origin = other.0.apply([0.0; 3]);
            let away = norm([0, 1, 2].map(|w| first[w] - origin[w]));
            return Err(format!("an origin {away:.2} mm from the volume's"));
        }
        Ok(axes)
    }

    /// The other grid's sizes.
    pub fn dims(&self, stored: [usize; 3]) -> [usize; 3] {
        self.from.map(|axis| stored[axis])
    }

    /// One number an axis of the stored grid, in the order of the other's axes.
    pub fn order(&self, stored: [f64; 3]) -> [f64; 3] {
        self.from.map(|axis| stored[axis])
    }

    /// The other grid's affine.
    pub fn affine(&self, stored: &Affine, dims: [usize; 3]) -> Affine {
        let mut first = [0.0; 3];
        for (&axis, _) in self.from.iter().zip(self.flipped).filter(|(_, flipped)| *flipped) {
            first[axis] = dims[axis] as f64 - 1.0;
        }
        let origin = stored.apply(first);
        Affine([0, 1, 2].map(|world| {
            let step = |to: usize| stored.0[world][self.from[to]] * if self.flipped[to] { -1.0 } else { 1.0 };
            [step(0), step(1), step(2), origin[world]]
        }))
    }

    /// For each voxel of the other grid, with its last axis fastest, the index of the stored one.
    fn indices(&self, stored: [usize; 3]) -> impl Iterator<Item = usize> {
        let strides = [stored[1] * stored[2], stored[2], 1];
        let (dims, from, flipped) = (self.dims(stored), self.from, self.flipped);
        let along = move |to: usize, at: usize| {
            let at = if flipped[to] { dims[to] - 1 - at } else { at };
            at * strides[from[to]]
        };
        (0..dims[0]).flat_map(move |a| {
            (0..dims[1]).flat_map(move |b| (0..dims[2]).map(move |c| along(0, a) + along(1, b) + along(2, c)))
        })
    }

    /// Stored values in the other grid's order.
    pub fn apply<T: Copy>(&self, data: &[T], stored: [usize; 3]) -> Vec<T> {
        self.indices(stored).map(|at| data[at]).collect()
    }

    /// Values in the other grid's order as they are stored.
    pub fn undo<T: Copy + Default>(&self, data: &[T], stored: [usize; 3]) -> Vec<T> {
        let mut out = vec![T::default(); data.len()];
        self.indices(stored).zip(data).for_each(|(at, &value)| out[at] = value);
        out
    }
}

/// Sides in words.
pub fn sides([a, b, c]: [f64; 3]) -> String {
    format!("{} x {} x {}", short(a), short(b), short(c))
}

/// At most four significant places after the point, without zeros at the end.
fn short(value: f64) -> String {
    let text = format!("{value:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rotated(degrees: f64) -> Affine {
        let (sin, cos) = degrees.to_radians().sin_cos();
        Affine([[cos, -sin, 0.0, 5.0], [sin, cos, 0.0, 6.0], [0.0, 0.0, 1.0, 7.0]])
    }

    #[test]
    fn letters_are_read_and_written() {
        for text in ["RAS", "LPS", "IPR", "ASL"] {
            assert_eq!(text.parse::<Orientation>().unwrap().to_string(), text);
        }
        for text in ["", "RA", "RRS", "RLS", "ras", "RASS", "RAX"] {
            assert!(text.parse::<Orientation>().unwrap_err().contains("RAS"), "{text:?}");
        }
        assert_eq!("RAS".parse::<Orientation>().unwrap(), Orientation::RAS);
    }

    #[test]
    fn oblique_axes_keep_the_nearest_and_ambiguous_ones_are_refused() {
        for degrees in [0.0, 30.0, -44.9] {
            assert_eq!(Axes::to(Orientation::RAS, &rotated(degrees)).unwrap(), Axes::STORED, "{degrees}");
        }
        for degrees in [50.0, 90.0, 134.9] {
            let axes = Axes::to(Orientation::RAS, &rotated(degrees)).unwrap();
            assert_eq!((axes.from, axes.flipped), ([1, 0, 2], [true, false, false]), "{degrees}");
        }
        for degrees in [45.0, -45.0, 135.0] {
            assert!(Axes::to(Orientation::RAS, &rotated(degrees)).unwrap_err().contains("45 degrees"));
        }
        // Each axis is nearest another one, but by 54.7 degrees.
        let third = 1.0 / 3f64.sqrt();
        let corner = Affine([[third, third, -third, 0.0], [third, -third, third, 0.0], [third, 0.1, 0.1, 0.0]]);
        assert!(Axes::to(Orientation::RAS, &corner).is_err());
        let flat = Affine([[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]]);
        assert!(Axes::to(Orientation::RAS, &flat).unwrap_err().contains("axis j"));
        assert!(rotated(20.0).shear_degrees() < 1e-9);
    }

    #[test]
    fn values_move_with_their_places() {
        let (dims, affine) = ([2, 3, 4], "PIR".parse::<Orientation>().unwrap().affine([1.0, 2.0, 3.0]));
        let data: Vec<usize> = (0..24).collect();
        let axes = Axes::to(Orientation::RAS, &affine).unwrap();
        let moved = axes.apply(&data, dims);
        let (to, turned) = (axes.dims(dims), axes.affine(&affine, dims));
        assert_eq!((to, turned.spacing()), ([4, 2, 3], [3.0, 1.0, 2.0]));
        for (at, &value) in moved.iter().enumerate() {
            let place = |at: usize, d: [usize; 3]| [at / (d[1] * d[2]), at / d[2] % d[1], at % d[2]].map(|v| v as f64);
            assert_eq!(turned.apply(place(at, to)), affine.apply(place(value, dims)));
        }
        assert_eq!(axes.undo(&moved, dims), data);
        // The other way, by the places alone.
        assert_eq!(Axes::onto((&affine, dims), (&turned, to)).unwrap(), axes);
    }

    #[test]
    fn other_grids_are_named() {
        let (dims, affine) = ([4, 4, 4], rotated(45.0));
        assert_eq!(Axes::onto((&affine, dims), (&affine, dims)).unwrap(), Axes::STORED);
        let mut moved = affine;
        moved.0[0][3] += 0.5;
        let mut wide = affine;
        wide.0.iter_mut().for_each(|row| row[2] *= 2.0);
        for (other, sizes, word) in [
            (moved, dims, "0.50 mm"),
            (wide, dims, "1 x 1 x 2"),
            (rotated(40.0), dims, "orientation"),
            (affine, [4, 4, 5], "[4, 4, 5]"),
        ] {
            let message = Axes::onto((&other, sizes), (&affine, dims)).unwrap_err();
            assert!(message.contains(word), "{message}");
        }
    }
}
