// Points of a transform as they are: the last pass of ntt_forward writes them, the first of ntt_inverse reads them.

struct Points { row: u32 }

fn points_of(limb: u32, row: u32, factor_rows: u32, n: u32) -> Points { return Points(row); }

fn load_point(at: u32, points: Points) -> vec2<u32> { return data[at]; }

fn store_point(at: u32, x: vec2<u32>, points: Points) { data[at] = x; }
