//! Which settings a running daemon keeps until its restart.

use secrecy::{ExposeSecret, SecretString};

use super::{Docker, Session, Settings, Store};
use crate::serve::Server;
use crate::session::{RedisMode, RedisSettings};
use crate::telemetry::Log;

impl Settings {
    /// The keys with another value in `running`, among those that only a restart changes, as paths.
    #[must_use]
    pub(crate) fn needs_restart(&self, running: &Self) -> Vec<&'static str> {
        let differences = [
            server(&self.server, &running.server),
            docker(self.docker.as_ref(), running.docker.as_ref()),
            session(&self.session, &running.session),
            log(&self.log, &running.log),
        ];
        differences.into_iter().flatten().filter(|(_, differs)| *differs).map(|(key, _)| key).collect()
    }
}

// The fields are named one by one, so that the compiler asks about each new one.

fn server(new: &Server, running: &Server) -> Vec<(&'static str, bool)> {
    let Server {
        name,
        http,
        https,
        metrics,
        unix_socket,
        admin,
        trusted_proxies,
        max_connections,
        max_header_bytes,
        max_headers,
        header_timeout,
        request_timeout,
        idle_timeout,
        tls_handshake_timeout,
        shutdown_timeout,
        watch,
        danger_any_host,
    } = new;
    vec![
        ("server.name", *name != running.name),
        ("server.http", *http != running.http),
        ("server.https", *https != running.https),
        ("server.metrics", *metrics != running.metrics),
        ("server.unix_socket", *unix_socket != running.unix_socket),
        ("server.admin", *admin != running.admin),
        ("server.trusted_proxies", *trusted_proxies != running.trusted_proxies),
        ("server.max_connections", *max_connections != running.max_connections),
        ("server.max_header_bytes", *max_header_bytes != running.max_header_bytes),
        ("server.max_headers", *max_headers != running.max_headers),
        ("server.header_timeout", *header_timeout != running.header_timeout),
        ("server.request_timeout", *request_timeout != running.request_timeout),
        ("server.idle_timeout", *idle_timeout != running.idle_timeout),
        ("server.tls_handshake_timeout", *tls_handshake_timeout != running.tls_handshake_timeout),
        ("server.shutdown_timeout", *shutdown_timeout != running.shutdown_timeout),
        ("server.watch", *watch != running.watch),
        ("server.danger_any_host", *danger_any_host != running.danger_any_host),
    ]
}

fn docker(new: Option<&Docker>, running: Option<&Docker>) -> Vec<(&'static str, bool)> {
    match (new, running) {
        (Some(Docker { endpoint, domains, grace }), Some(running)) => vec![
            ("docker.endpoint", *endpoint != running.endpoint),
            ("docker.domains", *domains != running.domains),
            ("docker.grace", *grace != running.grace),
        ],
        (new, running) => vec![("docker.endpoint", new.is_some() != running.is_some())],
    }
}

fn session(new: &Session, running: &Session) -> Vec<(&'static str, bool)> {
    let Session { store, lifetime, idle_timeout, max_sessions, sign_out_everywhere, secret, revalidation } = new;
    let (kind, directory, redis) = match (store, &running.store) {
        (Store::Memory, Store::Memory) => (false, false, false),
        (Store::File(new), Store::File(running)) => (false, new != running, false),
        (Store::Redis(new), Store::Redis(running)) => (false, false, !same_redis(new, running)),
        (Store::Memory | Store::File(_) | Store::Redis(_), _) => (true, false, false),
    };
    vec![
        ("session.store", kind),
        ("session.directory", directory),
        ("session.redis", redis),
        ("session.lifetime", *lifetime != running.lifetime),
        ("session.idle_timeout", *idle_timeout != running.idle_timeout),
        ("session.max_sessions", *max_sessions != running.max_sessions),
        ("session.sign_out_everywhere", *sign_out_everywhere != running.sign_out_everywhere),
        ("session.secret", exposed(secret.as_ref()) != exposed(running.secret.as_ref())),
        ("session.revalidation", *revalidation != running.revalidation),
    ]
}

fn log(new: &Log, running: &Log) -> Vec<(&'static str, bool)> {
    let Log { format, level, routine_checks } = new;
    vec![
        ("log.format", *format != running.format),
        ("log.level", *level != running.level),
        ("log.routine_checks", *routine_checks != running.routine_checks),
    ]
}

fn same_redis(new: &RedisSettings, running: &RedisSettings) -> bool {
    let RedisSettings { addresses, mode, tls, ca_file, username, password, database, prefix, timeout, staleness } = new;
    let same_mode = match (mode, &running.mode) {
        (RedisMode::Single, RedisMode::Single) | (RedisMode::Cluster, RedisMode::Cluster) => true,
        (
            RedisMode::Sentinel { master, username, password },
            RedisMode::Sentinel { master: its_master, username: its_username, password: its_password },
        ) => {
            master == its_master
                && username == its_username
                && exposed(password.as_ref()) == exposed(its_password.as_ref())
        }
        (RedisMode::Single | RedisMode::Sentinel { .. } | RedisMode::Cluster, _) => false,
    };
    same_mode
        && *addresses == running.addresses
        && *tls == running.tls
        && *ca_file == running.ca_file
        && *username == running.username
        && exposed(password.as_ref()) == exposed(running.password.as_ref())
        && *database == running.database
        && *prefix == running.prefix
        && *timeout == running.timeout
        && *staleness == running.staleness
}

fn exposed(secret: Option<&SecretString>) -> Option<&str> {
    secret.map(ExposeSecret::expose_secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str = "issuer = \"https://id.example.com\"\nclient_id = \"proxy\"\nclient_secret = \"s\"\n\
                        external_host = \"https://app.example.com\"\n";

    #[track_caller]
    fn check(running: &str, new: &str, expected: &[&str]) {
        let settings = |text: &str| Settings::from_toml(&format!("{BASE}{text}")).unwrap();
        assert_eq!(settings(new).needs_restart(&settings(running)), expected, "{running} → {new}");
    }

    #[test]
    fn sections_that_are_fixed_at_the_start_are_named() {
        check("", "", &[]);
        check("cookie_domain = \"example.com\"", "", &[]);
        check("", "[server]\nhttp = \"127.0.0.1:1\"\nname = \"x\"", &["server.name", "server.http"]);
        check("", "[server]\ntrusted_proxies = [\"192.0.2.1\"]", &["server.trusted_proxies"]);
        let docker =
            |more: &str| format!("[docker]\nendpoint = \"unix:///a\"\ndomains = [\"apps.example.com\"]\n{more}");
        check("", &docker(""), &["docker.endpoint"]);
        check(&docker(""), "", &["docker.endpoint"]);
        check(&docker("grace = \"1m\""), &docker(""), &["docker.grace"]);
        check("", "[log]\nformat = \"json\"\nlevel = \"debug\"", &["log.format", "log.level"]);
        let file = "[session]\nstore = \"file\"\ndirectory = \"/a\"\nlifetime = \"1h\"";
        // The admin socket lies in the directory unless `server.admin` says otherwise.
        check("", file, &["server.admin", "session.store", "session.lifetime"]);
        check(file, &file.replace("/a", "/b"), &["server.admin", "session.directory"]);
        let secret = |digit: &str| format!("[session]\nstore = \"memory\"\nsecret = \"{}\"", digit.repeat(32));
        check(&secret("1"), &secret("2"), &["session.secret"]);
        check(&secret("1"), &secret("1"), &[]);
        let redis = |password: &str| {
            let secret = "1".repeat(32);
            format!(
                "[session]\nstore = \"redis\"\nsecret = \"{secret}\"\n[session.redis]\nurl = \"redis://:{password}@127.0.0.1\""
            )
        };
        check(&redis("a"), &redis("b"), &["session.redis"]);
        check(&redis("a"), &redis("a"), &[]);
    }
}
