// The ChaCha12 gate hash, as in engine/src/chacha.rs; the same interface as aes.wgsl. A state is four rows of four words:
// constants, key, key, input. Additions, xors and rotations alone: no table, no timing by the data.

alias Block = vec4<u32>;

// The first key: six words of the root, two of its number, low first. Key `which` of gate g has number first + 2g + which.
@group(0) @binding(0) var<storage, read> first_key: array<vec4<u32>>;

const CHACHA_CONSTANTS: vec4<u32> = vec4<u32>(0x61707865u, 0x3320646eu, 0x79622d32u, 0x6b206574u);

var<private> chacha_key_low: vec4<u32>;
// By `which`.
var<private> chacha_key_high: array<vec4<u32>, 2>;

fn hash_start(lane: u32, gate: u32) {
    chacha_key_low = first_key[0];
    let high = first_key[1];
    for (var which = 0u; which < 2u; which += 1u) {
        // 2 gate + which is below 2^32: keys of a batch are far fewer.
        let low = high.z + (2u * gate + which);
        chacha_key_high[which] = vec4<u32>(high.xy, low, high.w + u32(low < high.z));
    }
}

fn chacha_rotate(x: vec4<u32>, by: u32) -> vec4<u32> { return (x << vec4<u32>(by)) | (x >> vec4<u32>(32u - by)); }

fn gate_hash(which: u32, x: Block) -> Block {
    var a = CHACHA_CONSTANTS;
    var b = chacha_key_low;
    var c = chacha_key_high[which];
    var d = x;
    for (var pair = 0u; pair < 6u; pair += 1u) {
        // Columns.
        a += b; d = chacha_rotate(d ^ a, 16u);
        c += d; b = chacha_rotate(b ^ c, 12u);
        a += b; d = chacha_rotate(d ^ a, 8u);
        c += d; b = chacha_rotate(b ^ c, 7u);
        // Diagonals are the columns of the rows turned.
        b = b.yzwx; c = c.zwxy; d = d.wxyz;
        a += b; d = chacha_rotate(d ^ a, 16u);
        c += d; b = chacha_rotate(b ^ c, 12u);
        a += b; d = chacha_rotate(d ^ a, 8u);
        c += d; b = chacha_rotate(b ^ c, 7u);
        b = b.wxyz; c = c.zwxy; d = d.yzwx;
    }
    return a + CHACHA_CONSTANTS;
}
