//! Properties of every host, authority and cookie domain.

use url::Url;

use super::{Authority, CookieDomain, Host};

/// Parses the first line of `text` as each of the three, and asks the domain whether it contains the second line.
pub(crate) fn hold(text: &str) {
    let (first, second) = text.split_once('\n').unwrap_or((text, "app.example.com"));
    if let Ok(host) = Host::parse(first) {
        host_holds(&host);
        assert_eq!(Host::parse(&first.to_ascii_uppercase()).as_ref(), Ok(&host), "letter case does not count");
    }
    if let Ok(authority) = Authority::parse(first) {
        host_holds(&authority.host);
        assert_eq!(Authority::parse(&authority.to_string()), Ok(authority));
    }
    if let Ok(domain) = CookieDomain::parse(first) {
        domain_holds(&domain);
        if let Ok(host) = Host::parse(second) {
            let below = format!(".{}", domain.as_str());
            let expected = host.as_str() == domain.as_str() || host.as_str().ends_with(&below);
            assert_eq!(domain.contains(&host), expected, "{host} under {domain}");
        }
    }
}

/// The text of a host parses to the same host, and a browser reads it as the same host.
fn host_holds(host: &Host) {
    assert_eq!(Host::parse(host.as_str()).as_ref(), Ok(host));
    // Browsers refuse some labels that begin with `xn--`, so there is no such host for them.
    let Ok(url) = Url::parse(&format!("https://{host}/x")) else { return };
    assert_eq!(url.host_str().map(Host::parse), Some(Ok(host.clone())), "{host} is another host to browsers");
    let address = matches!(url.host(), Some(url::Host::Ipv4(_) | url::Host::Ipv6(_)));
    assert_eq!(host.is_address(), address, "{host}");
    assert_eq!((url.path(), url.port(), url.username()), ("/x", None, ""), "{host}");
}

fn domain_holds(domain: &CookieDomain) {
    assert_eq!(CookieDomain::parse(domain.as_str()).as_ref(), Ok(domain));
    assert_eq!(CookieDomain::parse(&format!(".{domain}")).as_ref(), Ok(domain));
    let itself = Host::parse(domain.as_str()).expect("a domain is a host");
    assert!(domain.contains(&itself) && !itself.is_address());
    let above = domain.as_str().split_once('.').map(|(_, above)| above);
    let above = above.and_then(|above| Host::parse(above).ok()).expect("a domain has two labels at least");
    assert!(!domain.contains(&above), "{domain} contains {above}");
    assert!(psl::domain_str(domain.as_str()).is_some(), "strangers share {domain}");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn of_any_text(text in ".{0,80}(\n.{0,80})?") {
            super::hold(&text);
        }

        #[test]
        fn of_texts_like_hosts(
            text in "\\.?([a-cA-C_-]|xn--|0x|[0-9]|\\.|com|co\\.uk){1,16}(:[0-9]{0,6})?(\n([a-c]|\\.|com|co\\.uk){1,8})?",
        ) {
            super::hold(&text);
        }

        #[test]
        fn of_texts_like_addresses(
            text in "\\[?[0-9a-fA-F:.]{1,40}\\]?(:[0-9]{1,5})?|(0?[0-9x]{1,3}\\.){0,4}(0[xX])?[0-9a-f]{0,4}\\.?",
        ) {
            super::hold(&text);
        }
    }
}
