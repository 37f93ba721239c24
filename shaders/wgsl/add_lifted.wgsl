// acc += values * scale on one limb of each polynomial, for signed 32-bit values [batch, n].

struct Params {
    // The scale's residue and its companion.
    scale: vec4<u32>,
    n: u32,
    limbs: u32,
    limb: u32,
}

var<immediate> params: Params;

@group(0) @binding(1) var<storage, read_write> acc: array<vec2<u32>>;
@group(0) @binding(2) var<storage, read> values: array<i32>;

@compute @workgroup_size(64)
fn add_lifted(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x < params.n {
        let i = (id.y * params.limbs + params.limb) * params.n + id.x;
        let q = modulus(params.limb).q;
        let value = values[id.y * params.n + id.x];
        // The magnitude as u32: right for -2^31 too. Any word may be multiplied by a factor.
        let magnitude = w_from(vec2<u32>(u32(select(value, -value, value < 0)), 0u));
        let product = mod_mul_factor(magnitude, factor(params.scale), q);
        acc[i] = w_to(w_pick(mod_sub(w_from(acc[i]), product, q), mod_add(w_from(acc[i]), product, q), value < 0));
    }
}
