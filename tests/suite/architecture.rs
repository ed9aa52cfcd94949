//! Who may know whom: the imports of `src`, compared with the table in `docs/ARCHITECTURE.md`; and how long its files are.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::{env, fs};

/// A file that is longer is two files.
const MOST_LINES: usize = 400;

/// Modules below which only tests and fuzz targets are: they may know all others.
const OF_TESTS: [&str; 5] = ["tests", "invariants", "samples", "contract", "fuzzing"];

fn root() -> PathBuf {
    env!("CARGO_MANIFEST_DIR").into()
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|it| it == "rs") {
            found.push(path);
        }
    }
}

/// The modules of each file below `src`, outermost first, with its text.
fn sources() -> Vec<(Vec<String>, String)> {
    let (src, mut found) = (root().join("src"), Vec::new());
    files(&src, &mut found);
    let of_file = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        let path = path.strip_prefix(&src).unwrap().with_extension("");
        (path.iter().map(|part| part.to_str().unwrap().to_owned()).collect(), text)
    };
    found.into_iter().map(of_file).collect()
}

/// The table: a row names modules that stand beside each other, and each may import those of the rows below it.
fn layers() -> Vec<Vec<String>> {
    let document = fs::read_to_string(root().join("docs/ARCHITECTURE.md")).unwrap();
    let (_, section) = document.split_once("\n## Who may know whom\n").unwrap();
    let rows =
        section.lines().skip_while(|line| !line.starts_with("|---")).skip(1).take_while(|line| line.starts_with('|'));
    let names = |row: &str| {
        let cell = row.split('|').nth(1).unwrap();
        cell.split(',').map(|name| name.trim().trim_matches('`').to_owned()).collect()
    };
    rows.map(names).collect()
}

/// Which modules `text` names after `crate::`, outside of its tests.
fn imports(text: &str) -> BTreeSet<String> {
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    let code: String = code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    let module = |rest: &str| rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap().to_owned();
    code.split("crate::").skip(1).map(module).filter(|name| !name.is_empty()).collect()
}

#[test]
fn modules_import_only_what_lies_below_them() {
    let layers = layers();
    let rows = layers.iter().enumerate();
    let row_of: BTreeMap<_, _> =
        rows.flat_map(|(row, names)| names.iter().map(move |name| (name.clone(), row))).collect();
    let mut seen = BTreeSet::new();
    for (modules, text) in sources() {
        if modules.iter().any(|name| OF_TESTS.contains(&name.as_str())) || ["lib", "main"].contains(&&*modules[0]) {
            continue;
        }
        let file = modules.join("/");
        let row = row_of.get(&modules[0]).unwrap_or_else(|| panic!("{file}: its module is not in the table"));
        seen.insert(modules[0].clone());
        for import in imports(&text).into_iter().filter(|import| *import != modules[0]) {
            let below = row_of.get(&import).unwrap_or_else(|| panic!("{file} imports {import}: not in the table"));
            assert!(row < below, "{file} imports crate::{import}, which is not below {} in the table", modules[0]);
        }
    }
    assert_eq!(seen, row_of.into_keys().collect(), "the table names modules that there are, and all of them");
}

/// The modules of `http`, each with those of them that it imports.
fn imports_within_http() -> BTreeMap<String, BTreeSet<String>> {
    let mut imported: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (modules, text) in sources() {
        let [http, module, inner @ ..] = &modules[..] else { continue };
        if http != "http" || module == "mod" || modules.iter().any(|name| OF_TESTS.contains(&name.as_str())) {
            continue;
        }
        let is_of_folder = !inner.is_empty() && inner != ["mod"];
        let prefixes = if is_of_folder { &["crate::http::"][..] } else { &["crate::http::", "super::"] };
        let uses = text.lines().flat_map(|line| prefixes.iter().flat_map(|prefix| line.split(prefix).skip(1)));
        let name = |rest: &str| rest.split(|c: char| !c.is_ascii_lowercase()).next().unwrap().to_owned();
        imported.entry(module.clone()).or_default().extend(uses.map(name).filter(|it| it != module));
    }
    imported
}

#[test]
fn modules_of_http_import_each_other_in_no_circle() {
    let mut left = imports_within_http();
    assert!(left["handler"].contains("outpost") && left["check"].contains("render"), "imports are found: {left:?}");
    while !left.is_empty() {
        let below: Vec<_> = left
            .iter()
            .filter(|(_, its)| its.iter().all(|it| !left.contains_key(it)))
            .map(|(name, _)| name.clone())
            .collect();
        assert!(!below.is_empty(), "these import each other: {left:?}");
        left.retain(|name, _| !below.contains(name));
    }
}

#[test]
fn no_file_is_long() {
    for (modules, text) in sources() {
        let lines = text.lines().count();
        assert!(lines <= MOST_LINES, "src/{}.rs has {lines} lines", modules.join("/"));
    }
}
