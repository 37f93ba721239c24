// Forward negacyclic transform of chunks of POINTS (1024, 2048 or 4096) points: the last log2(POINTS) stages of
// rows of n = chunks * POINTS points. Natural order in, bit-reversed order out, with merged powers of psi.
//
// Three passes of radix 16 (the last one 16, 8 or 4: STEP) on 16 points a lane in registers, two exchanges through
// workgroup memory: first points LANES apart, then STEP apart within blocks of LANES, then neighbours.
// Values below 8q in, in [0, q) out; where they go is lib/points.wgsl's or lib/points_accumulate.wgsl's. x: chunk, y: row.

struct Params {
    n: u32,
    limbs: u32,
    // Chunks a row.
    chunks: u32,
    // Rows of a factor before it repeats.
    factor_rows: u32,
}

var<immediate> params: Params;

// Neighbouring lanes read and write in different banks, whichever pass. A lane clears the places that it was the last to read.
var<workgroup> tile: array<vec2<u32>, POINTS>;

fn swizzle(i: u32) -> u32 { return i ^ ((i >> 4u) & 15u); }

// Lanes a workgroup: 16 points each.
const LANES: u32 = POINTS / 16u;
// Distance of a lane's points in the middle pass, and the radix of the pass over neighbours.
const STEP: u32 = LANES / 16u;

@compute @workgroup_size(LANES)
fn ntt_forward(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3<u32>) {
    let limb = group.y % params.limbs;
    let points = points_of(limb, group.y, params.factor_rows, params.n);
    let q = modulus(limb).q;
    let two_q = w_double(q);
    let four_q = w_double(two_q);
    let eight_q = w_double(four_q);
    let node = params.chunks + group.x;
    let base = group.y * params.n + group.x * POINTS;
    let block = lane / STEP;
    let middle = block * LANES + lane % STEP;
    // Where the factors of the three passes start.
    let wide_at = roots_of(limb) * params.n;
    let own_at = wide_at + lane;
    @i<16 var v$i: Word;
    @i<16 v$i = w_from(data[base + lane + $iu * LANES]);
    @range 8
    @forward 16 16 root(wide_at + (node << $lu) + $ju)
    @below 8
    @i<16 tile[swizzle(lane + $iu * LANES)] = w_to(v$i);
    workgroupBarrier();

    @i<16 v$i = w_from(tile[swizzle(middle + $iu * STEP)]);
    @range 8
    @forward 16 16 root(wide_at + ((16u * node + block) << $lu) + $ju)
    @below 8
    // The same places: no other lane reads or writes them in this pass.
    @i<16 tile[swizzle(middle + $iu * STEP)] = w_to(v$i);
    workgroupBarrier();

    @i<16 v$i = w_from(tile[swizzle(16u * lane + $iu * 1u)]);
    @range 8
    @forward 16 LAST_RADIX root(own_at + ((256u * node) << $lu) + (($bu << $lu) + $ju) * LANES)
    @below 1
    if THROUGH_TILE == 1u {
        @i<16 tile[swizzle(16u * lane + $iu * 1u)] = w_to(v$i);
        workgroupBarrier();
        @i<16 store_point(base + lane + $iu * LANES, tile[swizzle(lane + $iu * LANES)], points);
        @i<16 tile[swizzle(lane + $iu * LANES)] = vec2<u32>(0u);
    } else {
        @i<16 store_point(base + 16u * lane + $iu, w_to(v$i), points);
        @i<16 tile[swizzle(16u * lane + $iu)] = vec2<u32>(0u);
    }
}
