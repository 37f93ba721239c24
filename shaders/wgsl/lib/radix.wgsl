// The points and factors of both transforms; butterflies are shaders/src/unroll.rs's.
//
// A node is a number in the binary tree of factors x^m - root: node 1 is x^n + 1, the children of node i are
// 2i and 2i + 1, and the factor of node i is number i of the roots, except in the last four levels of a chunk (three of 2048 points,
// two of 1024), where every lane has nodes of its own: there the first of every lane comes first, then the second of every lane, so that
// neighbouring lanes read neighbouring factors. No node has number 0: among the inverse roots it holds the root of node 1 times n^-1.

@group(0) @binding(1) var<storage, read_write> data: array<vec2<u32>>;
@group(0) @binding(2) var<storage, read> roots: array<vec4<u32>>;

fn root(at: u32) -> Factor { return factor(roots[at]); }

// The number of a limb's prime in the table of roots.
fn roots_of(limb: u32) -> u32 { return moduli[limb * MODULUS_WORDS + 6u].x; }
