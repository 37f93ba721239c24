// Points that are multiplied by another batch's as they are read.

@group(0) @binding(3) var<storage, read> factors: array<vec2<u32>>;

var<private> points_modulus: Modulus;
// From a point to its factor.
var<private> factor_distance: u32;

fn start_points(limb: u32, row: u32) {
    points_modulus = modulus(limb);
    factor_distance = (row - row % params.factor_rows) * params.n;
}

fn load_point(at: u32) -> vec2<u32> {
    return w_to(mod_mul(w_from(data[at]), w_from(factors[at - factor_distance]), points_modulus));
}
