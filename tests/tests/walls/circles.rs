//! No file uses another that uses it, be it by way of others.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::{code, sources};

/// The modules between a crate's root and an item.
type Module = Vec<String>;

/// The files of a crate, by module, and the names that they hand on from others.
struct Crate {
    files: BTreeMap<Module, String>,
    handed_on: BTreeMap<Module, Vec<Module>>,
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The paths of a tree as `use` has it, and the text after it.
fn tree(text: &str) -> (Vec<Vec<String>>, &str) {
    let text = text.trim_start();
    if let Some(mut rest) = text.strip_prefix('{') {
        let mut all = Vec::new();
        while !rest.trim_start().starts_with('}') {
            let (paths, after) = tree(rest);
            all.extend(paths);
            let after = after.trim_start();
            rest = after.strip_prefix(',').unwrap_or(after);
            assert!(!after.is_empty(), "an open group");
        }
        return (all, &rest.trim_start()[1..]);
    }
    let end = text.find(|c| !is_word(c) && c != '*').unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    let word = word.to_owned();
    if let Some(below) = rest.strip_prefix("::").filter(|below| below.starts_with(|c| is_word(c) || "{*".contains(c))) {
        let (paths, rest) = tree(below);
        return (paths.into_iter().map(|path| [vec![word.clone()], path].concat()).collect(), rest);
    }
    // Another name for it says nothing of where it lies.
    let rest = rest.strip_prefix(" as ").map_or(rest, |rest| rest.trim_start_matches(is_word));
    let at_least_one = usize::from(end == 0).min(rest.len());
    (vec![vec![word]], &rest[at_least_one..])
}

/// All paths from a crate's root or a module above.
fn paths(text: &str) -> Vec<Vec<String>> {
    let starts = ["crate::", "super::"].into_iter().flat_map(|start| text.match_indices(start));
    let begins =
        |&(at, _): &(usize, &str)| !text[..at].ends_with(|c| is_word(c) || c == ':') && !text[..at].ends_with("in ");
    starts.filter(begins).flat_map(|(at, _)| tree(&text[at..]).0).collect()
}

impl Crate {
    fn read(src: &str) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(src);
        let mut files = BTreeMap::new();
        for path in sources(&root).iter().filter(|path| !path.to_string_lossy().ends_with("tests.rs")) {
            let inside = path.strip_prefix(&root).unwrap().with_extension("");
            let mut module: Module = inside.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
            if module
                .last()
                .is_some_and(|last| last == "mod" || module.len() == 1 && ["lib", "main"].contains(&last.as_str()))
            {
                module.pop();
            }
            files.insert(module, code(path).join("\n"));
        }
        let mut this = Self { files, handed_on: BTreeMap::new() };
        for (module, code) in &this.files {
            let shared = code.split(';').filter_map(|statement| {
                let (before, tree) = statement.rsplit_once("use ")?;
                before.lines().last().is_some_and(|line| line.trim_start().starts_with("pub")).then_some(tree)
            });
            let paths = shared.flat_map(|text| tree(text).0).map(|path| this.absolute(module, path)).collect();
            this.handed_on.insert(module.clone(), paths);
        }
        this
    }

    /// A path as seen from the root, of what is named within a module.
    fn absolute(&self, module: &Module, path: Vec<String>) -> Vec<String> {
        if path[0] == "crate" {
            return path[1..].to_vec();
        }
        let up = path.iter().take_while(|part| *part == "super").count();
        [&module[..module.len() - up], &path[up..]].concat()
    }

    /// The deepest module on a path.
    fn module_of(&self, path: &[String]) -> Option<Module> {
        (0..=path.len()).rev().map(|depth| path[..depth].to_vec()).find(|module| self.files.contains_key(module))
    }

    /// The module whose file what a path names lies in.
    fn file_of(&self, path: &[String]) -> Option<Module> {
        let module = self.module_of(path)?;
        let Some(name) = path.get(module.len()) else { return Some(module) };
        let elsewhere = |from: &&Module| self.module_of(from).is_some_and(|other| other != module);
        let from = self.handed_on[&module].iter().filter(|from| from.last() == Some(name)).find(elsewhere);
        from.map_or(Some(module.clone()), |from| self.file_of(from))
    }

    /// What each file uses of others. The file at the head of a folder may use those within.
    fn uses(&self) -> Vec<(String, Vec<String>)> {
        let name = |module: &Module| format!("/{}", module.join("/"));
        let used = |(module, code): (&Module, &String)| {
            let used = paths(code).into_iter().filter_map(|path| self.file_of(&self.absolute(module, path)));
            let used: BTreeSet<Module> = used.filter(|other| !other.starts_with(module)).collect();
            (name(module), used.iter().map(name).collect())
        };
        self.files.iter().map(used).collect()
    }
}

/// What is on a circle or between two, of names and what each uses.
pub(crate) fn on_circles(mut left: Vec<(String, Vec<String>)>) -> Vec<String> {
    // Again and again without those that use none of the rest, or that none of the rest uses.
    loop {
        let there: BTreeSet<String> = left.iter().map(|(name, _)| name.clone()).collect();
        let used: BTreeSet<String> = left.iter().flat_map(|(_, uses)| uses.clone()).collect();
        left.retain(|(name, uses)| used.contains(name) && uses.iter().any(|name| there.contains(name)));
        if left.len() == there.len() {
            return there.into_iter().collect();
        }
    }
}

#[test]
fn files_make_no_circle() {
    for (src, some) in [
        ("../engine/src", ["/poly", "/device"]),
        ("../protocols/src", ["/peer", "/correlations"]),
        ("../federated/src", ["/round", "/plan"]),
        ("../models/src", ["/format/prepared", "/format/model_card"]),
        ("../net/src", ["/transport/tls", "/identity/trust"]),
        ("../cli/src", ["/service/client", "/service/state"]),
    ] {
        let uses = Crate::read(src).uses();
        assert!(uses.iter().any(|(name, used)| name == some[0] && used.contains(&some[1].to_owned())), "{src}");
        assert_eq!(on_circles(uses), Vec::<String>::new(), "{src}");
    }
}

#[test]
fn circles_are_found() {
    let uses = |name: &str, used: &[&str]| (name.to_owned(), used.iter().map(|&u| u.to_owned()).collect());
    let graph = vec![uses("a", &["b"]), uses("b", &["c"]), uses("c", &["b", "d"]), uses("d", &[])];
    assert_eq!(on_circles(graph), ["b", "c"]);
    let text =
        "use crate::{a, b::{C, d as e}};\npub(in crate::x) fn f(y: super::super::g::H<crate::i::J>) { mycrate::k() }";
    let found: Vec<String> = paths(text).iter().map(|path| path.join("::")).collect();
    assert_eq!(found, ["crate::a", "crate::b::C", "crate::b::d", "crate::i::J", "super::super::g::H"]);
}
