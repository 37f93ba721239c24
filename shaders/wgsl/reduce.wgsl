// Signed integers of 64 or 128 bits, [batch, n] in two's complement, to residues. One lane a residue: x along n, y: row.

struct Params {
    n: u32,
    // Row y is limb y % limbs.
    limbs: u32,
}

var<immediate> params: Params;

@group(0) @binding(1) var<storage, read_write> out: array<vec2<u32>>;
@group(0) @binding(2) var<storage, read> values: array<vec2<u32>>;

fn residue(low: Word, high: Word, limb: u32) -> vec2<u32> {
    let m = modulus(limb);
    let negative = (w_to(high).y >> 31u) == 1u;
    // -(high, low) = (~high + carry, -low), carry where low is 0.
    let carry = w_from(vec2<u32>(select(0u, 1u, w_to(low).x == 0u && w_to(low).y == 0u), 0u));
    let inverted = w_from(~w_to(high));
    let magnitude_low = w_pick(w_sub(W_ZERO, low), low, negative);
    let magnitude_high = w_pick(w_add(inverted, carry), high, negative);
    let magnitude = mod_reduce_wide(Wide(magnitude_low, magnitude_high), m);
    return w_to(w_pick(w_csub(w_sub(m.q, magnitude), m.q), magnitude, negative));
}

@compute @workgroup_size(64)
fn reduce_one(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x < params.n {
        let value = values[id.y / params.limbs * params.n + id.x];
        let high = select(0u, 0xffffffffu, (value.y >> 31u) == 1u);
        out[id.y * params.n + id.x] = residue(w_from(value), w_from(vec2<u32>(high, high)), id.y % params.limbs);
    }
}

@compute @workgroup_size(64)
fn reduce_two(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x < params.n {
        let at = 2u * (id.y / params.limbs * params.n + id.x);
        out[id.y * params.n + id.x] = residue(w_from(values[at]), w_from(values[at + 1u]), id.y % params.limbs);
    }
}
