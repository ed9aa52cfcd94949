//! `[session.redis]`.

use std::time::Duration;

use percent_encoding::percent_decode_str;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::address::{authority, check_port};
use super::mistakes::{Complaint, complaint, shown};
use super::reader::Table;
use super::session::secret;
use crate::host::Host;
use crate::session::{RedisAddress, RedisMode, RedisSettings};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Single,
    Sentinel,
    Cluster,
}

/// The settings in one URL.
struct Parsed {
    kind: Kind,
    tls: bool,
    address: RedisAddress,
    username: Option<String>,
    password: Option<String>,
    database: Option<u16>,
    master: Option<String>,
}

/// Reads the table; `None` if it has no address, which is a mistake only if the table is `wanted`.
pub(super) fn read(mut table: Table<'_>, wanted: bool) -> Option<RedisSettings> {
    let second = Duration::from_secs(1);
    let (key, urls) = urls(&mut table);
    if wanted {
        table.missing(key, "the address of the server: redis://host:6379, or rediss://… for TLS");
    }
    let kinds = [("single", Some(Kind::Single)), ("sentinel", Some(Kind::Sentinel)), ("cluster", Some(Kind::Cluster))];
    let kind = table.choice("mode", None, &kinds);
    let master = table.text("master");
    let ca_file = table.ca_file();
    let username = table.text("username");
    let password = secret(&mut table, "password", "password_file");
    let sentinel_username = table.text("sentinel_username");
    let sentinel_password = secret(&mut table, "sentinel_password", "sentinel_password_file");
    let prefix = table.read("prefix", |item| prefix(item.text()?)).unwrap_or_else(|| "forepost:".to_owned());
    let timeout = table.duration("timeout", second, second / 10..=second * 30);
    let staleness = table.duration("staleness", second * 10, second..=second * 300);

    let agreed = Agreed { table: &table, key, urls: &urls };
    let tls = agreed.on("TLS", |url| Some(url.tls)).unwrap_or_default();
    let spelled = agreed.on("what they are", |url| Some(url.kind).filter(|kind| *kind != Kind::Single));
    let url_username = agreed.on("the user", |url| url.username.clone());
    let url_password = agreed.on("the password", |url| url.password.clone());
    let database = agreed.on("the database", |url| url.database).unwrap_or_default();
    let url_master = agreed.on("the master", |url| url.master.clone());
    let wrong = |key: &str, problem: &str, hint: &str| table.wrong(key, complaint(problem, hint));
    if password.is_some() && url_password.is_some() {
        wrong("password", "a secret given twice, with the address", "remove it from one of the two");
    }
    if let (Some(kind), Some(spelled)) = (kind, spelled)
        && kind != spelled
    {
        wrong("mode", "is not what the scheme of the address says", "remove one of the two");
    }
    let kind = kind.or(spelled).unwrap_or(Kind::Single);
    if kind == Kind::Single && urls.len() > 1 {
        wrong(key, "more than one address for a single server", "mode = \"sentinel\" or mode = \"cluster\"");
    }
    if kind == Kind::Cluster && database != 0 {
        wrong(key, "a cluster has no database but 0", "remove the number from the address");
    }
    let has_password = table.was_given("password") || table.was_given("password_file") || url_password.is_some();
    if username.is_some() && !has_password {
        wrong("username", "has no password", "give password or password_file");
    }
    let master = master.or(url_master);
    if kind == Kind::Sentinel && !urls.is_empty() && master.is_none() {
        table.missing("master", "what the Sentinels call it, as in \"mymaster\"");
    }
    table.finish();

    let addresses: Vec<_> = urls.into_iter().map(|url| url.address).collect();
    let mode = match kind {
        Kind::Single => RedisMode::Single,
        Kind::Cluster => RedisMode::Cluster,
        Kind::Sentinel => {
            RedisMode::Sentinel { master: master?, username: sentinel_username, password: sentinel_password }
        }
    };
    (!addresses.is_empty()).then(|| RedisSettings {
        addresses,
        mode,
        tls,
        ca_file,
        username: username.or(url_username),
        password: password.or(url_password.map(SecretString::from)),
        database,
        prefix,
        timeout,
        staleness,
    })
}

/// Takes all addresses, and the key that they are under.
fn urls(table: &mut Table<'_>) -> (&'static str, Vec<Parsed>) {
    // A URL can contain a password.
    let one = secret(table, "url", "url_file");
    let several = table.each("urls", &[',', ' '], |item| parse(item.text()?));
    let key = ["urls", "url_file"].into_iter().find(|key| table.was_given(key) && !table.was_given("url"));
    let key = key.unwrap_or("url");
    if one.is_some() && several.is_some() {
        table.wrong(key, complaint("is given beside urls", "put all addresses into urls"));
    }
    let one =
        one.and_then(|url| parse(url.expose_secret().trim()).map_err(|complaint| table.wrong(key, complaint)).ok());
    (key, one.into_iter().chain(several.unwrap_or_default()).collect())
}

/// Parses one URL. The complaint does not show the URL, which may contain a password.
fn parse(text: &str) -> Result<Parsed, Complaint> {
    let wrong = |problem: &str| complaint(problem, "write it like redis://host:6379/0, or rediss://… for TLS");
    let url = Url::parse(text).map_err(|_| wrong("is not an address of a Redis"))?;
    let (tls, kind) = match url.scheme() {
        "redis" => (false, Kind::Single),
        "rediss" => (true, Kind::Single),
        "redis+sentinel" => (false, Kind::Sentinel),
        "rediss+sentinel" => (true, Kind::Sentinel),
        "redis+cluster" => (false, Kind::Cluster),
        "rediss+cluster" => (true, Kind::Cluster),
        _ => return Err(wrong("has another scheme than redis, rediss, redis+sentinel or redis+cluster")),
    };
    let host = url.host_str().and_then(|host| Host::parse(host).ok()).ok_or_else(|| wrong("names no host"))?;
    check_port(authority(text), url.port()).map_err(|hint| complaint("has an unusable port", hint))?;
    if url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("has a query or a fragment"));
    }
    let decoded = |text: &str| {
        let text = percent_decode_str(text).decode_utf8().map_err(|_| wrong("is not UTF-8"))?;
        Ok(Some(text.into_owned()).filter(|text| !text.is_empty()))
    };
    let mut path = url.path().split('/').filter(|part| !part.is_empty());
    let master = if kind == Kind::Sentinel { path.next().map(decoded).transpose()?.flatten() } else { None };
    let database =
        path.next().map(|number| number.parse().map_err(|_| wrong("has a path that is not a database's number")));
    if path.next().is_some() {
        return Err(wrong("has too long a path"));
    }
    let default_port = if kind == Kind::Sentinel { 26_379 } else { 6379 };
    let host = host.as_str().trim_start_matches('[').trim_end_matches(']').to_owned();
    Ok(Parsed {
        kind,
        tls,
        address: RedisAddress { host, port: url.port().unwrap_or(default_port) },
        username: decoded(url.username())?,
        password: url.password().map(decoded).transpose()?.flatten(),
        database: database.transpose()?,
        master,
    })
}

/// Checks that a prefix has plain characters only: braces choose the slot in a Cluster, and some characters have a meaning in
/// patterns.
fn prefix(text: &str) -> Result<String, Complaint> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b":._-/".contains(&byte);
    if text.bytes().all(is_plain) && text.len() <= 100 {
        return Ok(text.to_owned());
    }
    Err(complaint(format!("{} is not a usable prefix", shown(text)), "letters, digits and : . _ - / make one"))
}

/// The settings of several URLs together.
struct Agreed<'a, 'r> {
    table: &'a Table<'r>,
    key: &'static str,
    urls: &'a [Parsed],
}

impl Agreed<'_, '_> {
    /// The value that all URLs with a value agree on.
    fn on<T: PartialEq>(&self, what: &str, of: impl Fn(&Parsed) -> Option<T>) -> Option<T> {
        let mut said = self.urls.iter().filter_map(of);
        let first = said.next()?;
        if said.any(|other| other != first) {
            let problem = format!("the addresses do not agree on {what}");
            self.table.wrong(self.key, complaint(problem, "they belong to one Redis: write it the same in each"));
        }
        Some(first)
    }
}
