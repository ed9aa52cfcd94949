//! Paths as Node and Python read them: what one of them takes for a protected path is protected.

use serde_json::Value;

use super::raw;
use super::{APP, DIALECTS};
use crate::support::{Stage, tool};

/// Bob is not in `admins`.
const RULES: &str = r#"
[[application]]
name = "The App"
slug = "app"
external_host = "https://app.example.com"

[[application.rule]]
paths = [{ prefix = "/internal" }]
deny = true

[[application.rule]]
paths = [{ prefix = "/admin" }]
require = { groups_any = ["admins"] }

[[application.rule]]
paths = [{ prefix = "/open" }]
public = true
"#;

/// Prints for each path what Node's parsers and routers make of it.
const NODE: &str = r#"
const url = require("node:url");
const { posix, win32 } = require("node:path");
const decoded = (it) => decodeURIComponent(it);
const readers = [
    (it) => new URL(it, "http://app.example.com").pathname,
    (it) => decoded(new URL(it, "http://app.example.com").pathname),
    (it) => new URL(decoded(it), "http://app.example.com").pathname,
    (it) => new URL(it, "file:///").pathname,
    (it) => url.parse(it).pathname,
    (it) => url.parse(it, false, true).pathname,
    (it) => posix.normalize(decoded(it)),
    (it) => win32.normalize(decoded(it)).replaceAll("\\", "/"),
    (it) => decoded(it.split(";")[0]),
    (it) => decoded(decoded(it)),
    (it) => decoded(it).split("\0")[0],
    (it) => decoded(it).trim(),
    (it) => decoded(it).normalize("NFKC"),
];
const read = (it) => readers.map((reader) => { try { return reader(it); } catch { return null; } });
console.log(JSON.stringify(JSON.parse(process.env.PATHS).map(read)));
"#;

/// The same of Python's.
const PYTHON: &str = r#"
import json, ntpath, os, posixpath, re
from urllib.parse import unquote, unquote_to_bytes, urljoin, urlparse, urlsplit

def route(path):
    found = re.match(r"^(/admin|/internal)$", unquote(path))
    return found and found.group(1)

READERS = [
    unquote,
    route,
    lambda it: urlsplit(it).path,
    lambda it: urlparse(it).path,
    lambda it: urlsplit(unquote(it)).path,
    lambda it: urlparse(unquote(it)).path,
    lambda it: unquote(urlsplit(urljoin("http://app.example.com/", it)).path),
    lambda it: posixpath.normpath(unquote(it)),
    lambda it: posixpath.normpath(unquote(urlsplit(it).path)),
    lambda it: ntpath.normpath(unquote(it)).replace("\\", "/"),
    lambda it: unquote(unquote(it)),
    lambda it: unquote(it).strip(),
    lambda it: unquote_to_bytes(it).decode("utf-8", "ignore"),
    lambda it: unquote_to_bytes(it).split(b"\0")[0].decode("latin-1"),
]

def read(path):
    for reader in READERS:
        try:
            yield reader(path)
        except ValueError:
            yield None

print(json.dumps([list(read(path)) for path in json.loads(os.environ["PATHS"])]))
"#;

/// Paths of all combinations.
fn paths() -> Vec<String> {
    const BEFORE: [&str; 24] = [
        "",
        "/",
        "//",
        "//y",
        "///y",
        "/\\y",
        "/\\",
        "/%2f",
        "/%2fy",
        "/%5c",
        "/%5cy",
        "/x/..",
        "/x/%2e%2e",
        "/x%2f..",
        "/x\\..",
        "/x/..//y",
        "/.",
        "/;",
        "/;/y",
        "/open/..",
        "/open/..;",
        "/open/..%20",
        "/open/%252e%252e",
        "/%0a",
    ];
    const NAMES: [&str; 6] = ["admin", "internal", "%61dmin", "ad%09min", "%EF%BD%81dmin", "ad%e2%80%8bmin"];
    const AFTER: [&str; 22] = [
        "",
        "/",
        "/x",
        "%2fx",
        "\\x",
        "%5cx",
        "%0a",
        "%0d%0a",
        "%00",
        "%00.css",
        "%20",
        ".",
        "%2e",
        ";x",
        ";/../open",
        "%3bx",
        "%23x",
        "%3fx",
        "%c2%85",
        "%e2%80%a8",
        "/..",
        "%ff",
    ];
    let mut paths = Vec::new();
    for before in BEFORE {
        for name in NAMES {
            paths.extend(AFTER.map(|after| format!("{before}/{name}{after}")));
        }
    }
    paths
}

/// What a program prints about the paths: for each of them, what each of its readers makes of it.
fn readings(program: &str, flag: &str, script: &str, paths: &[String]) -> Vec<Vec<Option<String>>> {
    let mut command = if program == "node" {
        tool::command("node")
    } else {
        std::process::Command::new(std::path::PathBuf::from(tool::folder()).join("venv/bin/python"))
    };
    command.args([flag, script]).env("PATHS", serde_json::to_string(paths).unwrap());
    let output = command.stdout(std::process::Stdio::piped()).output().unwrap();
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    let read: Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |it: &Value| it.as_str().map(str::to_owned);
    let of_path = |it: &Value| it.as_array().unwrap().iter().map(text).collect();
    read.as_array().unwrap().iter().map(of_path).collect()
}

fn is_protected(path: &str) -> bool {
    ["/admin", "/internal"]
        .iter()
        .any(|own| path.strip_prefix(own).is_some_and(|it| it.is_empty() || it.starts_with('/')))
}

/// A daemon, and the `Cookie` line of bob.
async fn bob() -> (Stage, String) {
    let stage = Stage::with("", RULES).await;
    let mut browser = stage.browser();
    stage.sign_in(&mut browser, APP, "bob").await.is(200);
    let app = url::Url::parse(APP).unwrap();
    let name = browser.cookie_names(&app).remove(0);
    let cookie = format!("Cookie: {name}={}", browser.cookie(&app, "authentik_proxy").unwrap());
    (stage, cookie)
}

#[tokio::test]
async fn what_other_parsers_read_as_protected_is_protected() {
    let (stage, cookie) = bob().await;
    let paths = paths();
    let read = [readings("node", "-e", NODE, &paths), readings("python", "-c", PYTHON, &paths)];
    let mut protected_by = [vec![0; read[0][0].len()], vec![0; read[1][0].len()]];
    for (at, path) in paths.iter().enumerate() {
        let mut is_read_so = false;
        for (counts, read) in protected_by.iter_mut().zip(&read) {
            for (count, _) in counts.iter_mut().zip(&read[at]).filter(|(_, it)| it.as_deref().is_some_and(is_protected))
            {
                *count += 1;
                is_read_so = true;
            }
        }
        if is_read_so {
            let status = raw::ask(&stage, "traefik", "app.example.com", path.as_bytes(), &[cookie.as_bytes()]).await;
            assert_eq!(status, 403, "{path}: {:?} {:?}", read[0][at], read[1][at]);
        }
    }
    // Each of the readers finds the path somewhere, so that the refusals mean something.
    assert!(protected_by.iter().flatten().all(|count| *count > 5), "{protected_by:?}");
}

#[tokio::test]
async fn an_ambiguous_path_is_any_path() {
    let (stage, cookie) = bob().await;
    for dialect in DIALECTS {
        let ask = async |path: &str| {
            raw::ask(&stage, dialect, "app.example.com", path.as_bytes(), &[cookie.as_bytes()]).await
        };
        for path in
            ["/page", "/a//b", "/a%20b", "/caf%c3%a9", "/a/../b", "/open/x", "/%e2%9d%a4%ef%b8%8f", "/administration"]
        {
            assert_eq!(ask(path).await, 200, "{dialect} {path}");
        }
        for path in [
            "//y/admin",
            "///admin",
            "/\\y/admin",
            "/%5cy/admin",
            "//",
            "//page",
            "/admin%0a",
            "/admin%0d%0a",
            "/page%00",
            "/page%0a",
            "/page%7f",
            "/page%c2%85",
            "/caf%e9",
            "/page%c0%af",
            "/page%25u002f",
            "/open/x%0a",
            "/admin%20",
            "/admin.",
        ] {
            assert_eq!(ask(path).await, 403, "{dialect} {path}");
        }
        // Nor is it public.
        for path in ["/open/%0a", "//open", "/open/%ff"] {
            let status = raw::ask(&stage, dialect, "app.example.com", path.as_bytes(), &[]).await;
            assert!(!raw::is_2xx(status), "{dialect} {path} {status}");
        }
    }
}
