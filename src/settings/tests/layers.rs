use std::path::PathBuf;

use secrecy::ExposeSecret;

use super::{MINIMAL, loaded, refused};
use crate::identity::ClaimPath;
use crate::serve::Admin;
use crate::session::RedisMode;
use crate::settings::{Layers, Mistakes, Settings, Store, admin, load};

const QUICK: [(&str, &str); 4] = [
    ("FOREPOST_ISSUER", "https://id.example.com/"),
    ("FOREPOST_CLIENT_ID", "forepost"),
    ("FOREPOST_CLIENT_SECRET", "a secret"),
    ("FOREPOST_EXTERNAL_HOST", "https://app.example.com"),
];

fn pairs(given: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = given.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    owned.collect()
}

/// The quick start with more variables, or other values.
fn quick(more: &[(&str, &str)]) -> Result<Settings, Mistakes> {
    let replaced = |name: &str| more.iter().any(|(other, _)| *other == name);
    let rest = QUICK.iter().filter(|(name, _)| !replaced(name));
    let all: Vec<_> = rest.chain(more).copied().collect();
    load(&Layers { environment: pairs(&all), ..Layers::default() })
}

#[track_caller]
fn quick_loaded(more: &[(&str, &str)]) -> Settings {
    match quick(more) {
        Ok(settings) => settings,
        Err(mistakes) => panic!("{mistakes}"),
    }
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    file
}

#[test]
fn the_quick_start_needs_no_file() {
    let settings = quick_loaded(&[("FOREPOST_COOKIE_DOMAIN", "example.com"), ("PATH", "/bin")]);
    let provider = &settings.identity_providers["default"];
    assert_eq!(provider.issuer, "https://id.example.com/");
    let application = &settings.applications[0];
    assert_eq!((&*application.name, &*application.slug), ("default", "default"));
    assert_eq!(application.identity_provider, "default");
    assert_eq!(application.cookie_domain.as_ref().unwrap().as_str(), "example.com");
}

#[test]
fn empty_variables_of_the_quick_start_are_unset() {
    let settings = quick_loaded(&[("FOREPOST_COOKIE_DOMAIN", ""), ("FOREPOST_CONFIG", "")]);
    assert_eq!(settings.applications[0].cookie_domain, None);
}

#[test]
fn secrets_of_the_environment_stay_as_they_are() {
    for secret in ["12345", "0123", "1e5", "true", "\"quoted\"", "[a]", "{a}", " a ", "a=b"] {
        let settings = quick_loaded(&[("FOREPOST_CLIENT_SECRET", secret)]);
        let kept = settings.identity_providers["default"].client_secret.as_ref().unwrap();
        assert_eq!(kept.expose_secret(), secret);
    }
}

#[test]
fn a_secret_file_loses_one_newline() {
    for (text, expected) in [("s", "s"), ("s\n", "s"), ("s\r\n", "s"), ("s\n\n", "s\n"), (" s", " s")] {
        let file = file(text);
        let path = file.path().to_str().unwrap();
        let settings = quick_loaded(&[("FOREPOST_CLIENT_SECRET", ""), ("FOREPOST_CLIENT_SECRET_FILE", path)]);
        let kept = settings.identity_providers["default"].client_secret.as_ref().unwrap();
        assert_eq!(kept.expose_secret(), expected, "{text:?}");
    }
}

#[test]
fn texts_of_the_environment_become_what_is_wanted() {
    let settings = quick_loaded(&[
        ("FOREPOST_SERVER__HTTP", ""),
        ("FOREPOST_SERVER__UNIX_SOCKET", "/run/forepost.sock"),
        ("FOREPOST_SERVER__MAX_CONNECTIONS", "7"),
        ("FOREPOST_SERVER__IDLE_TIMEOUT", "5m"),
        ("FOREPOST_SERVER__DANGER_ANY_HOST", "True"),
        ("FOREPOST_SERVER__TRUSTED_PROXIES", "10.0.0.0/8, ::1"),
        ("FOREPOST_SESSION__IDLE_TIMEOUT", "off"),
        ("FOREPOST_LOG__ROUTINE_CHECKS", "10"),
    ]);
    assert_eq!(settings.server.http, None);
    assert_eq!(settings.server.max_connections, 7);
    assert_eq!(settings.server.idle_timeout.as_secs(), 300);
    assert_eq!(settings.server.trusted_proxies.len(), 2);
    assert_eq!(settings.session.idle_timeout, None);
    assert_eq!(settings.dangers(), ["server.danger_any_host"]);
}

#[test]
fn whole_tables_fit_into_a_variable() {
    let settings = load(&Layers {
        environment: pairs(&[
            (
                "FOREPOST_APPLICATION",
                "[{external_host = \"a.test\", public_paths = [{path = \"/x\"}]}, {external_host = \"b.test\"}]",
            ),
            ("FOREPOST_IDENTITY_PROVIDER__KC__ISSUER", "https://kc.test"),
            ("FOREPOST_IDENTITY_PROVIDER__KC__CLIENT_ID", "a"),
            ("FOREPOST_IDENTITY_PROVIDER__KC__SCOPES", "openid groups,email"),
            ("FOREPOST_IDENTITY_PROVIDER__KC__CLAIMS__GROUPS", "realm_access.roles"),
            ("FOREPOST_IDENTITY_PROVIDER__KC__CLAIMS__USERNAME", "preferred_username, email"),
            ("FOREPOST_IDENTITY_PROVIDER__KC__CLAIMS__ENTITLEMENTS", "[['resource_access', 'a.b', 'roles']]"),
            ("FOREPOST_IDENTITY_PROVIDER__KC__AUTHORIZATION_PARAMETERS", "{prompt = \"login\"}"),
        ]),
        ..Layers::default()
    })
    .unwrap();
    assert_eq!(settings.applications.len(), 2);
    assert_eq!(settings.applications[0].public_paths.len(), 1);
    let provider = &settings.identity_providers["kc"];
    assert_eq!(provider.scopes, ["openid", "groups", "email"]);
    assert_eq!(provider.claims.groups, ClaimPath::new("realm_access.roles"));
    assert_eq!(provider.claims.username.to_string(), "preferred_username or email");
    assert_eq!(provider.claims.entitlements.to_string(), "[resource_access, a.b, roles]");
    assert_eq!(provider.authorization_parameters["prompt"], "login");
}

#[track_caller]
fn redis(lines: &str, expected: &str) {
    let secret = "0".repeat(64);
    let text = format!("{MINIMAL}\n[session]\nstore = \"redis\"\nsecret = \"{secret}\"\n[session.redis]\n{lines}");
    let Store::Redis(redis) = loaded(&text).session.store else { panic!("no Redis") };
    assert!(!format!("{redis:?}").contains("hunter"), "{redis:?}");
    let addresses: Vec<_> = redis.addresses.iter().map(ToString::to_string).collect();
    let mode = match &redis.mode {
        RedisMode::Single => "single".to_owned(),
        RedisMode::Cluster => "cluster".to_owned(),
        RedisMode::Sentinel { master, .. } => format!("sentinel {master}"),
    };
    let (tls, user) = (if redis.tls { "tls" } else { "clear" }, redis.username.as_deref().unwrap_or("-"));
    let password = redis.password.as_ref().map_or("-", |password| password.expose_secret());
    assert_eq!(format!("{mode} {tls} {} {user} {password} {}", addresses.join(","), redis.database), expected);
}

#[test]
fn addresses_of_a_redis() {
    redis("url = \"redis://a.test\"", "single clear a.test:6379 - - 0");
    redis("url = \"rediss://[::1]:7000/3\"", "single tls [::1]:7000 - - 3");
    redis("url = \"redis://us:hunter%402@a.test/\"", "single clear a.test:6379 us hunter@2 0");
    redis(
        "url = \"redis://a.test\"\nusername = \"us\"\npassword = \"hunter2\"",
        "single clear a.test:6379 us hunter2 0",
    );
    redis("url = \"redis+sentinel://a.test/main/2\"", "sentinel main clear a.test:26379 - - 2");
    redis("url = \"redis://a.test\"\nmode = \"sentinel\"\nmaster = \"main\"", "sentinel main clear a.test:6379 - - 0");
    redis("urls = [\"rediss+cluster://a\", \"rediss+cluster://b:1\"]", "cluster tls a:6379,b:1 - - 0");
    redis(
        "urls = [\"redis://:hunter2@a\", \"redis://b\"]\nmode = \"cluster\"",
        "cluster clear a:6379,b:6379 - hunter2 0",
    );
}

/// Where sessions are kept with these lines in `[session]`, and perhaps under systemd.
#[track_caller]
fn kept(lines: &str, state_directory: Option<&str>, expected: Option<&str>) {
    let config = file(&format!("{MINIMAL}\n[session]\n{lines}"));
    let layers = Layers {
        config: Some(config.path().to_owned()),
        state_directory: state_directory.map(PathBuf::from),
        ..Layers::default()
    };
    let found = match load(&layers).unwrap().session.store {
        Store::File(path) => Some(path),
        Store::Memory => None,
        Store::Redis(redis) => panic!("{redis:?}"),
    };
    assert_eq!(found.as_deref(), expected.map(std::path::Path::new), "{lines} {state_directory:?}");
}

#[test]
fn sessions_are_kept_in_a_file_where_there_is_a_directory() {
    kept("", None, None);
    kept("store = \"memory\"", None, None);
    kept("store = \"file\"", None, Some("/var/lib/forepost"));
    kept("directory = \"/a\"", None, Some("/a"));
    kept("store = \"file\"\ndirectory = \"a\"", None, Some("a"));
    kept("store = \"memory\"\ndirectory = \"/a\"", None, None);
    kept("", Some("/b"), Some("/b"));
    kept("store = \"file\"", Some("/b"), Some("/b"));
    kept("store = \"memory\"", Some("/b"), None);
    kept("directory = \"/a\"", Some("/b"), Some("/a"));
}

/// Where operators reach a daemon with this configuration, perhaps under systemd.
#[track_caller]
fn reached(lines: &str, state_directory: Option<&str>, runtime_directory: Option<&str>, expected: &Admin) {
    let config = file(&format!("{MINIMAL}\n{lines}"));
    let layers = Layers {
        config: Some(config.path().to_owned()),
        state_directory: state_directory.map(PathBuf::from),
        runtime_directory: runtime_directory.map(PathBuf::from),
        ..Layers::default()
    };
    assert_eq!(&load(&layers).unwrap().server.admin, expected, "{lines}");
    assert_eq!(&admin(&layers).unwrap(), expected, "{lines}");
    let broken = file(&format!("client_secret_file = \"/nonexistent\"\n{lines}\n[log]\nlevel = 7"));
    let layers = Layers { config: Some(broken.path().to_owned()), ..layers };
    assert_eq!(&admin(&layers).unwrap(), expected, "{lines}, among mistakes");
}

#[test]
fn operators_have_a_socket_where_there_is_a_directory() {
    let usual = |path: &str| Admin::Usual(Some(path.into()));
    reached("", None, None, &Admin::Usual(None));
    reached("", Some("/b"), Some("/c"), &usual("/b/admin.sock"));
    reached("", None, Some("/c"), &usual("/c/admin.sock"));
    reached("[session]\ndirectory = \"/a\"", Some("/b"), None, &usual("/a/admin.sock"));
    reached("[session]\nstore = \"file\"", None, Some("/c"), &usual("/var/lib/forepost/admin.sock"));
    reached("[session]\nstore = \"memory\"", Some("/b"), Some("/c"), &usual("/b/admin.sock"));
    reached("[server]\nadmin = \"off\"", Some("/b"), None, &Admin::Off);
    reached("[server]\nadmin = \"unix:/x\"", Some("/b"), None, &Admin::At("/x".into()));
}

#[test]
fn later_layers_win() {
    let config = file(&format!("{MINIMAL}\n[server]\nname = \"file\"\nmax_headers = 20\nmax_connections = 30"));
    let settings = load(&Layers {
        config: Some(config.path().to_owned()),
        environment: pairs(&[
            ("FOREPOST_SERVER__NAME", "environment"),
            ("FOREPOST_SERVER__MAX_HEADERS", "21"),
            ("FOREPOST_CONFIG", "/nonexistent"),
        ]),
        overrides: pairs(&[("server.name", "flag")]),
        ..Layers::default()
    })
    .unwrap();
    assert_eq!(settings.server.name, "flag");
    assert_eq!(settings.server.max_headers, 21);
    assert_eq!(settings.server.max_connections, 30);
    assert_eq!(settings.server.request_timeout.as_secs(), 30);
}

#[test]
fn the_file_is_found() {
    let config = file(MINIMAL);
    let path = config.path().to_str().unwrap();
    let by_variable = Layers { environment: pairs(&[("FOREPOST_CONFIG", path)]), ..Layers::default() };
    assert!(load(&by_variable).is_ok());
    let second_place = Layers {
        implicit_files: vec![PathBuf::from("/nonexistent/a.toml"), config.path().to_owned()],
        ..Layers::default()
    };
    assert!(load(&second_place).is_ok());
    let missing = Layers { config: Some(PathBuf::from("/nonexistent/a.toml")), ..Layers::default() };
    let block = refused(load(&missing));
    assert!(block.contains("the file /nonexistent/a.toml cannot be read"), "{block}");
    let nothing = Layers { implicit_files: vec![PathBuf::from("/nonexistent/a.toml")], ..Layers::default() };
    let block = refused(load(&nothing));
    assert!(block.starts_with("2 mistakes"), "{block}");
}

#[track_caller]
fn quick_refused(name: &str, value: &str, expected: &str) {
    let block = refused(quick(&[(name, value)]));
    assert_eq!(block.lines().count(), 2, "{block}");
    let origin = format!("(from environment variable {name})");
    assert!(block.contains(expected) && block.contains(&origin), "{block}");
}

#[test]
fn mistakes_name_where_they_come_from() {
    quick_refused("FOREPOST_ISUER", "x", "isuer: is an unknown key; did you mean issuer?");
    quick_refused("FOREPOST_SERVER__HTPP", "x", "server.htpp: is an unknown key; did you mean http?");
    quick_refused("FOREPOST_COOKIE_DOMAIN", "com", "cookie_domain: \"com\" is a public suffix");
    quick_refused("FOREPOST_LOG", "debug", "FOREPOST_LOG__KEY");
    quick_refused("FOREPOST_", "x", "\"\": is an unknown key");
    quick_refused("FOREPOST_SERVER__MAX_HEADERS", "many", "server.max_headers: is not a whole number");
    quick_refused("FOREPOST_SERVER__TRUSTED_PROXIES", "[1", "cannot be read as a TOML value");
    let config = file(&format!("{MINIMAL}\n[server]\nmax_headers = 1"));
    let layers = Layers { config: Some(config.path().to_owned()), ..Layers::default() };
    let block = refused(load(&layers));
    let origin = format!("(from {})", config.path().display());
    assert!(block.ends_with(&origin), "{block}");
    let by_flag = Layers { overrides: pairs(&[("server.http", "x")]), environment: pairs(&QUICK), ..Layers::default() };
    let block = refused(load(&by_flag));
    assert!(block.ends_with("(from the command line)"), "{block}");
}

#[test]
fn variables_that_kubernetes_sets_are_not_ours() {
    quick_loaded(&[
        ("FOREPOST_SERVICE_HOST", "10.0.0.1"),
        ("FOREPOST_SERVICE_PORT", "9000"),
        ("FOREPOST_SERVICE_PORT_HTTP", "9000"),
        ("FOREPOST_PORT", "tcp://10.0.0.1:9000"),
        ("FOREPOST_PORT_9000_TCP", "tcp://10.0.0.1:9000"),
        ("FOREPOST_PORT_9000_TCP_PROTO", "tcp"),
        ("FOREPOST_PORT_9000_TCP_PORT", "9000"),
        ("FOREPOST_PORT_9000_TCP_ADDR", "10.0.0.1"),
        ("FOREPOST_METRICS_SERVICE_HOST", "10.0.0.2"),
        ("FOREPOST_METRICS_PORT_9300_TCP_ADDR", "10.0.0.2"),
    ]);
    quick_refused("FOREPOST_PORT", "9000", "port: is an unknown key");
}
