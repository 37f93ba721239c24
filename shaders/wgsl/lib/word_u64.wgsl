// Word arithmetic, 64-bit body: words are u64 in registers and (lo, hi) pairs in memory.
// Needs 64-bit integers of the adapter. Same interface as word_u32.wgsl.

alias Word = u64;

struct Wide { lo: Word, hi: Word }

const W_ZERO: Word = 0lu;

fn w_from(v: vec2<u32>) -> Word { return u64(v.x) | (u64(v.y) << 32u); }

fn w_to(w: Word) -> vec2<u32> { return vec2<u32>(u32(w), u32(w >> 32u)); }

fn w_add(a: Word, b: Word) -> Word { return a + b; }

fn w_sub(a: Word, b: Word) -> Word { return a - b; }

fn w_less(a: Word, b: Word) -> bool { return a < b; }

// a if the condition holds, else b.
fn w_pick(a: Word, b: Word, condition: bool) -> Word { return select(b, a, condition); }

// [0, 2m) to [0, m): the difference wraps to something larger where x < m.
fn w_csub(x: Word, m: Word) -> Word { return min(x, x - m); }

// Shifts by 1..63.
fn w_shl(a: Word, by: u32) -> Word { return a << by; }

fn w_shr(a: Word, by: u32) -> Word { return a >> by; }

fn w_double(a: Word) -> Word { return a + a; }

// a * b mod 2^64.
fn w_mul_lo(a: Word, b: Word) -> Word { return a * b; }

// acc + a * b mod 2^64 for 32-bit factors: one wide multiply-add.
fn w_mad(acc: Word, a: u32, b: u32) -> Word { return acc + u64(a) * u64(b); }

// All 128 bits. No sum overflows: (2^32 - 1)^2 + 2 (2^32 - 1) = 2^64 - 1.
fn w_mul_wide(a: Word, b: Word) -> Wide {
    let x = w_to(a);
    let y = w_to(b);
    let low = u64(x.x) * u64(y.x);
    let mid = w_mad(low >> 32u, x.y, y.x);
    let mid2 = w_mad(u64(u32(mid)), x.x, y.y);
    return Wide((mid2 << 32u) | u64(u32(low)), w_mad(mid >> 32u, x.y, y.y) + (mid2 >> 32u));
}

// floor(a * b / 2^64).
fn w_mul_hi(a: Word, b: Word) -> Word {
    let x = w_to(a);
    let y = w_to(b);
    let mid = w_mad((u64(x.x) * u64(y.x)) >> 32u, x.y, y.x);
    let mid2 = w_mad(u64(u32(mid)), x.x, y.y);
    return w_mad(mid >> 32u, x.y, y.y) + (mid2 >> 32u);
}
