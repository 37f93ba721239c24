//! What protocols free holds no shares: an allocator looks at every block before it goes back, in runs that succeed and
//! in runs that break off. And nothing stays behind: the memory alive after a broken run is what it was before, and no
//! seed or key is left anywhere in the process, stacks and mapped regions included.

use blindvox_models::testing as common;
#[path = "common/memory.rs"]
mod memory;

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicIsize, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use blindvox_engine::bfv::Params;
use blindvox_engine::prng::Seed;
use blindvox_engine::ring::sampler;
use blindvox_engine::stack::{DEEP, leaving_nothing, with_cleared_stack};
use blindvox_engine::{Coeff, Device, PolyBatch, Prng};
use blindvox_net::channel::{Channel, Party, local_pair};
use blindvox_protocols::Result;
use blindvox_protocols::compare::{Compare, Garbled};
use blindvox_protocols::convert::convert;
use blindvox_protocols::correlations::HeSource;
use blindvox_protocols::gc::Garbling;
use blindvox_protocols::infer::{Options, Role, Session};
use blindvox_protocols::nonlinear::multiply::multiply;
use blindvox_protocols::nonlinear::square::square_from;
use blindvox_protocols::nonlinear::{Comparison, Nonlinear};
use blindvox_protocols::peer::Peer;
use blindvox_protocols::share::{P, Ring};
use memory::Pattern;

/// Every share of the client and of the server.
const SHARES: [u32; 2] = [0x0012_3457, 0x0065_4321];
/// So many of them in a row are no accident.
const RUN: usize = 4;

static LOOKING: AtomicBool = AtomicBool::new(false);
static FOUND: AtomicUsize = AtomicUsize::new(0);
static ALIVE: AtomicIsize = AtomicIsize::new(0);

struct Looking;

#[global_allocator]
static ALLOCATOR: Looking = Looking;

// SAFETY: all memory comes from and goes to the system's allocator, which gets what it is due.
unsafe impl GlobalAlloc for Looking {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALIVE.fetch_add(layout.size() as isize, Ordering::Relaxed);
        // SAFETY: the caller's promises.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        ALIVE.fetch_sub(layout.size() as isize, Ordering::Relaxed);
        if LOOKING.load(Ordering::Relaxed) && layout.align() >= align_of::<u32>() {
            // SAFETY: the block is alive and aligned for words, and was zero at first, so all of it has a value.
            let words = unsafe { std::slice::from_raw_parts(block.cast::<u32>(), layout.size() / 4) };
            if words.windows(RUN).any(|w| SHARES.iter().any(|&s| w.iter().all(|&x| x == s || x == s.wrapping_neg()))) {
                FOUND.fetch_add(1, Ordering::Relaxed);
            }
        }
        // SAFETY: the caller's promises.
        unsafe { System.dealloc(block, layout) }
    }
}

fn peer(party: Party, channel: Channel) -> Peer {
    let prng = Prng::from_seed_for_tests([party as u8 + 1; 32]);
    let mut peer = Peer::setup(party, channel, prng).expect("OTs").garbling(Garbling::default()).expect("a half");
    peer.source = Box::new(HeSource::setup(&mut peer, &Device::cpu()).expect("keys"));
    peer
}

/// Both halves of a step; where `broken`, the server takes part with fewer values than the client, which lengths and
/// counts tell. How often shares were found in what was freed.
fn look(broken: bool, half: impl Fn(&mut Peer, &'static [u32]) -> Result<()> + Sync) -> usize {
    static CLIENT: [u32; 3000] = [SHARES[0]; 3000];
    static SERVER: [u32; 3000] = [SHARES[1]; 3000];
    let (client, server) = local_pair();
    let (mut client, mut server) = std::thread::scope(|scope| {
        let server = scope.spawn(|| peer(Party::Server, server));
        (peer(Party::Client, client), server.join().expect("no panic"))
    });
    let before = FOUND.load(Ordering::SeqCst);
    LOOKING.store(true, Ordering::SeqCst);
    let half = &half;
    let results = std::thread::scope(|scope| {
        let count = if broken { 1600 } else { 3000 };
        let there = scope.spawn(move || {
            let result = half(&mut server, &SERVER[..count]);
            drop(server);
            result
        });
        let here = half(&mut client, &CLIENT);
        drop(client);
        [here, there.join().expect("no panic")]
    });
    LOOKING.store(false, Ordering::SeqCst);
    let [here, there] = results.map(|r| r.is_err());
    assert!(if broken { here || there } else { !here && !there }, "client failed: {here}, server: {there}");
    FOUND.load(Ordering::SeqCst) - before
}

/// Every step that takes shares.
fn steps(mut each: impl FnMut(&str, &(dyn Fn(&mut Peer, &'static [u32]) -> Result<()> + Sync))) {
    let low = Ring::Pow2(20);
    each("convert", &|peer, x| convert(peer, x.into(), 24, Ring::FULL).map(drop));
    each("convert to p", &|peer, x| convert(peer, x.into(), 24, Ring::Prime(P)).map(drop));
    each("square", &|peer, x| square_from(peer, x.into(), 10).map(drop));
    each("multiply", &|peer, x| {
        let triples = peer.triples(x.len())?;
        multiply(peer, triples, x.into(), x.into()).map(drop)
    });
    for kind in [Comparison::SignSelect, Comparison::FullCircuit, Comparison::Transfers] {
        for ring in [low, Ring::Prime(P)] {
            let what = |op: &str| format!("{op} in {ring}, {}", kind.name());
            each(&what("relu"), &|peer, x| Nonlinear::new(kind).relu(peer, x, ring).map(drop));
            each(&what("max_pool"), &|peer, x| Nonlinear::new(kind).max_pool(peer, x, 8, ring).map(drop));
            each(&what("argmax"), &|peer, x| Nonlinear::new(kind).argmax(peer, x, 4, ring).map(drop));
        }
    }
    each("thresholds", &|peer, x| Garbled::default().thresholds(peer, x, &[0, 7], low).map(drop));
}

/// The allocator is one for all tests of this file: they take turns.
static TURN: Mutex<()> = Mutex::new(());

#[test]
fn freed_memory_holds_no_shares_and_broken_runs_leave_none_alive() {
    let _turn = TURN.lock().unwrap_or_else(|e| e.into_inner());
    // The looking itself: an uncleared copy is found, a cleared one is not.
    let copies = look(false, |side, x| {
        drop(x.to_vec());
        drop(blindvox_protocols::share::Shares::from(x));
        let _ = side;
        Ok(())
    });
    assert_eq!(copies, 2, "one copy of each party");

    steps(|what, half| {
        assert_eq!(look(false, half), 0, "{what}: shares in freed memory");
        assert_eq!(look(true, half), 0, "{what}, broken off: shares in freed memory");
    });
    let mut alive = ALIVE.load(Ordering::SeqCst);
    steps(|what, half| {
        look(true, half);
        let now = ALIVE.load(Ordering::SeqCst);
        assert!(now - alive < 1 << 18, "{what}, broken off: {} bytes stay", now - alive);
        alive = now.min(alive);
    });
}

/// A party's seed, which no constant of the program and no frame of the test holds.
fn seed(party: Party) -> Seed {
    std::array::from_fn(|i| black_box(0x5a_u8) ^ (i as u8).wrapping_mul(0x3d) ^ (party as u8 + 1).wrapping_mul(0x71))
}

fn prng(party: Party) -> Prng {
    with_cleared_stack::<DEEP, _>(|| Prng::from_seed_for_tests(seed(party)))
}

/// The seeds, and the client's HE key as it is drawn and as points of the first prime.
fn secrets() -> Vec<Pattern> {
    let key = leaving_nothing(|| {
        let (params, device) = (Params::hom_conv(), Device::cpu());
        let s = zeroize::Zeroizing::new(sampler::ternary(&mut prng(Party::Client), params.n()));
        let points = PolyBatch::<Coeff>::lift(&device, params.basis(), &s, &[1, 1]).expect("a batch").into_ntt();
        let points = zeroize::Zeroizing::new(points.expect("points").download().expect("points"));
        // As they lie in memory: lines of eight that are eight apart, see `engine/src/cpu/panels.rs`.
        let line = zeroize::Zeroizing::new(std::array::from_fn::<u64, 8, _>(|k| points[64 + 8 * k]));
        [
            Pattern::new("the HE key's coefficients", bytemuck::cast_slice(&s[..32])),
            Pattern::new("the HE key's points", bytemuck::cast_slice(&*line)),
        ]
    });
    let of = |name, party| with_cleared_stack::<DEEP, _>(|| Pattern::new(name, &seed(party)));
    key.into_iter().chain([of("the client's seed", Party::Client), of("the server's seed", Party::Server)]).collect()
}

/// Leaves many copies of a seed below the stack pointer, of which what is called next overwrites some.
#[inline(never)]
fn leave_on_the_stack() {
    black_box(&[seed(Party::Client); 512]);
}

/// What was found, by name; the pool's threads have done what they were told before.
fn found(patterns: &[Pattern]) -> Option<Vec<(&'static str, usize)>> {
    rayon::broadcast(|_| ());
    memory::find(patterns)
}

#[test]
fn no_seed_and_no_key_is_left_in_memory_after_a_run() {
    let _turn = TURN.lock().unwrap_or_else(|e| e.into_inner());
    let patterns = secrets();
    let Some(before) = found(&patterns) else { return };
    assert!(before.iter().all(|(_, count)| *count == 0), "by the test itself: {before:?}");

    // The looking itself: a copy on the heap, one in a region of its own, and those in a stack that is no longer used
    // are found.
    let (mut heap, mut mapped) = (vec![0; 4 * size_of::<Seed>()], vec![0u8; 4 << 20]);
    heap[32..64].copy_from_slice(&seed(Party::Client));
    mapped[3 << 20..][..32].copy_from_slice(&seed(Party::Client));
    let copies = || found(&patterns).expect("as before")[2].1;
    let (with_both, _) = (copies(), leave_on_the_stack());
    assert!(with_both >= 2 && copies() > with_both + 100, "{with_both}, then {}", copies());
    heap.fill(0);
    mapped.fill(0);
    black_box((&heap, &mapped));
    leaving_nothing(|| ());

    let (program, input) = common::tiny().program();
    let program = Arc::new(program);
    let (client, server) = local_pair();
    let (client, server) = std::thread::scope(|scope| {
        let role = Role::Server(program.clone());
        let server = scope
            .spawn(|| Session::setup(role, server, prng(Party::Server), Options::new(Device::cpu())).expect("one"));
        let client = Session::setup(Role::Client, client, prng(Party::Client), Options::new(Device::cpu()));
        (client.expect("a session"), server.join().expect("no panic"))
    });
    // The key is in use, and nothing else: generators have forgotten their seeds.
    let during = found(&patterns).expect("as before");
    assert!(during[0].1 > 0 && during[1].1 > 0, "the key has its place, as it was drawn and as points: {during:?}");
    assert!(during[2..].iter().all(|(_, count)| *count == 0), "{during:?}");
    std::thread::scope(|scope| {
        let server = scope.spawn(|| server.preprocess().expect("pairs").run_server(&mut ()).expect("a run"));
        client.preprocess().expect("pairs").run_client(&input, &mut ()).expect("a run");
        server.join().expect("no panic");
    });
    let after = found(&patterns).expect("as before");
    assert!(after.iter().all(|(_, count)| *count == 0), "{after:?}");
}
