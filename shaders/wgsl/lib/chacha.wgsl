// The ChaCha12 gate hash, as in engine/src/chacha.rs; the same interface as aes.wgsl. A state is four rows of four words:
// constants, key, key, input. Additions, xors and rotations alone: no table, no timing by the data.

alias Block = vec4<u32>;

// The first key: six words of the root, two of its number, low first. Key `which` of gate g has number first + 2g + which.
@group(0) @binding(0) var<storage, read> first_key: array<vec4<u32>>;

const CHACHA_CONSTANTS: vec4<u32> = vec4<u32>(0x61707865u, 0x3320646eu, 0x79622d32u, 0x6b206574u);

// Nothing is made ready; as many as in aes.wgsl.
const GATES_AHEAD: u32 = 8u;

// The number of the first of the keys made ready, less the first of all.
var<private> chacha_first: u32;

fn hash_start(lane: u32) {}

fn hash_keys(lane: u32, gate: u32, count: u32) {
    // Below 2^32: keys of a batch are far fewer.
    chacha_first = 2u * gate;
}

fn chacha_rotate(x: vec4<u32>, by: u32) -> vec4<u32> { return (x << vec4<u32>(by)) | (x >> vec4<u32>(32u - by)); }

// By key `which` of those made ready.
fn gate_hash(which: u32, x: Block) -> Block {
    let high = first_key[1];
    let low = high.z + chacha_first + which;
    var a = CHACHA_CONSTANTS;
    var b = first_key[0];
    var c = vec4<u32>(high.xy, low, high.w + u32(low < high.z));
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
