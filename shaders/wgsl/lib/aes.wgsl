// AES-128 and the gate hash H(x) = E(s(x)) xor s(x) with s(hi || lo) = (hi xor lo) || hi, as in engine/src/aes.rs.
//
// A block is four columns, little-endian: byte r of column c is bits 8r.. of word c. One table T[x] = (2S, S, S, 3S), whose
// rotations are the other three and whose second byte is the S-box, lies in workgroup memory COPIES times,
// interleaved, so that with 32 copies every lane has its own bank: no conflicts, and no timing by the data. With fewer, lanes
// meet at a bank or not depending on the data.

alias Block = vec4<u32>;

@group(0) @binding(0) var<storage, read> aes_table: array<u32>;
// Two a gate.
@group(0) @binding(2) var<storage, read> keys: array<vec4<u32>>;

var<workgroup> aes_t: array<u32, 256 * COPIES>;
// Gates whose keys are expanded at a time, by two lanes each.
const GATES_AHEAD: u32 = 8u;
// Two keys a gate of eleven round keys.
var<workgroup> round_keys: array<Block, 22 * GATES_AHEAD>;

// Every lane's own column of the table.
var<private> aes_copy: u32;

fn aes_t_at(x: u32) -> u32 { return aes_t[(x & 255u) * COPIES + aes_copy]; }

fn aes_s(x: u32) -> u32 { return (aes_t_at(x) >> 8u) & 255u; }

fn rotate_left(x: u32, by: u32) -> u32 { return (x << by) | (x >> (32u - by)); }

fn aes_sub_word(x: u32) -> u32 {
    return aes_s(x) | (aes_s(x >> 8u) << 8u) | (aes_s(x >> 16u) << 16u) | (aes_s(x >> 24u) << 24u);
}

// By all 256 lanes of a workgroup. Neighbouring lanes write neighbouring words: in different banks.
fn hash_start(lane: u32) {
    aes_copy = lane % COPIES;
    for (var i = 0u; i < COPIES; i += 1u) {
        let at = i * 256u + lane;
        aes_t[at] = aes_table[at / COPIES];
    }
}

// By one lane: number `which` of the keys.
fn aes_expand(which: u32, key: Block) {
    var k = key;
    var constant = 1u;
    round_keys[which * 11u] = k;
    for (var round = 1u; round <= 10u; round += 1u) {
        k.x ^= aes_sub_word(rotate_left(k.w, 24u)) ^ constant;
        k.y ^= k.x;
        k.z ^= k.y;
        k.w ^= k.z;
        round_keys[which * 11u + round] = k;
        constant = (constant << 1u) ^ select(0u, 0x11bu, constant >= 128u);
    }
}

fn aes_column(a: u32, b: u32, c: u32, d: u32) -> u32 {
    return aes_t_at(a) ^ rotate_left(aes_t_at(b >> 8u), 8u) ^ rotate_left(aes_t_at(c >> 16u), 16u)
        ^ rotate_left(aes_t_at(d >> 24u), 24u);
}

fn aes_last_column(a: u32, b: u32, c: u32, d: u32) -> u32 {
    return aes_s(a) | (aes_s(b >> 8u) << 8u) | (aes_s(c >> 16u) << 16u) | (aes_s(d >> 24u) << 24u);
}

fn aes_round(s: Block, key: Block) -> Block {
    return key ^ Block(
        aes_column(s.x, s.y, s.z, s.w),
        aes_column(s.y, s.z, s.w, s.x),
        aes_column(s.z, s.w, s.x, s.y),
        aes_column(s.w, s.x, s.y, s.z),
    );
}

fn aes_encrypt(which: u32, x: Block) -> Block {
    let k = which * 11u;
    var s = x ^ round_keys[k];
    s = aes_round(s, round_keys[k + 1u]);
    s = aes_round(s, round_keys[k + 2u]);
    s = aes_round(s, round_keys[k + 3u]);
    s = aes_round(s, round_keys[k + 4u]);
    s = aes_round(s, round_keys[k + 5u]);
    s = aes_round(s, round_keys[k + 6u]);
    s = aes_round(s, round_keys[k + 7u]);
    s = aes_round(s, round_keys[k + 8u]);
    s = aes_round(s, round_keys[k + 9u]);
    return round_keys[k + 10u] ^ Block(
        aes_last_column(s.x, s.y, s.z, s.w),
        aes_last_column(s.y, s.z, s.w, s.x),
        aes_last_column(s.z, s.w, s.x, s.y),
        aes_last_column(s.w, s.x, s.y, s.z),
    );
}

// By all lanes of a workgroup: the keys of `count` gates from number `gate` of all chunks' gates on.
fn hash_keys(lane: u32, gate: u32, count: u32) {
    if lane < 2u * count {
        aes_expand(lane, keys[gate * 2u + lane]);
    }
}

// By key `which` of those made ready.
fn gate_hash(which: u32, x: Block) -> Block {
    let s = Block(x.zw, x.xy ^ x.zw);
    return aes_encrypt(which, s) ^ s;
}
