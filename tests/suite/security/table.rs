//! `SECURITY.md` has every item once, and the tests that it names exist.

use std::fs;
use std::path::{Path, PathBuf};

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let all = entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] });
    all.filter(|path| path.extension().is_some_and(|it| it == "rs")).collect()
}

/// First cells, with the rest of their rows, of the table of items.
fn rows(document: &str) -> Vec<(&str, &str)> {
    let (_, table) = document.split_once("## Known attacks").unwrap();
    let rows = table.lines().filter_map(|line| line.strip_prefix("| "));
    rows.filter_map(|row| row.split_once(" | "))
        .filter(|(first, _)| first.starts_with(|it: char| it.is_ascii_digit()))
        .collect()
}

#[test]
fn every_item_is_in_the_table_once() {
    let document = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("SECURITY.md")).unwrap();
    let mut numbers = Vec::new();
    for (first, _) in rows(&document) {
        for part in first.split(", ") {
            match part.split_once('–') {
                Some((from, to)) => {
                    numbers.extend((from.parse::<u32>().unwrap()..=to.parse().unwrap()).map(|it| it.to_string()));
                }
                None => numbers.push(part.to_owned()),
            }
        }
    }
    let last = numbers.iter().filter_map(|it| it.parse::<u32>().ok()).max().unwrap();
    let mut expected: Vec<String> = (1..=last).map(|it| it.to_string()).chain(["97b".to_owned()]).collect();
    numbers.sort();
    expected.sort();
    assert_eq!(numbers, expected);
}

#[test]
fn tests_of_the_table_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let code: String = ["src", "tests/suite"]
        .map(|it| sources(&root.join(it)))
        .concat()
        .iter()
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    let document = fs::read_to_string(root.join("SECURITY.md")).unwrap();
    let mut named = Vec::new();
    for (first, row) in rows(&document) {
        let names = row.split('`').skip(1).step_by(2).filter(|name| name.contains('_'));
        let names: Vec<&str> =
            names.filter(|name| name.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'_')).collect();
        assert!(
            !names.is_empty()
                || row.contains("As ")
                || row.contains("Not there yet")
                || row.contains("Cannot concern us"),
            "{first} {row}"
        );
        for name in &names {
            assert!(code.contains(&format!("fn {name}(")), "{first}: there is no test {name}");
        }
        named.extend(names);
    }
    // And none of the tests that carry a number is left out.
    for case in code.split("\nasync fn case_").skip(1).map(|rest| format!("case_{}", rest.split('(').next().unwrap())) {
        assert!(named.contains(&case.as_str()), "{case} is not in SECURITY.md");
    }
}
