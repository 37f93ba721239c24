// Points that are multiplied by another batch's as they are read.

@group(0) @binding(3) var<storage, read> factors: array<vec2<u32>>;

// `distance`: from a point to its factor.
struct Points { m: Modulus, distance: u32 }

fn points_of(limb: u32, row: u32, factor_rows: u32, n: u32) -> Points {
    return Points(modulus(limb), (row - row % factor_rows) * n);
}

fn load_point(at: u32, points: Points) -> vec2<u32> {
    return w_to(mod_mul(w_from(data[at]), w_from(factors[at - points.distance]), points.m));
}
