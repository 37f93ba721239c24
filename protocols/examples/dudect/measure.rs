//! Times of two classes of inputs, and whether their means differ.

use std::hint::black_box;
use std::time::Instant;

use blindvox_engine::Prng;

/// Runs before times count.
const WARM_UP: usize = 100;

/// Measures and prints.
pub(crate) struct Timer {
    runs: usize,
    prng: Prng,
}

impl Timer {
    /// That runs functions of microseconds so often.
    pub(crate) fn new(runs: usize) -> Self {
        println!("| function | body | runs | median | t, all | t, 90 % | t, 75 % | t, 50 % |");
        println!("|---|---|---|---|---|---|---|---|");
        Self { runs, prng: Prng::from_os().expect("randomness") }
    }

    /// For inputs that are vectors of plain values: each is copied to one place before its time starts, as the place of
    /// an input in memory changes times by far more than its content could.
    pub(crate) fn words<I: Copy, T>(
        &mut self,
        name: &str,
        body: &str,
        less: usize,
        inputs: &[Vec<Vec<I>>; 2],
        mut f: impl FnMut(&[I]) -> T,
    ) {
        let mut place = inputs[0][0].clone();
        self.times(name, body, less, |class, random, start| {
            place.copy_from_slice(&inputs[class][random % inputs[class].len()]);
            start();
            black_box(f(black_box(&place)));
        });
    }

    /// For other inputs, which stay where they are.
    pub(crate) fn run<I, T>(
        &mut self,
        name: &str,
        body: &str,
        less: usize,
        inputs: &[Vec<I>; 2],
        mut f: impl FnMut(&I) -> T,
    ) {
        self.times(name, body, less, |class, random, start| {
            let input = &inputs[class][random % inputs[class].len()];
            start();
            black_box(f(black_box(input)));
        });
    }

    /// Calls `once` with a class, a random number and what starts the clock, `runs` / `less` times.
    fn times(&mut self, name: &str, body: &str, less: usize, mut once: impl FnMut(usize, usize, &mut dyn FnMut())) {
        let runs = self.runs / less;
        let mut times = [vec![], vec![]];
        for run in 0..runs + WARM_UP {
            let random = self.prng.next_u32() as usize;
            let mut begun = Instant::now();
            once(random & 1, random >> 1, &mut || begun = Instant::now());
            let time = begun.elapsed().as_nanos() as f64;
            if run >= WARM_UP {
                times[random & 1].push(time);
            }
        }
        let mut all = times.concat();
        all.sort_by(f64::total_cmp);
        let part = |share: f64| {
            let most = all[((all.len() - 1) as f64 * share) as usize];
            let fast = |times: &[f64]| times.iter().copied().filter(|t| *t <= most).collect::<Vec<_>>();
            format!("{:+.1}", welch(&fast(&times[0]), &fast(&times[1])))
        };
        let t = [1.0, 0.9, 0.75, 0.5].map(part).join(" | ");
        println!("| {name} | {body} | {runs} | {:.1} us | {t} |", all[all.len() / 2] / 1e3);
    }
}

/// Welch's t of two samples.
fn welch(a: &[f64], b: &[f64]) -> f64 {
    let mean = |x: &[f64]| x.iter().sum::<f64>() / x.len() as f64;
    let (of_a, of_b) = (mean(a), mean(b));
    // Of the mean, by the variance of the sample.
    let variance = |x: &[f64], mean: f64| {
        x.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (x.len() as f64 - 1.0) / x.len() as f64
    };
    (of_a - of_b) / (variance(a, of_a) + variance(b, of_b)).sqrt()
}
