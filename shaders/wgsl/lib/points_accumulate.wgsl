// Points that are not written: their products with two factors are added to two sums.

@group(0) @binding(3) var<storage, read_write> sum0: array<vec2<u32>>;
@group(0) @binding(4) var<storage, read_write> sum1: array<vec2<u32>>;
@group(0) @binding(5) var<storage, read> factors0: array<vec2<u32>>;
@group(0) @binding(6) var<storage, read> factors1: array<vec2<u32>>;

// `distance`: from a point to its factor.
struct Points { m: Modulus, distance: u32 }

fn points_of(limb: u32, row: u32, factor_rows: u32, n: u32) -> Points {
    return Points(modulus(limb), (row - row % factor_rows) * n);
}

fn store_point(at: u32, x: vec2<u32>, points: Points) {
    let m = points.m;
    let i = at - points.distance;
    sum0[at] = w_to(mod_add(w_from(sum0[at]), mod_mul(w_from(x), w_from(factors0[i]), m), m.q));
    sum1[at] = w_to(mod_add(w_from(sum1[at]), mod_mul(w_from(x), w_from(factors1[i]), m), m.q));
}
