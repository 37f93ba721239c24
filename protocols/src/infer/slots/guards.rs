//! What a client sees of a result that makes it doubtful. Squares amplify: an input unlike those that a network was
//! trained on may leave all bounds, and what is decrypted is then no score.
//!
//! All of it stays with the client. The service is never told, neither by a message nor by a pause: a service that learnt
//! which results were refused could learn from that what they were.

use blindvox_engine::ckks::Decrypted;

use super::public::Public;

/// How far errors may lie beyond the predicted deviation.
const FAR: f64 = 16.0;
/// What unused slots may hold of the bound on scores.
const LEFT_OVER: f64 = 1.0 / 1024.0;

/// The standard deviation of a slot's error, flood and fresh encryption of zero included.
fn deviation(public: &Public) -> f64 {
    let n = public.ring.n as f64;
    let zero = (n * 3.24 * 3.24 * (1.0 + 4.0 / 3.0 * n)).sqrt() / f64::from(public.ring.delta).exp2();
    [public.ring.flood_in_slots(), zero, public.ring.said_error()].iter().map(|x| x * x).sum::<f64>().sqrt()
}

/// In words, why the results of one input are not to be trusted; none if they are as they should be.
pub fn doubts(public: &Public, results: &[Decrypted], scores: &[f64]) -> Vec<String> {
    let mut doubts = Vec::new();
    let deviation = deviation(public);
    let imaginary = results.iter().fold(0.0, |most: f64, r| most.max(r.largest_imaginary()));
    if imaginary > FAR * deviation || imaginary.is_nan() {
        doubts.push(format!("imaginary parts of {imaginary:.2e}, at most {:.2e} are expected", FAR * deviation));
    }
    let first = f64::from(public.ring.chain[0] - 1);
    let limit = (-5f64).exp2().max(1.01 * public.logit_bound * (f64::from(public.ring.delta) - first).exp2());
    let coefficient = results.iter().fold(0.0, |most: f64, r| most.max(r.largest_coefficient()));
    if coefficient > limit {
        doubts.push(format!("coefficients of 2^{:.1} of what the last prime holds", coefficient.log2()));
    }
    let largest = scores.iter().fold(0.0, |most: f64, s| most.max(s.abs()));
    if largest > public.logit_bound || largest.is_nan() {
        doubts.push(format!("scores of {largest:.3e}, at most {} are expected", public.logit_bound));
    }
    let left = left_over(public, results);
    let expected = 2.0 * FAR * deviation + LEFT_OVER * public.logit_bound;
    if left > expected {
        doubts.push(format!("{left:.2e} in slots beside the scores, at most {expected:.2e} is expected"));
    }
    doubts
}

/// The largest value in slots that should hold 0, or the largest difference between slots that should be alike.
fn left_over(public: &Public, results: &[Decrypted]) -> f64 {
    let used = public.output.used();
    let mut most = 0.0f64;
    for (at, result) in results.iter().enumerate() {
        let (values, used) = (result.real(), &used[at % used.len()]);
        if public.repeats {
            let period = public.output.channels.next_power_of_two();
            let (head, rest) = values.split_at(period);
            for copy in rest.chunks_exact(period) {
                let apart = copy.iter().zip(head).map(|(a, b)| (a - b).abs());
                most = apart.fold(most, f64::max);
            }
        } else {
            let unused = values.iter().zip(used).filter(|(_, used)| !**used);
            most = unused.fold(most, |most, (x, _)| most.max(x.abs()));
        }
    }
    most
}
