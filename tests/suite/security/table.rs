//! `SECURITY.md` has every item once, and agrees with the tests about which of them cover an item.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let all = entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] });
    all.filter(|path| path.extension().is_some_and(|it| it == "rs")).collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn document() -> String {
    fs::read_to_string(root().join("SECURITY.md")).unwrap()
}

/// The code of forepost and of its tests.
fn code() -> String {
    let files = ["src", "tests/suite"].map(|folder| sources(&root().join(folder))).concat();
    files.iter().map(|path| fs::read_to_string(path).unwrap()).collect()
}

/// A row of the table: the numbers of its items, and the text after them.
struct Row<'d> {
    numbers: Vec<String>,
    text: &'d str,
}

fn rows(document: &str) -> Vec<Row<'_>> {
    let (_, table) = document.split_once("## Known attacks").unwrap();
    let rows = table.lines().filter_map(|line| line.strip_prefix("| "));
    rows.filter_map(|row| row.split_once(" | "))
        .filter(|(first, _)| first.starts_with(|it: char| it.is_ascii_digit()))
        .map(|(first, text)| Row { numbers: first.split(", ").flat_map(numbers).collect(), text })
        .collect()
}

/// The numbers of `12`, `97b` or `104–110`.
fn numbers(part: &str) -> Vec<String> {
    match part.split_once('–') {
        Some((from, to)) => {
            (from.parse::<u32>().unwrap()..=to.parse().unwrap()).map(|number| number.to_string()).collect()
        }
        None => vec![part.to_owned()],
    }
}

impl<'d> Row<'d> {
    /// The tests that the row names.
    fn names(&self) -> BTreeSet<&'d str> {
        let spans = self.text.split('`').skip(1).step_by(2).filter(|name| name.contains('_'));
        spans.filter(|name| name.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'_')).collect()
    }

    /// The tests of the row, with those of a row that it refers to: "As 12".
    fn covered_by(&self, rows: &[Self]) -> BTreeSet<&'d str> {
        let mut names = self.names();
        for reference in self.text.split("As ").skip(1) {
            let number: String = reference.chars().take_while(char::is_ascii_alphanumeric).collect();
            names.extend(rows.iter().filter(|row| row.numbers.contains(&number)).flat_map(Self::names));
        }
        names
    }
}

/// Tests with the items that they list in a line before them.
fn claims(code: &str) -> BTreeMap<&str, BTreeSet<&str>> {
    let mut claims = BTreeMap::new();
    let mut listed = None;
    for line in code.lines().map(str::trim_start) {
        listed = line.strip_prefix("/// SECURITY: ").or(listed);
        if let (Some(list), Some((_, function))) = (listed, line.split_once("fn ")) {
            let name = function.split('(').next().unwrap();
            assert!(claims.insert(name, list.split(", ").collect()).is_none(), "two tests are called {name}");
            listed = None;
        }
    }
    claims
}

#[test]
fn every_item_is_in_the_table_once() {
    let document = document();
    let mut numbers: Vec<String> = rows(&document).into_iter().flat_map(|row| row.numbers).collect();
    let last = numbers.iter().filter_map(|it| it.parse::<u32>().ok()).max().unwrap();
    let mut expected: Vec<String> = (1..=last).map(|it| it.to_string()).chain(["97b".to_owned()]).collect();
    numbers.sort();
    expected.sort();
    assert_eq!(numbers, expected);
}

#[test]
fn tests_of_the_table_exist() {
    let (document, code) = (document(), code());
    for row in rows(&document) {
        let names = row.names();
        let reasons = ["As ", "Not there yet", "Cannot concern us"];
        assert!(!names.is_empty() || reasons.iter().any(|it| row.text.contains(it)), "{:?} {}", row.numbers, row.text);
        for name in names {
            assert!(code.contains(&format!("fn {name}(")), "{:?}: there is no test {name}", row.numbers);
        }
    }
}

#[test]
fn tests_list_the_items_that_name_them() {
    let (document, code) = (document(), code());
    let (rows, claims) = (rows(&document), claims(&code));
    assert!(claims.len() > 50, "only {}", claims.len());
    for (test, listed) in claims {
        let naming = rows.iter().filter(|row| row.covered_by(&rows).contains(test));
        let naming: BTreeSet<&str> = naming.flat_map(|row| &row.numbers).map(String::as_str).collect();
        assert_eq!(listed, naming, "{test} lists the items on the left; SECURITY.md names it in those on the right");
    }
}
