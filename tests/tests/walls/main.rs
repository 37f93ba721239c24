//! The walls inside the engine and the protocols, held by reading what each folder names: schemes and polynomials name
//! no backend, what schemes share names no scheme, and layers no comparison; no files use each other in a circle, and
//! the engine shows what its users need.

mod circles;
mod surface;

use std::fs;
use std::path::{Path, PathBuf};

use circles::on_circles;

fn sources(at: &Path) -> Vec<PathBuf> {
    if at.is_file() {
        return vec![at.to_owned()];
    }
    let entries = fs::read_dir(at).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| sources(&path)).filter(|path| path.extension().is_some_and(|e| e == "rs")).collect()
}

/// The lines of a file that are code of the library: no comments, and nothing from its tests on.
fn code(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap();
    let library = text.split("\nmod tests {").next().unwrap_or_default();
    library.lines().filter(|line| !line.trim_start().starts_with("//")).map(str::to_owned).collect()
}

/// Whether a line has a path through a module of this name.
fn names(line: &str, module: &str) -> bool {
    line.match_indices(module).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = &line[at + module.len()..];
        let word = |c: char| c.is_alphanumeric() || c == '_';
        !before.is_some_and(word) && (after.starts_with("::") || before == Some(':') && !after.starts_with(word))
    })
}

/// Lines of the folder's library code that name one of the modules.
fn breaches(folder: &str, modules: &[&str]) -> Vec<String> {
    let at = Path::new(env!("CARGO_MANIFEST_DIR")).join("../engine/src").join(folder);
    let mut found = Vec::new();
    for path in sources(&at).iter().filter(|path| !path.to_string_lossy().ends_with("tests.rs")) {
        let lines = code(path);
        assert!(!lines.is_empty(), "{path:?} is empty");
        let breaks = |line: &&String| modules.iter().any(|module| names(line, module));
        found.extend(lines.iter().filter(breaks).map(|line| format!("{}: {}", path.display(), line.trim())));
    }
    found
}

#[test]
fn schemes_and_polynomials_name_no_backend() {
    for folder in ["bfv", "ckks", "rlwe", "poly.rs", "poly"] {
        assert_eq!(breaches(folder, &["cpu", "wgpu"]), Vec::<String>::new());
    }
}

#[test]
fn protocols_name_no_backend() {
    assert_eq!(breaches("../../protocols/src", &["wgpu"]), Vec::<String>::new());
    assert_eq!(breaches("../../protocols/src/gc", &["cpu", "wgpu"]), Vec::<String>::new());
}

#[test]
fn what_schemes_share_names_no_scheme() {
    assert_eq!(breaches("bfv", &["ckks"]), Vec::<String>::new());
    assert_eq!(breaches("ckks", &["bfv"]), Vec::<String>::new());
    assert_eq!(breaches("rlwe", &["bfv", "ckks"]), Vec::<String>::new());
    for folder in ["poly.rs", "poly", "chain.rs", "chain", "backend", "ring"] {
        assert_eq!(breaches(folder, &["bfv", "ckks", "rlwe"]), Vec::<String>::new());
    }
}

/// Layers compare by whatever they are given; sources and comparisons know no layer and no run.
#[test]
fn layers_name_no_comparison_and_sources_name_no_layer() {
    let protocols = |file: &str| format!("../../protocols/src/{file}");
    for layer in ["nonlinear/relu.rs", "nonlinear/max_pool.rs", "nonlinear/tournament.rs", "select.rs"] {
        assert_eq!(breaches(&protocols(layer), &["gc", "garbled", "words"]), Vec::<String>::new());
    }
    for folder in ["correlations", "compare"] {
        assert_eq!(breaches(&protocols(folder), &["nonlinear", "infer"]), Vec::<String>::new());
    }
    assert_eq!(breaches(&protocols("correlations"), &["gc", "compare"]), Vec::<String>::new());
    assert!(!breaches(&protocols("compare"), &["gc"]).is_empty());
}

/// What follows `crate::` in the code: one word, or all of a group.
fn from_the_root(code: &str) -> Vec<String> {
    let words = |text: &str| -> Vec<String> {
        text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|w| !w.is_empty()).map(str::to_owned).collect()
    };
    let paths = code.split("crate::").skip(1);
    paths
        .flat_map(|path| match path.strip_prefix('{') {
            Some(group) => words(group.split(';').next().unwrap_or_default()),
            None => words(path).into_iter().take(1).collect(),
        })
        .collect()
}

#[test]
fn modules_of_the_engine_make_no_circle() {
    let at = Path::new(env!("CARGO_MANIFEST_DIR")).join("../engine/src");
    let root = code(&at.join("lib.rs")).join(" ");
    let is_module = |statement: &&str| statement.trim_end().rsplit(' ').nth(1) == Some("mod");
    let modules = root.split(';').filter(is_module).map(|s| s.trim_end().rsplit(' ').next().unwrap().to_owned());
    let modules: Vec<String> = modules.filter(|module| module != "testing").collect();
    assert!(modules.len() > 15, "{modules:?}");
    // The root has some names of its own, which are a module's.
    let own: Vec<(String, String)> = root
        .split(';')
        .filter_map(|statement| {
            statement
                .trim()
                .trim_start_matches("#[doc(hidden)]")
                .trim_start()
                .strip_prefix("pub use ")?
                .split_once("::")
        })
        .flat_map(|(module, names)| {
            from_the_root(&format!("crate::{names};")).into_iter().map(|n| (n, module.to_owned()))
        })
        .collect();
    let used = |module: &String| -> Vec<String> {
        let folder = at.join(module);
        let files = [at.join(format!("{module}.rs"))].into_iter().filter(|file| file.is_file());
        let files = files.chain(if folder.is_dir() { sources(&folder) } else { Vec::new() });
        let files: Vec<_> = files.filter(|path| !path.to_string_lossy().ends_with("tests.rs")).collect();
        assert!(!files.is_empty(), "{module} has no file");
        let names = files.iter().flat_map(|path| from_the_root(&code(path).join(" ")));
        let module_of = |name: String| own.iter().find(|(n, _)| *n == name).map_or(name, |(_, module)| module.clone());
        names.map(module_of).filter(|name| name != module && modules.contains(name)).collect()
    };
    let graph: Vec<(String, Vec<String>)> = modules.iter().map(|module| (module.clone(), used(module))).collect();
    let uses = |a: &str, b: &str| graph.iter().any(|(name, used)| name == a && used.iter().any(|u| u == b));
    assert!(uses("chain", "poly") && uses("poly", "device") && uses("device", "cpu") && uses("cpu", "backend"));
    assert_eq!(on_circles(graph), Vec::<String>::new());
}

#[test]
fn breaches_are_found() {
    for line in ["use crate::cpu::Body;", "use super::super::cpu;", "let x = crate::cpu::scalar::add;", "cpu::f()"] {
        assert!(names(line, "cpu"), "{line}");
    }
    for line in ["let cpu = 3;", "use crate::cpu_time::now;", "fn f(mcpu: u32)", "scpu::x"] {
        assert!(!names(line, "cpu"), "{line}");
    }
    assert!(!breaches("device.rs", &["cpu", "wgpu"]).is_empty());
    assert_eq!(from_the_root("use crate::{A, b::C}; crate::d::e(); super::f"), ["A", "b", "C", "d"]);
}
