//! Parses addresses: issuers, external hosts, origins.

use url::Url;

use super::mistakes::{Complaint, complaint, shown};
use crate::app::ExternalHost;
use crate::app::OUTPOST_PATH;
use crate::host::{AbsoluteUrl, Host, Scheme};

/// Parses an absolute http(s) URL. Rejects what a parser would silently repair, and a URL that contains a password.
fn web_url(text: &str) -> Result<Url, Complaint> {
    let no_url = |hint: &str| complaint(format!("{} is not a web address", shown(text)), hint);
    if text.contains(|c: char| c.is_whitespace() || c.is_control() || c == '\\') {
        return Err(no_url("remove the blanks and backslashes"));
    }
    let lower = text.to_ascii_lowercase();
    if !lower.starts_with("https://") && !lower.starts_with("http://") {
        return Err(no_url("begin it with https://"));
    }
    if authority(text).is_empty() {
        return Err(no_url("it names no host behind the two slashes: write it like https://app.example.com"));
    }
    let url = Url::parse(text).map_err(|error| no_url(&error.to_string()))?;
    if !url.username().is_empty() || url.password().is_some() || authority(text).contains('@') {
        return Err(no_url("remove the user name and password"));
    }
    check_port(authority(text), url.port()).map_err(no_url)?;
    check_host(authority(text), &url).map_err(|hint| no_url(&hint))?;
    if path(text).split('/').any(|segment| is_dots(&segment.to_ascii_lowercase().replace("%2e", "."))) {
        return Err(no_url("it has dot segments: write where they lead to"));
    }
    Ok(url)
}

/// The authority: the text between `//` and the next slash.
pub(super) fn authority(text: &str) -> &str {
    AbsoluteUrl::split(text).map_or("", |url| url.authority)
}

/// The path: the text after the authority, without query and fragment.
fn path(text: &str) -> &str {
    AbsoluteUrl::split(text).map_or("", |url| url.path())
}

fn is_dots(segment: &str) -> bool {
    segment == "." || segment == ".."
}

/// Rejects port 0, which no client can reach, and a colon without a port.
pub(super) fn check_port(authority: &str, port: Option<u16>) -> Result<(), &'static str> {
    match port {
        Some(0) => Err("no server is reached at port 0: give its port, or leave the port out"),
        _ if authority.ends_with(':') => Err("write the port behind the colon, or remove the colon"),
        _ => Ok(()),
    }
}

/// Checks that the text names the host of `url` as it is, except for capitals and international names. Browsers read `127.1` and
/// `ex%61mple.com` as other hosts.
fn check_host(authority: &str, url: &Url) -> Result<(), String> {
    let written =
        if authority.ends_with(']') { authority } else { authority.rsplit_once(':').map_or(authority, |it| it.0) };
    let host = host_of(url).ok_or("it names no host")?;
    if written.is_ascii() && Host::parse(written).ok().as_ref() != Some(&host) {
        return Err(format!("write the host as browsers read it: {host}"));
    }
    if ["http", "https"].contains(&host.as_str()) {
        return Err(format!("its host is \"{host}\": write it like https://app.example.com"));
    }
    Ok(())
}

/// Whether the host of a URL is this machine under every reading (RFC 6761 §6.3 for names).
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => {
            let name = name.strip_suffix('.').unwrap_or(name);
            name == "localhost" || name.ends_with(".localhost")
        }
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// Parses an issuer identifier (OIDC Core §16.15). Keeps its text unchanged, because issuers are compared by character.
pub(super) fn issuer(text: &str, danger_http: bool) -> Result<String, Complaint> {
    let url = web_url(text)?;
    if url.scheme() == "http" && !danger_http && !is_loopback(&url) {
        return Err(complaint(
            format!("{} is cleartext: who sits in between can log in as anybody", shown(text)),
            "use https; in a network that you trust whole, danger_http_issuer = true",
        ));
    }
    if text.contains(['?', '#']) {
        return Err(complaint(
            format!("{} has a query or fragment, which no issuer has", shown(text)),
            "remove what follows the path",
        ));
    }
    if let Some(at) = text.find("/.well-known/") {
        return Err(complaint(
            format!("{} is the discovery document, not the issuer", shown(text)),
            format!(
                "give the value of \"issuer\" in that document, often {} with or without a slash at the end",
                shown(&text[..at])
            ),
        ));
    }
    Ok(text.to_owned())
}

/// Parses `https://app.example.com[:port][/path]`, or a host alone, for which the scheme is https.
pub(super) fn external_host(text: &str) -> Result<ExternalHost, Complaint> {
    let lower = text.to_ascii_lowercase();
    if !text.contains("://") && ["https:", "http:"].iter().any(|scheme| lower.starts_with(scheme)) {
        return Err(complaint(
            format!("{} is not a web address", shown(text)),
            "write two slashes behind the scheme: https://app.example.com",
        ));
    }
    let full = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
    if authority(&full).contains('*') {
        return Err(complaint(
            format!("{} is a pattern", shown(text)),
            "give one host, and cookie_domain for all hosts of a domain",
        ));
    }
    let url = web_url(&full)?;
    if full.contains(['?', '#']) {
        return Err(complaint(format!("{} has a query or fragment", shown(text)), "give scheme, host and path only"));
    }
    let scheme = match url.scheme() {
        "http" => Scheme::Http,
        _ => Scheme::Https,
    };
    let host = host_of(&url)
        .ok_or_else(|| complaint(format!("{} names no host", shown(text)), "write it like https://app.example.com"))?;
    let path = path(&full);
    if !path.is_empty() {
        plain_path(path)?;
    }
    if path.split('/').any(|segment| segment == &OUTPOST_PATH[1..]) {
        return Err(complaint(
            format!("{} lies within forepost's own path", shown(text)),
            "give the address of the application, as browsers know it",
        ));
    }
    let base_path = path.strip_suffix('/').unwrap_or(path);
    Ok(ExternalHost { scheme, host, port: url.port(), base_path: base_path.to_owned() })
}

fn host_of(url: &Url) -> Option<Host<'static>> {
    Host::parse(url.host_str()?).ok().map(Host::into_owned)
}

/// Parses a host without port, as rules name it.
pub(super) fn host(text: &str) -> Result<Host<'static>, Complaint> {
    Host::parse(text).map(Host::into_owned).map_err(|_| {
        complaint(
            format!("{} is not a host", shown(text)),
            "give a name without scheme, port or path; international names in their xn-- form",
        )
    })
}

/// Checks a path that is compared with the raw path and with the decoded path of a request.
pub(super) fn plain_path(text: &str) -> Result<(), Complaint> {
    let wrong = |why: &str, hint: &str| complaint(format!("{} {why}", shown(text)), hint);
    if !text.starts_with('/') {
        return Err(wrong("is not a path", "begin it with /"));
    }
    if text.contains(['?', '#']) {
        return Err(wrong("has a query or fragment", "only the path is looked at: remove what follows"));
    }
    if text.split('/').any(is_dots) {
        return Err(wrong("has dot segments", "write where it leads to"));
    }
    if text.split('/').any(|segment| segment.ends_with('.')) {
        return Err(wrong(
            "can never match",
            "a name without the dots at its end is another reading of the path: remove them",
        ));
    }
    if text.contains("//") {
        return Err(wrong("has an empty segment", "write one slash"));
    }
    if text.contains(['%', '\\', ';']) || !text.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(wrong(
            "can never match",
            "blanks, % \\ ; and what is not ASCII look different in other readings of a path",
        ));
    }
    Ok(())
}

/// Parses an origin as browsers write it (RFC 6454 §6.2).
pub(super) fn origin(text: &str) -> Result<String, Complaint> {
    if text.contains('*') || text == "null" {
        return Err(complaint(
            format!("{} stands for pages of strangers", shown(text)),
            "name each origin: https://app.example.com",
        ));
    }
    let url = web_url(text)?;
    let exact = url.origin().ascii_serialization();
    if exact != text {
        return Err(complaint(
            format!("{} is not written as browsers do", shown(text)),
            format!("write {}", shown(&exact)),
        ));
    }
    Ok(exact)
}

/// Parses an address that browsers are sent to. Keeps its text unchanged, because providers compare it by character.
pub(super) fn target(text: &str) -> Result<String, Complaint> {
    web_url(text).map(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_issuer(text: &str, danger: bool, expected: Result<&str, &str>) {
        match (issuer(text, danger), expected) {
            (Ok(got), Ok(expected)) => assert_eq!(got, expected),
            (Err(Complaint { problem, hint }), Err(expected)) => {
                let got = format!("{problem}; {hint}");
                assert!(got.contains(expected), "{got}");
            }
            (got, _) => panic!("{text}: {got:?}"),
        }
    }

    #[test]
    fn issuers() {
        for text in [
            "https://id.example.com",
            "https://id.example.com/application/o/app/",
            "https://id.example.com:8443/realms/a",
            "http://localhost:8080/",
            "http://idp.localhost",
            "http://127.0.0.1:9091",
            "http://127.8.0.1",
            "http://[::1]:9091",
        ] {
            check_issuer(text, false, Ok(text));
        }
        check_issuer("http://keycloak:8080", true, Ok("http://keycloak:8080"));
        check_issuer("http://keycloak:8080", false, Err("danger_http_issuer"));
        check_issuer("http://localhost.example.com", false, Err("cleartext"));
        check_issuer("http://127.0.0.1.example.com", false, Err("cleartext"));
        check_issuer("https://id.example.com/?a=b", false, Err("query or fragment"));
        check_issuer("https://id.example.com/#", false, Err("query or fragment"));
        check_issuer(
            "https://id.example.com/.well-known/openid-configuration",
            false,
            Err("often \"https://id.example.com\""),
        );
        check_issuer("https://me:pw@id.example.com", false, Err("user name"));
        check_issuer("https://@id.example.com", false, Err("user name"));
        check_issuer("id.example.com", false, Err("https://"));
        check_issuer("ftp://id.example.com", false, Err("https://"));
        check_issuer(" https://id.example.com", false, Err("blanks"));
        check_issuer("https://", false, Err("names no host"));
        check_issuer("https:///", false, Err("names no host"));
        check_issuer("https:///id.example.com", false, Err("names no host"));
        check_issuer("https:////id.example.com", false, Err("names no host"));
        check_issuer("https:/id.example.com", false, Err("begin it with https://"));
        check_issuer("https://https://id.example.com", false, Err("colon"));
        check_issuer("https://https//id.example.com", false, Err("its host is \"https\""));
        check_issuer("https://id.example.com:0", false, Err("port 0"));
        check_issuer("https://id.example.com:/", false, Err("colon"));
        check_issuer("https://127.1", false, Err("as browsers read it: 127.0.0.1"));
        check_issuer("https://id%2eexample.com", false, Err("as browsers read it: id.example.com"));
        check_issuer("https://id.example.com/a/../b", false, Err("dot segments"));
        check_issuer("https://id.example.com/a/%2e%2E/b", false, Err("dot segments"));
    }

    #[track_caller]
    fn check_host(text: &str, expected: Result<&str, &str>) {
        match (external_host(text), expected) {
            (Ok(got), Ok(expected)) => assert_eq!(got.url(), expected, "{text}"),
            (Err(Complaint { problem, hint }), Err(expected)) => {
                let got = format!("{problem}; {hint}");
                assert!(got.contains(expected), "{got}");
            }
            (got, _) => panic!("{text}: {got:?}"),
        }
    }

    #[test]
    fn external_hosts() {
        check_host("https://App.Example.com", Ok("https://app.example.com/"));
        check_host("https://app.example.com:443/", Ok("https://app.example.com/"));
        check_host("http://app.localhost:80", Ok("http://app.localhost/"));
        check_host("https://app.example.com:8443", Ok("https://app.example.com:8443/"));
        check_host("app.example.com", Ok("https://app.example.com/"));
        check_host("app.example.com:8443/x", Ok("https://app.example.com:8443/x/"));
        check_host("https://example.com/grafana/", Ok("https://example.com/grafana/"));
        check_host("https://bücher.example", Ok("https://xn--bcher-kva.example/"));
        check_host("https://10.0.0.1:9000", Ok("https://10.0.0.1:9000/"));
        check_host("https://[::1]:9000", Ok("https://[::1]:9000/"));
        check_host("https://*.example.com", Err("cookie_domain"));
        check_host("ftp://app.example.com", Err("begin it with https://"));
        check_host("https://me@app.example.com", Err("user name"));
        check_host("me:pw@app.example.com", Err("user name"));
        check_host("https://app.example.com?x", Err("query"));
        check_host("https://app.example.com/#x", Err("query"));
        check_host("https://app.example.com/a/../b", Err("dot segments"));
        check_host("https://app.example.com//", Err("empty segment"));
        check_host("https://app.example.com/a//b", Err("empty segment"));
        check_host("https://app.example.com/a%2fb", Err("can never match"));
        check_host("https://app.example.com\\b", Err("backslashes"));
        check_host("https://", Err("not a web address"));
        check_host("https:/app.example.com", Err("two slashes behind the scheme"));
        check_host("HTTP:/app.example.com", Err("two slashes behind the scheme"));
        check_host("https:app.example.com", Err("two slashes behind the scheme"));
        check_host("https:", Err("two slashes behind the scheme"));
        check_host("https:///app.example.com", Err("names no host"));
        check_host("//app.example.com", Err("names no host"));
        check_host("/app", Err("names no host"));
        check_host("https", Err("its host is \"https\""));
        check_host("https://app.example.com:0", Err("port 0"));
        check_host("app.example.com:0", Err("port 0"));
        check_host("app.example.com:", Err("colon"));
        check_host("https://app.example.com:/x", Err("colon"));
        check_host("https://app.example.com:65536", Err("not a web address"));
        check_host("https://127.1", Err("as browsers read it: 127.0.0.1"));
        check_host("https://0x7f000001", Err("as browsers read it: 127.0.0.1"));
        check_host("https://ex%61mple.com", Err("as browsers read it: example.com"));
        check_host("https://a..b", Err("names no host"));
        check_host("https://app.example.com./", Ok("https://app.example.com/"));
        check_host("https://app.example.com/outpost.goauthentik.io", Err("forepost's own path"));
        check_host("https://app.example.com/outpost.goauthentik.io/x", Err("forepost's own path"));
        check_host("https://app.example.com/sub/outpost.goauthentik.io/", Err("forepost's own path"));
        check_host(
            "https://app.example.com/outpost.goauthentik.iox",
            Ok("https://app.example.com/outpost.goauthentik.iox/"),
        );
        check_host("https://app.example.com/v1./x", Err("can never match"));
        check_host("https://a b", Err("not a web address"));
    }

    #[test]
    fn origins() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(origin(text).ok().as_deref(), expected, "{text}");
        };
        check("https://app.example.com", Some("https://app.example.com"));
        check("http://localhost:3000", Some("http://localhost:3000"));
        for text in [
            "*",
            "null",
            "https://*.example.com",
            "https://app.example.com/",
            "https://App.example.com",
            "https://app.example.com:443",
            "app.example.com",
            "chrome-extension://abc",
            "https:///app.example.com",
            "https://app.example.com:0",
        ] {
            check(text, None);
        }
    }
}
