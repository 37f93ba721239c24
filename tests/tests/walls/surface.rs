//! What the engine's documentation shows: types that a user of the library needs, and no more of them.

use std::collections::BTreeSet;
use std::path::Path;

/// Types that each part may show: the two schemes for other work whole, then all that they stand on.
const MOST: [(&str, usize); 3] = [("ckks::", 14), ("bfv::levelled::", 7), ("", 27)];

/// Adds the types that the documentation of a module shows.
fn shown(folder: &Path, file: &Path, module: &str, types: &mut BTreeSet<String>) {
    let text = std::fs::read_to_string(file).unwrap();
    let (mut hidden, mut modules) = (false, Vec::new());
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.starts_with("#[") || line.starts_with("///") {
            hidden |= line == "#[doc(hidden)]";
            continue;
        }
        if std::mem::take(&mut hidden) {
            continue;
        }
        let Some(item) = line.strip_prefix("pub ") else { continue };
        let (kind, rest) = item.split_once(' ').unwrap();
        let name = || rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap().to_owned();
        match kind {
            "mod" => modules.push(name()),
            "struct" | "enum" | "trait" | "union" => drop(types.insert(format!("{module}{}", name()))),
            "use" => {
                let mut statement = rest.to_owned();
                while !statement.contains(';') {
                    statement += lines.next().unwrap();
                }
                // What a module that is shown itself has is counted there.
                if !modules.iter().any(|module| statement.starts_with(&format!("{module}::"))) {
                    let names = statement.split(|c: char| !c.is_alphanumeric() && c != '_');
                    let is_type = |n: &&str| n.starts_with(char::is_uppercase) && n.contains(char::is_lowercase);
                    types.extend(names.filter(is_type).filter(|n| *n != "Result").map(|n| format!("{module}{n}")));
                }
            }
            _ => {}
        }
    }
    for name in modules {
        let inside = folder.join(&name);
        let file =
            [inside.join("mod.rs"), folder.join(format!("{name}.rs"))].into_iter().find(|f| f.is_file()).unwrap();
        shown(&inside, &file, &format!("{module}{name}::"), types);
    }
}

#[test]
fn the_engine_shows_what_its_users_need() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("../engine/src");
    let mut types = BTreeSet::new();
    shown(&src, &src.join("lib.rs"), "", &mut types);
    for name in ["Device", "PolyBatch", "chain::Chain", "bfv::SecretKey", "bfv::levelled::Evaluator", "ckks::LinearMap"]
    {
        assert!(types.contains(name), "{name} is not shown");
    }
    for name in ["GateRoom", "aes::Aes128", "ring::Modulus", "rlwe::Hoisted", "testing::Kernel"] {
        assert!(!types.contains(name), "{name} is shown");
    }
    for (part, most) in MOST {
        let (own, others): (BTreeSet<_>, _) = types.into_iter().partition(|name| name.starts_with(part));
        assert!(own.len() <= most, "{part}: {} types: {own:#?}", own.len());
        types = others;
    }
}
