// Butterflies of both transforms on up to 16 points in registers.
//
// A node is a number in the binary tree of factors x^m - root: node 1 is x^n + 1, the children of node i are
// 2i and 2i + 1, and roots[i] is its factor. A radix-16 step on 16 points of node i uses the 15 roots of its subtree of
// four levels. Everything is written out and all indices are constants, so the points stay in registers.
//
// Ranges: with q below 2^60 a word holds 16q. Forward (Cooley-Tukey) a stage adds 2q and any word may be multiplied, so
// four stages take values below 8q to values below 16q with no reduction. Inverse (Gentleman-Sande) a sum doubles
// the range and a product is below 2q; the bounds of radix 16 are noted below. After Harvey (2014).

@group(0) @binding(1) var<storage, read_write> data: array<vec2<u32>>;
@group(0) @binding(2) var<storage, read> roots: array<vec4<u32>>;

var<private> v: array<Word, 16>;
var<private> q: Word;
var<private> two_q: Word;
var<private> four_q: Word;
var<private> eight_q: Word;
// Where the limb's roots start.
var<private> roots_at: u32;

fn start(limb: u32, n: u32) {
    q = modulus(limb).q;
    two_q = w_double(q);
    four_q = w_double(two_q);
    eight_q = w_double(four_q);
    roots_at = moduli[limb * MODULUS_WORDS + 6u].x * n;
}

// No node has number 0: among the inverse roots it holds the root of node 1 times n^-1.
fn root(node: u32) -> Factor { return factor(roots[roots_at + node]); }

// Forward.

fn ct(i: u32, j: u32, w: Factor) {
    let t = mod_mul_lazy(v[j], w, q);
    v[j] = w_sub(w_add(v[i], two_q), t);
    v[i] = w_add(v[i], t);
}

fn forward_2(o: u32, node: u32) { ct(o, o + 1u, root(node)); }

fn forward_4(o: u32, node: u32) {
    let w = root(node);
    ct(o, o + 2u, w);
    ct(o + 1u, o + 3u, w);
    forward_2(o, 2u * node);
    forward_2(o + 2u, 2u * node + 1u);
}

fn forward_8(o: u32, node: u32) {
    let w = root(node);
    ct(o, o + 4u, w);
    ct(o + 1u, o + 5u, w);
    ct(o + 2u, o + 6u, w);
    ct(o + 3u, o + 7u, w);
    forward_4(o, 2u * node);
    forward_4(o + 4u, 2u * node + 1u);
}

fn forward_16(node: u32) {
    let w = root(node);
    ct(0u, 8u, w);
    ct(1u, 9u, w);
    ct(2u, 10u, w);
    ct(3u, 11u, w);
    ct(4u, 12u, w);
    ct(5u, 13u, w);
    ct(6u, 14u, w);
    ct(7u, 15u, w);
    forward_8(0u, 2u * node);
    forward_8(8u, 2u * node + 1u);
}

// Below 16q to below 8q.
fn settle_forward(i: u32) -> Word { return w_csub(v[i], eight_q); }

// Below 16q to below q.
fn finish_forward(i: u32) -> Word {
    return w_csub(w_csub(w_csub(w_csub(v[i], eight_q), four_q), two_q), q);
}

// Inverse: `offset` is a multiple of q that v[j] stays below.

fn gs(i: u32, j: u32, w: Factor, offset: Word) {
    let t = w_sub(w_add(v[i], offset), v[j]);
    v[i] = w_add(v[i], v[j]);
    v[j] = mod_mul_lazy(t, w, q);
}

// Below 2q to below 4q, 2q.
fn inverse_2(o: u32, node: u32) { gs(o, o + 1u, root(node), two_q); }

// Below 2q to below 8q, 4q, 2q, 2q.
fn inverse_4(o: u32, node: u32) {
    inverse_2(o, 2u * node);
    inverse_2(o + 2u, 2u * node + 1u);
    let w = root(node);
    gs(o, o + 2u, w, four_q);
    gs(o + 1u, o + 3u, w, four_q);
}

// Below 2q to below 16q, 8q, 4q, 4q and four times 2q.
fn inverse_8(o: u32, node: u32) {
    inverse_4(o, 2u * node);
    inverse_4(o + 4u, 2u * node + 1u);
    let w = root(node);
    gs(o, o + 4u, w, eight_q);
    gs(o + 1u, o + 5u, w, eight_q);
    gs(o + 2u, o + 6u, w, eight_q);
    gs(o + 3u, o + 7u, w, eight_q);
}

// Below 2q to below 16q, 16q, 8q, 8q, four times 4q, eight times 2q.
fn inverse_16(node: u32) {
    inverse_8(0u, 2u * node);
    inverse_8(8u, 2u * node + 1u);
    v[0] = w_csub(v[0], eight_q);
    v[8] = w_csub(v[8], eight_q);
    let w = root(node);
    gs(0u, 8u, w, eight_q);
    gs(1u, 9u, w, eight_q);
    gs(2u, 10u, w, eight_q);
    gs(3u, 11u, w, eight_q);
    gs(4u, 12u, w, eight_q);
    gs(5u, 13u, w, eight_q);
    gs(6u, 14u, w, eight_q);
    gs(7u, 15u, w, eight_q);
}

fn below_2q_from_4q(i: u32) { v[i] = w_csub(v[i], two_q); }

fn below_2q_from_8q(i: u32) {
    v[i] = w_csub(v[i], four_q);
    below_2q_from_4q(i);
}

fn below_2q_from_16q(i: u32) {
    v[i] = w_csub(v[i], eight_q);
    below_2q_from_8q(i);
}

// After inverse_8 at o: below 2q again.
fn settle_8(o: u32) {
    below_2q_from_16q(o);
    below_2q_from_8q(o + 1u);
    below_2q_from_4q(o + 2u);
    below_2q_from_4q(o + 3u);
}

// After inverse_4 at o.
fn settle_4(o: u32) {
    below_2q_from_8q(o);
    below_2q_from_4q(o + 1u);
}

// After inverse_16.
fn settle_16() {
    below_2q_from_16q(0u);
    below_2q_from_16q(1u);
    below_2q_from_8q(2u);
    below_2q_from_8q(3u);
    below_2q_from_4q(4u);
    below_2q_from_4q(5u);
    below_2q_from_4q(6u);
    below_2q_from_4q(7u);
}

// The last stage of the inverse, that of node 1, takes n^-1 along: for differences within their root, and all are in [0, q).

var<private> n_inv: Factor;
var<private> last_root: Factor;

fn start_last(limb: u32) {
    n_inv = modulus_factor(limb, 3u);
    last_root = root(0u);
}

fn gs_last(i: u32, j: u32, offset: Word) {
    let t = w_sub(w_add(v[i], offset), v[j]);
    v[i] = mod_mul_factor(w_add(v[i], v[j]), n_inv, q);
    v[j] = mod_mul_factor(t, last_root, q);
}

fn inverse_2_last() { gs_last(0u, 1u, two_q); }

fn inverse_4_last() {
    inverse_2(0u, 2u);
    inverse_2(2u, 3u);
    gs_last(0u, 2u, four_q);
    gs_last(1u, 3u, four_q);
}

fn inverse_8_last() {
    inverse_4(0u, 2u);
    inverse_4(4u, 3u);
    gs_last(0u, 4u, eight_q);
    gs_last(1u, 5u, eight_q);
    gs_last(2u, 6u, eight_q);
    gs_last(3u, 7u, eight_q);
}

fn inverse_16_last() {
    inverse_8(0u, 2u);
    inverse_8(8u, 3u);
    v[0] = w_csub(v[0], eight_q);
    v[8] = w_csub(v[8], eight_q);
    gs_last(0u, 8u, eight_q);
    gs_last(1u, 9u, eight_q);
    gs_last(2u, 10u, eight_q);
    gs_last(3u, 11u, eight_q);
    gs_last(4u, 12u, eight_q);
    gs_last(5u, 13u, eight_q);
    gs_last(6u, 14u, eight_q);
    gs_last(7u, 15u, eight_q);
}
