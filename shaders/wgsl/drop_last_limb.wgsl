// Modulus switch in the coefficient domain: out_l = (x_l - [x_last]) / q_last mod q_l, with [x_last] the representative
// nearest zero. One lane a residue of the result: x along n, y the remaining limb, z the polynomial.

struct Params {
    n: u32,
    // With the last one.
    limbs: u32,
}

var<immediate> params: Params;

@group(0) @binding(1) var<storage, read_write> out: array<vec2<u32>>;
@group(0) @binding(2) var<storage, read> residues: array<vec2<u32>>;

@compute @workgroup_size(64)
fn drop_last_limb(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x < params.n {
        let kept = params.limbs - 1u;
        let m = modulus(id.y);
        let q_last = modulus(kept).q;
        let row = id.z * params.limbs;
        let x = w_from(residues[(row + id.y) * params.n + id.x]);
        let last = w_from(residues[(row + kept) * params.n + id.x]);
        // Above q_last / 2 the representative is last - q_last < 0: add its magnitude, else take the value away.
        let negated = w_sub(q_last, last);
        let negative = w_less(negated, last);
        let magnitude = mod_reduce(w_pick(negated, last, negative), m);
        let difference = w_pick(mod_add(x, magnitude, m.q), mod_sub(x, magnitude, m.q), negative);
        let result = mod_mul_factor(difference, modulus_factor(id.y, 5u), m.q);
        out[(id.z * kept + id.y) * params.n + id.x] = w_to(result);
    }
}
