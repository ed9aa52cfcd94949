mod docker;
mod hosts;
mod provider;

use super::{MINIMAL, loaded, refused};
use crate::oidc::OfflineAccess;
use crate::settings::Settings;

/// `text` has exactly one mistake, whose line has all of `parts`.
#[track_caller]
fn one(text: &str, parts: &[&str]) {
    let block = refused(Settings::from_toml(text));
    let lines: Vec<_> = block.lines().skip(1).collect();
    assert_eq!(lines.len(), 1, "{text}\n{block}");
    for part in parts {
        assert!(lines[0].contains(part), "{part:?} is not in\n{block}");
    }
}

/// A table beside the minimal ones.
#[track_caller]
fn beside(text: &str, parts: &[&str]) {
    one(&format!("{MINIMAL}\n{text}"), parts);
}

fn with_provider(lines: &str) -> String {
    MINIMAL.replace("[[application]]", &format!("{lines}\n[[application]]"))
}

#[test]
fn in_the_shape() {
    one("[", &["TOML parse error at line 1", "(from the text)"]);
    beside("[srver]\nhttp = 1", &["srver: is an unknown key; did you mean server?"]);
    beside("[server]\nhtp = \"\"", &["server.htp", "did you mean http?"]);
    beside("[server]\ncolour = 1", &["server.colour", "known here: name, http"]);
    beside("[server.https]\nlisen = \"\"", &["server.https.lisen", "listen?"]);
    beside("[application.cors]\n\"a b\" = 1", &["application[0].cors.\"a b\"", "unknown key"]);
    beside("server = 3", &["application[0].server", "unknown key"]);
    one(&format!("server = 3\n{MINIMAL}"), &["server: wanted a table, found a number"]);
    one(&format!("log = []\n{MINIMAL}"), &["log: wanted a table, found a list"]);
    beside("[server]\nmax_headers = \"200\"", &["wanted a whole number, found a text"]);
    beside("[server]\nmax_headers = 1.5", &["wanted a whole number"]);
    beside("[server]\nname = 3", &["wanted a text, found a number", "quotes"]);
    beside("[server]\nname = \" \"", &["server.name: is empty"]);
    beside("[server]\nname = \"a\\nb\"", &["control character"]);
    beside("[server]\nname = 1979-05-27", &["wanted a text"]);
    beside("[server]\ndanger_any_host = \"yes\"", &["wanted true or false, found a text"]);
    beside("[server]\nheader_timeout = true", &["wanted a duration", "90s"]);
    beside("[server]\ntrusted_proxies = \"10.0.0.0/8\"", &["wanted a list, found a text"]);
    beside("[server]\ntrusted_proxies = [\"::1\", 3]", &["server.trusted_proxies[1]"]);
    one(
        &MINIMAL.replace("[[application]]", "[application]"),
        &["application: wanted a list of tables", "[[application]]"],
    );
    one(&format!("identity_provider.b = 1\n{MINIMAL}"), &["identity_provider.b: wanted a table"]);
}

#[test]
fn in_the_server() {
    let server = |line: &str, parts: &[&str]| beside(&format!("[server]\n{line}"), parts);
    server("http = \"9000\"", &["server.http: \"9000\" is not a listen address", ":9000"]);
    server("http = \"localhost:9000\"", &["not a listen address"]);
    server("metrics = \":99999\"", &["server.metrics", "not a listen address"]);
    server("http = \"off\"", &["nothing listens for requests", "unix_socket"]);
    server("metrics = \":9000\"", &["server.metrics: is the address of http too"]);
    server(&format!("unix_socket = \"/{}\"", "a".repeat(107)), &["not a path of a socket"]);
    server("admin = \"127.0.0.1:9100\"", &["server.admin", "not a Unix socket", "unix:/run/forepost/admin.sock"]);
    server("admin = \"/run/forepost/admin.sock\"", &["not a Unix socket"]);
    server("admin = \"unix:\"", &["not a Unix socket"]);
    server(&format!("admin = \"unix:/{}\"", "a".repeat(107)), &["not a path of a socket"]);
    server("admin = \"unix:/a\"\nunix_socket = \"/a\"", &["server.admin: is the path of unix_socket too"]);
    server("trusted_proxies = [\"10.0.0.0/33\"]", &["trusted_proxies[0]", "not a network"]);
    server("trusted_proxies = [\"proxy\"]", &["not a network"]);
    server("max_connections = 0", &["server.max_connections: 0 is out of range; from 1 to"]);
    server("max_connections = -1", &["-1 is out of range"]);
    server("max_header_bytes = 8191", &["from 8192 to 1048576"]);
    server("max_headers = 99999999999", &["out of range"]);
    server("header_timeout = 10", &["\"10\" is not a duration", "write \"10s\""]);
    server("header_timeout = \"10 s\"", &["not a duration"]);
    server("header_timeout = \"0s\"", &["0s is out of range; from 1s to 5m"]);
    server("request_timeout = \"2d\"", &["2d is out of range"]);
    server("idle_timeout = \"60s\"", &["server.idle_timeout: is below 90s", "Traefik"]);
    server("name = \"é\"", &["cannot be sent in a header"]);
    beside("[server.https]\ncertificate = \"a\"", &["server.https.key: is missing"]);
    beside("[server.https]\nkey = \"a\"", &["server.https.certificate: is missing"]);
    beside("[server.https]\nreload_interval = \"off\"", &["out of range"]);
}

#[test]
fn in_an_application() {
    let application = |line: &str, parts: &[&str]| beside(line, parts);
    application(
        "identity_provider = \"other\"",
        &["application[0].identity_provider: \"other\" is not a configured", "configured: default"],
    );
    application("cookie_domain = \"com\"", &["application[0].cookie_domain: \"com\" is a public suffix"]);
    application("cookie_domain = \"co.uk\"", &["public suffix"]);
    application("cookie_domain = \"10.0.0.1\"", &["not a domain name"]);
    application(
        "cookie_domain = \"other.test\"",
        &["application[0].external_host: \"app.example.com\" is outside the cookie domain \"other.test\""],
    );
    application("cookie_domain = \"pp.example.com\"", &["outside the cookie domain"]);
    application("slug = \"a b\"", &["not a slug"]);
    application("required_groups = [\"\"]", &["required_groups[0]: is empty"]);
    application("post_logout_redirect_uri = \"/bye\"", &["not a web address"]);
    application("post_logout_redirect_uri = \"https:/bye.test\"", &["post_logout_redirect_uri", "not a web address"]);
    application("post_logout_redirect_uri = \"https:///bye.test\"", &["names no host"]);
    application("post_logout_redirect_uri = \"https://bye.test:0/\"", &["port 0"]);
    for domain in
        ["https://example.com", "example.com:443", "*.example.com", "example.com/x", "10.0.0.1", "ex ample.com"]
    {
        application(
            &format!("cookie_domain = \"{domain}\""),
            &["cookie_domain", "is not a domain name", "without scheme"],
        );
    }
    application("headers = { jwt = 1 }", &["headers.jwt: wanted true or false"]);
    application("headers = { warn_bytes = 1 }", &["headers.warn_bytes: 1 is out of range"]);
    application("cors = { allowed_origins = [\"*\"] }", &["cors.allowed_origins[0]", "name each origin"]);
    application("cors = { allowed_origins = [\"https://a.test/\"] }", &["write \"https://a.test\""]);
    application("cors = { pass_preflight = true }", &["cors.pass_preflight", "allowed_origins"]);
    let external = |value: &str, parts: &[&str]| {
        one(&MINIMAL.replace("https://app.example.com", value), parts);
    };
    external("ftp://a.test", &["application[0].external_host", "begin it with https://"]);
    external("https://me:hunter2@a.test", &["remove the user name", "https://…@a.test"]);
    external("https://a.test/?b", &["query or fragment"]);
    external("*.example.com", &["cookie_domain for all hosts"]);
    external("https:/app.example.com", &["external_host: \"https:/app.example.com\"", "two slashes behind the scheme"]);
    external("https:///app.example.com", &["names no host behind the two slashes"]);
    external("https://app.example.com:0", &["port 0"]);
    external("https://app.example.com/outpost.goauthentik.io", &["lies within forepost's own path"]);
}

#[test]
fn in_public_paths() {
    let rule = |rule: &str, parts: &[&str]| beside(&format!("public_paths = [{{ {rule} }}]"), parts);
    let path = "application[0].public_paths[0]";
    rule("", &[path, "exactly one of path, prefix, regex"]);
    rule("methods = [\"GET\"]", &[path, "it would open everything"]);
    rule("path = \"/a\", prefix = \"/b\"", &[path, "more than one pattern"]);
    rule("path = \"a\"", &["public_paths[0].path", "begin it with /"]);
    rule("path = \"\"", &["is empty"]);
    rule("prefix = \"  \"", &["is empty"]);
    rule("path = \"/a?b=c\"", &["only the path is looked at"]);
    rule("prefix = \"/\"", &["public_paths[0].prefix: \"/\" would open everything"]);
    rule("regex = \".*\"", &["public_paths[0].regex: \".*\" would open everything"]);
    rule("regex = \"\"", &["regex: is empty"]);
    rule("regex = \"(\"", &["not a regular expression that can be used", "unclosed group"]);
    for own in ["path = \"/outpost.goauthentik.io/start\"", "prefix = \"/outpost.goauthentik.io\""] {
        rule(own, &[path, "lies within forepost's own path", "before any rule"]);
    }
    rule("path = \"/a.\"", &["can never match", "dots at its end"]);
    rule("path = \"/a\", methods = [\"G T\"]", &["public_paths[0].methods[0]", "not an HTTP method"]);
    rule("path = \"/a\", host = \"https://a.test\"", &["public_paths[0].host", "is not a host"]);
    rule("path = \"/a\", host = \"other.test\"", &["is not a host of this application"]);
    beside("public_paths = [1]", &["application[0].public_paths[0]: wanted a table"]);
}

#[test]
fn between_tables() {
    let two = |first: &str, second: &str, parts: &[&str]| {
        beside(&format!("{first}\n[[application]]\nslug = \"second\"\n{second}"), parts);
    };
    two(
        "",
        "external_host = \"https://app.example.com:8443/x\"",
        &["application[1].external_host: \"app.example.com\" is that of application[0].external_host too"],
    );
    two(
        "cookie_domain = \"example.com\"",
        "external_host = \"b.example.com\"\ncookie_domain = \".Example.com\"",
        &["application[1].cookie_domain: \"example.com\" is that of application[0].cookie_domain too"],
    );
    two("slug = \"second\"", "external_host = \"b.test\"", &["application[1].slug: \"second\" is that of"]);
    let provider = "[identity_provider.b]\nissuer = \"https://b.test\"\nclient_id = \"b\"";
    beside(provider, &["application[0].identity_provider: is missing", "configured: b, default"]);
    let no_application = MINIMAL.split("[[").next().unwrap();
    one(no_application, &["application: is missing", "FOREPOST_EXTERNAL_HOST"]);
    one(&format!("application = []\n{no_application}"), &["there is no application"]);
    let no_provider = "[[application]]\nexternal_host = \"a.test\"";
    one(no_provider, &["identity_provider: is missing", "FOREPOST_ISSUER"]);
    one(&format!("issuer = \"https://b.test\"\n{MINIMAL}"), &["issuer: clashes with [identity_provider.default]"]);
    one(&format!("external_host = \"b.test\"\n{MINIMAL}"), &["external_host: clashes with [[application]]"]);
}

#[test]
fn in_further_headers() {
    let header = |line: &str, parts: &[&str]| {
        one(&format!("{MINIMAL}\n[[application.header]]\n{line}"), parts);
    };
    header("text = \"x\"", &["application[0].header[0].name: is missing"]);
    header("name = \"X-A\"", &["application[0].header[0]: has no value; give exactly one of"]);
    header("name = \"X-A\"\ntext = \"x\"\nclaim = \"y\"", &["has more than one value"]);
    header("name = \"X-A\"\ntext = \"x\"\ndefault = \"y\"", &["header[0].default: is for groups only"]);
    header("name = \"X-Authentik-Username\"\ntext = \"x\"", &["header[0].name:", "is reserved"]);
    header("name = \"X_A\"\ntext = \"x\"", &["a character that proxies drop"]);
    header("name = \"X-A\"\ngroups = [{ group = \"a\" }]", &["header[0].groups[0].value: is missing"]);
    let twice = "name = \"Remote-User\"\ntext = \"x\"\n[application.headers]\npresets = [\"remote-user\"]";
    header(twice, &["application[0].header: \"remote-user\" is given twice"]);
    let headers = |line: &str, parts: &[&str]| one(&format!("{MINIMAL}\n[application.headers]\n{line}"), parts);
    headers("presets = [\"x\"]", &["headers.presets[0]: \"x\" is unknown; one of remote-user, forwarded-user"]);
    headers("additional = [\"Cookie\"]", &["headers.additional[0]:", "is reserved"]);
    one(&format!("{MINIMAL}\n[application.basic_auth]\nusername = \"x\""), &["basic_auth.password: is missing"]);
}

#[test]
fn in_the_session() {
    let session = |line: &str, parts: &[&str]| beside(&format!("[session]\n{line}"), parts);
    session("lifetime = \"401d\"", &["session.lifetime: 401d is out of range; from 1s to 400d"]);
    session("lifetime = 0", &["0s is out of range"]);
    session("lifetime = \"99999999999999999999d\"", &["not a duration"]);
    session("idle_timeout = \"401d\"", &["out of range"]);
    session("max_sessions = 0", &["out of range"]);
    session("revalidate_within = \"1m\"", &["session.revalidate_within: is shorter than revalidate_after"]);
    session("revalidate_after = \"off\"\nsilent_login = true", &["session.silent_login: has no effect without"]);
    session("store = \"sqlite\"", &["session.store: \"sqlite\" is unknown; one of memory, file, redis"]);
    session("directory = \"\"", &["session.directory: is empty"]);
    session("directory = 7", &["session.directory: wanted a text"]);
    session("secret = \"hunter2\"", &["session.secret: is too short", "openssl rand"]);
}

#[test]
fn in_a_redis() {
    let secret = "0".repeat(64);
    let redis = |lines: &str, parts: &[&str]| {
        beside(&format!("[session]\nstore = \"redis\"\nsecret = \"{secret}\"\n[session.redis]\n{lines}"), parts);
    };
    redis("", &["session.redis.url: is missing", "redis://host:6379"]);
    redis("url = \"redis.test:6379\"", &["session.redis.url: has another scheme", "rediss://"]);
    redis("url = \"redis\"", &["is not an address of a Redis"]);
    redis("url = \"https://redis.test\"", &["has another scheme"]);
    redis("url = \"redis:///1\"", &["names no host"]);
    redis("url = \"redis://redis.test/one\"", &["not a database's number"]);
    redis("url = \"redis://redis.test/1/2\"", &["too long a path"]);
    redis("url = \"redis://redis.test?db=1\"", &["a query or a fragment"]);
    redis("url_file = \"/nonexistent\"", &["session.redis.url_file: \"/nonexistent\" cannot be read"]);
    redis("url = \"redis://redis.test:0\"", &["session.redis.url: has an unusable port", "port 0"]);
    redis("url = \"redis://redis.test:\"", &["session.redis.url: has an unusable port", "colon"]);
    redis("url = \"redis:/redis.test\"", &["names no host"]);
    redis("url = \"redis:redis.test:6379\"", &["names no host"]);
    redis("url = \"redis://re%64is.test\"", &["names no host"]);
    redis("urls = [\"redis://a.test\", \"b.test\"]", &["session.redis.urls[1]: is not an address"]);
    redis("urls = [\"redis://a.test\", \"redis://b.test\"]", &["urls: more than one address", "\"sentinel\""]);
    redis("urls = [\"rediss+cluster://a.test\", \"redis+cluster://b.test\"]", &["do not agree on TLS"]);
    redis("url = \"redis://a.test\"\nurls = [\"redis://a.test\"]\nmode = \"cluster\"", &["url: is given beside urls"]);
    redis("url = \"redis://a.test\"\nmode = \"double\"", &["one of single, sentinel, cluster"]);
    redis("url = \"redis+cluster://a.test\"\nmode = \"single\"", &["mode: is not what the scheme"]);
    redis("url = \"redis+cluster://a.test/1\"", &["no database but 0"]);
    redis("url = \"redis+sentinel://a.test\"", &["session.redis.master: is missing", "mymaster"]);
    redis("url = \"redis://a.test\"\nusername = \"us\"", &["username: has no password"]);
    redis("url = \"redis://:hunter2@a.test\"\npassword = \"hunter2\"", &["password: a secret given twice"]);
    redis("url = \"redis://a.test\"\nprefix = \"{a}\"", &["prefix: \"{a}\" is not a usable prefix"]);
    redis("url = \"redis://a.test\"\ntimeout = \"1m\"", &["from 100ms to 30s"]);
    redis("url = \"redis://a.test\"\nstaleness = \"6m\"", &["from 1s to 5m"]);
    beside(
        "[session]\nstore = \"redis\"\n[session.redis]\nurl = \"redis://a.test\"",
        &["session.secret: is missing", "openssl rand -hex 32"],
    );
    let text = format!(
        "{MINIMAL}\n[session.redis]\nurl = \"redis://us:hunter2@host:x\"\nurls = [\"rediss://us:hunter3@host/x\"]"
    );
    let block = refused(Settings::from_toml(&text));
    assert!(!block.contains("hunter"), "{block}");
}

#[test]
fn in_the_log() {
    let log = |line: &str, parts: &[&str]| beside(&format!("[log]\n{line}"), parts);
    log("format = \"xml\"", &["log.format: \"xml\" is unknown; one of auto, json, human"]);
    log("level = \"\"", &["log.level: is empty"]);
    log("level = \"inof\"", &["log.level: \"inof\" is neither a level", "as in \"info\""]);
    log("routine_checks = \"some\"", &["log.routine_checks", "one in N"]);
    log("routine_checks = -1", &["-1 is out of range"]);
    log("routine_checks = true", &["wanted a text or a number"]);
}

#[test]
fn all_are_reported_at_once_and_no_secret_is_shown() {
    let text = r#"
        colour = "blue"
        [server]
        max_connections = "many"
        idle_timeout = "30s"
        [identity_provider.default]
        issuer = "http://id.example.com"
        client_id = 7
        client_secret = "hunter2"
        client_secret_file = "/nonexistent"
        token_endpoint_auth_method = "none"
        [[application]]
        external_host = "https://app.example.com"
        cookie_domain = "com"
        public_paths = [{ regex = "(" }]
        [session]
        secret = "hunter3"
        store = "disk"
        directory = false
    "#;
    let block = refused(Settings::from_toml(text));
    for path in [
        "colour:",
        "server.max_connections:",
        "server.idle_timeout:",
        "identity_provider.default.issuer:",
        "identity_provider.default.client_id:",
        "identity_provider.default.client_secret: a secret given twice",
        "identity_provider.default.client_secret_file:",
        "identity_provider.default.token_endpoint_auth_method:",
        "application[0].cookie_domain:",
        "application[0].public_paths[0].regex:",
        "session.secret:",
        "session.store:",
        "session.directory:",
    ] {
        assert!(block.contains(&format!("\n  {path}")), "{path} is not in\n{block}");
    }
    assert!(block.starts_with("13 mistakes in the configuration:\n"), "{block}");
    assert!(!block.contains("hunter"), "{block}");
    let broken = refused(Settings::from_toml("client_secret = \"hunter2"));
    assert!(!broken.contains("hunter"), "{broken}");
}

#[test]
fn what_is_allowed_loads() {
    let settings = loaded(&format!(
        "{}\n{}",
        with_provider(
            "scopes = [\"groups\", \"groups\"]\noffline_access = \"never\"\nauthorization_parameters = { max_age = 60, prompt = \"login\" }"
        ),
        r#"
        cookie_domain = "example.com"
        name = "My App"
        required_groups = ["staff", "Domain Users"]
        public_paths = [{ path = "/" }, { prefix = "/s/", host = "b.example.com", methods = ["get"] }]
        [[application]]
        external_host = "app.other.test"
        [server]
        http = ":80"
        metrics = "off"
        trusted_proxies = ["10.0.0.0/8", "192.0.2.1", "0.0.0.0/0"]
        [session]
        idle_timeout = 0
        [log]
        routine_checks = 100
        "#
    ));
    let provider = &settings.identity_providers["default"];
    assert_eq!(provider.scopes, ["openid", "groups"]);
    assert_eq!(provider.offline_access, OfflineAccess::Never);
    assert_eq!(provider.authorization_parameters["max_age"], "60");
    let [first, second] = &*settings.applications else {
        panic!("two applications");
    };
    assert_eq!((&*first.name, &*first.slug), ("My App", "my-app"));
    assert_eq!(first.public_paths[1].methods, [http::Method::GET]);
    assert_eq!((&*second.name, &*second.slug), ("app.other.test", "app-other-test"));
    assert_eq!(second.identity_provider, "default");
    assert_eq!(settings.server.http, "0.0.0.0:80".parse().ok());
    assert_eq!(settings.server.metrics, None);
    let proxies: Vec<_> = settings.server.trusted_proxies.iter().map(ToString::to_string).collect();
    assert_eq!(proxies, ["10.0.0.0/8", "192.0.2.1/32", "0.0.0.0/0"]);
    assert_eq!(settings.session.idle_timeout, None);
    assert_eq!(settings.log.routine_checks, crate::telemetry::RoutineChecks::OneIn(100));
    assert_eq!(settings.dangers(), ["server.trusted_proxies (0.0.0.0/0 is everybody)"]);
}

#[test]
fn in_tokens() {
    #[track_caller]
    fn tokens(lines: &str, parts: &[&str]) {
        one(&format!("{MINIMAL}\n{lines}"), parts);
    }
    tokens("tokens = { bearer = \"yes\" }", &["application[0].tokens.bearer: \"yes\" is unknown", "one of off, jwt"]);
    tokens("tokens = { basic = true }", &["tokens.basic: wanted a text"]);
    tokens("tokens = { scopes = [\"a\"] }", &["tokens.scopes: has no effect while bearer is off"]);
    tokens("tokens = { basic = \"authentik\", audiences = [\"a\"] }", &["tokens.audiences: has no effect"]);
    tokens("tokens = { bearer = \"jwt\", scopes = [\"a b\"] }", &["tokens.scopes[0]: \"a b\" is not a scope"]);
    tokens("tokens = { bearer = \"jwt\", audience = \"a\" }", &["tokens.audience", "did you mean audiences?"]);
    let issuer = "name = \"ci\"\nissuer = \"https://ci.example.com\"";
    let with = |bearer: &str, more: &str| {
        format!("tokens = {{ bearer = \"{bearer}\" }}\n[[application.token_issuer]]\n{more}")
    };
    tokens(&with("introspection", issuer), &["token_issuer[0]: has no effect: no JWT is accepted"]);
    tokens(&with("jwt", "issuer = \"https://ci.example.com\""), &["token_issuer[0].name: is missing"]);
    tokens(&with("jwt", "name = \"ci\""), &["token_issuer[0].issuer: is missing"]);
    tokens(&with("jwt", "name = \"a:b\"\nissuer = \"https://x.example.com\""), &["\"a:b\" is not a usable name"]);
    tokens(&with("jwt", "name = \"ci\"\nissuer = \"http://ci.example.com\""), &["is cleartext"]);
    let twice = format!("{issuer}\n[[application.token_issuer]]\nname = \"ci\"\nissuer = \"https://x.example.com\"");
    tokens(&with("jwt", &twice), &["token_issuer[1].name: \"ci\" is that of an earlier one too"]);
}
