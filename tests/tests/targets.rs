//! Everything that reads bytes of a peer or a file, over its corpus and over mutations of what it reads as it should.

use std::fs;
use std::path::{Path, PathBuf};

use blindvox_engine::Prng;
use blindvox_tests::targets::{TARGETS, Target};

/// Mutations a target.
const MUTATIONS: usize = 10_000;

fn corpus(target: &Target) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target.name)
}

/// One to three edits: a byte set, a bit turned, bytes removed or put in, a 32-bit number replaced by an extreme one.
fn mutate(bytes: &mut Vec<u8>, prng: &mut Prng) {
    for _ in 0..1 + prng.next_u32() % 3 {
        let at = prng.next_u32() as usize % bytes.len().max(1);
        let value = prng.next_u32();
        match prng.next_u32() % 6 {
            0 => bytes.iter_mut().skip(at).take(1).for_each(|b| *b = value as u8),
            1 => bytes.iter_mut().skip(at).take(1).for_each(|b| *b ^= 1 << (value % 8)),
            2 => drop(bytes.drain(at..(at + 1 + value as usize % 9).min(bytes.len()))),
            3 => bytes.insert(at.min(bytes.len()), value as u8),
            4 => bytes.truncate(at),
            _ => {
                let number = [0, 1, u32::MAX, i32::MAX as u32, 1 << 31, 1 << 16][value as usize % 6].to_le_bytes();
                bytes.iter_mut().skip(at).zip(number).for_each(|(b, n)| *b = n);
            }
        }
    }
}

/// The seeds get past the first check, and so does a part of what is made of them, so that mutations reach what lies
/// behind it.
#[test]
fn seeds_pass_and_mutations_are_read_or_refused() {
    for target in &TARGETS {
        let seeds = (target.seeds)();
        assert!(seeds.iter().all(|seed| (target.run)(seed)), "{}: a seed is refused", target.name);
        let (mut prng, mut passed) = (Prng::from_seed_for_tests([target.name.len() as u8; 32]), 0);
        for i in 0..MUTATIONS {
            let mut bytes = seeds[i % seeds.len()].clone();
            mutate(&mut bytes, &mut prng);
            passed += usize::from((target.run)(&bytes));
        }
        assert!(passed > MUTATIONS / 1000 && passed < MUTATIONS, "{}: {passed} of {MUTATIONS} passed", target.name);
    }
}

/// What `cargo fuzz` starts from, and what it once found. `BLESS=1` writes the seeds anew.
#[test]
fn the_corpus_is_read() {
    for target in &TARGETS {
        let folder = corpus(target);
        if std::env::var_os("BLESS").is_some() {
            fs::create_dir_all(&folder).expect("a folder");
            for (i, seed) in (target.seeds)().iter().enumerate() {
                fs::write(folder.join(format!("seed-{i}")), seed).expect("room");
            }
        }
        let files = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
        let mut seeds = 0;
        for file in files {
            let path = file.expect("an entry").path();
            let passed = (target.run)(&fs::read(&path).expect("a file"));
            if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("seed-")) {
                assert!(passed, "{} is refused: BLESS=1 writes the seeds of a changed format", path.display());
                seeds += 1;
            }
        }
        assert_eq!(seeds, (target.seeds)().len(), "{}", folder.display());
    }
}
