// The automorphism x -> x^g as a gather: one lane a residue of the result, x along n, y the rows of a window.

struct Params {
    n: u32,
    limbs: u32,
    // Coefficient domain: 1/g modulo 2n. NTT domain: g.
    element: u32,
}

var<immediate> params: Params;

@group(0) @binding(1) var<storage, read_write> out: array<vec2<u32>>;
@group(0) @binding(2) var<storage, read> residues: array<vec2<u32>>;

// Coefficient j comes from x^i, i = j / g modulo 2n, and x^(n + k) = -x^k.
@compute @workgroup_size(64)
fn automorphism_coeff(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x < params.n {
        let i = id.x * params.element;
        let q = modulus(id.y % params.limbs).q;
        let x = w_from(residues[id.y * params.n + (i & (params.n - 1u))]);
        let negative = (i & params.n) != 0u;
        out[id.y * params.n + id.x] = w_to(w_pick(w_csub(w_sub(q, x), q), x, negative));
    }
}

// Point i is the value at psi^(2 bitrev(i) + 1), that of the result the polynomial's at g times this exponent.
@compute @workgroup_size(64)
fn automorphism_ntt(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x < params.n {
        // 32 - log2 n
        let shift = countLeadingZeros(params.n) + 1u;
        let exponent = (2u * (reverseBits(id.x) >> shift) + 1u) * params.element;
        let source = reverseBits((exponent / 2u) & (params.n - 1u)) >> shift;
        out[id.y * params.n + id.x] = residues[id.y * params.n + source];
    }
}
