//! What the paper's tables say.

/// Networks, in the order of the tables.
pub(super) const NETS: [&str; 6] = ["breast", "diabetes", "liver", "thyroid", "mnist", "cifar10"];
/// Activations, in the order of tables 6 and 7.
pub(super) const ACTIVATIONS: [&str; 9] =
    ["binary", "relu", "relu6", "leaky_relu", "sigmoid_plan2", "sigmoid_logsqnl", "tanh_pla", "tanh_sqnl", "elu_sqlu"];

/// Tables 6 and 7: seconds.
const SECONDS: [[f64; 9]; 6] = [
    [0.28, 0.22, 0.35, 0.28, 0.45, 0.45, 0.63, 0.38, 0.45],
    [0.24, 0.39, 0.33, 0.24, 0.45, 0.45, 0.67, 0.37, 0.45],
    [0.19, 0.19, 0.34, 0.19, 0.53, 0.53, 0.89, 0.40, 0.53],
    [0.88, 0.94, 1.34, 0.89, 19.37, 19.54, 30.56, 15.39, 19.54],
    [0.82, 0.64, 1.41, 0.84, 2.17, 2.20, 3.61, 1.66, 2.19],
    [423.58, 146.9, 820.07, 436.05, 1336.20, 1350.77, 2304.31, 991.88, 1350.39],
];

/// Tables 6 and 7: KiB online.
const KIB: [[f64; 9]; 6] = [
    [8.14, 8.64, 10.56, 8.64, 13.48, 13.48, 19.83, 12.06, 13.48],
    [40.34, 40.97, 43.37, 40.97, 47.02, 47.02, 54.95, 45.24, 47.02],
    [8.22, 9.22, 13.07, 9.22, 18.91, 18.91, 31.60, 16.07, 18.91],
    [110.46, 113.59, 125.60, 113.59, 143.86, 143.86, 183.51, 134.97, 143.86],
    [931.8, 931.8, 952.3, 931.8, 972.8, 972.8, 1024.0, 962.6, 972.8],
    [508_088.0, 510_802.0, 521_196.0, 510_802.0, 536_996.0, 536_996.0, 571_300.0, 529_306.0, 536_996.0],
];

/// Bytes an activation, by the paper's own counts of ANDs and products.
const EACH: [f64; 9] = [61.5, 77.5, 139.0, 77.5, 232.5, 232.5, 435.5, 187.0, 232.5];

/// Table 8: seconds and MB of preprocessing.
pub(super) const PREPROCESSING: [[f64; 2]; 6] =
    [[0.1, 0.003], [0.03, 0.0022], [0.06, 0.018], [0.28, 0.048], [0.07, 0.45], [243.0, 246.4]];

fn place(all: &[&str], name: &str) -> Option<usize> {
    all.iter().position(|n| *n == name)
}

/// Seconds and bytes of a network with an activation.
pub(super) fn cell(net: &str, activation: &str) -> Option<(f64, f64)> {
    let (n, a) = (place(&NETS, net)?, place(&ACTIVATIONS, activation)?);
    Some((SECONDS[n][a], 1024.0 * KIB[n][a]))
}

/// What the paper's protocols send by its own counts: 8 bytes a multiply-add, and those of each activation.
pub(super) fn formula(products: usize, activations: usize, activation: &str) -> Option<f64> {
    Some(8.0 * products as f64 + EACH[place(&ACTIVATIONS, activation)?] * activations as f64)
}
