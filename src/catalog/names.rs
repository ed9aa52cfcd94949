//! What no two applications may have: slugs, hosts and cookie domains.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Problem;
use crate::app::{DeclaredApplication, DeclaredHost};

/// The slugs, hosts and cookie domains that are taken.
#[derive(Default)]
pub(super) struct Names(BTreeMap<Name, Owner>);

/// Who has a name.
#[derive(Clone)]
struct Owner {
    /// The application or host.
    slug: String,
    /// Where it was declared.
    origin: Arc<str>,
}

/// A kind of name, and the name.
type Name = (Kind, String);

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Slug,
    Host,
    CookieDomain,
}

/// A name that an application, or one of its hosts, is to have.
struct Claim {
    name: Name,
    /// The key that declares it.
    key: &'static str,
    /// The slug of the application or host.
    slug: String,
}

impl Names {
    /// Checks that no earlier application has what `declared` and its hosts are to have, and that no two of them have the same.
    pub(super) fn check(&self, declared: &DeclaredApplication) -> Result<(), Problem> {
        let mut own = BTreeMap::new();
        for Claim { name, key, slug } in claims(declared) {
            let of_its_own = Owner { slug: slug.clone(), origin: "the same declaration".into() };
            let other = self.0.get(&name).cloned().or_else(|| own.insert(name.clone(), of_its_own));
            if let Some(Owner { slug: other, origin: other_origin }) = other {
                return Err(Problem::Taken { application: slug, key, value: name.1, other, other_origin });
            }
        }
        Ok(())
    }

    /// Checks that no application has what `host` is to have.
    pub(super) fn check_host(&self, host: &DeclaredHost) -> Result<(), Problem> {
        let taken = claims_of_host(host).into_iter().find_map(|claim| Some((self.0.get(&claim.name).cloned()?, claim)));
        taken.map_or(Ok(()), |(Owner { slug: other, origin: other_origin }, claim)| {
            Err(Problem::Taken { application: claim.slug, key: claim.key, value: claim.name.1, other, other_origin })
        })
    }

    /// Notes what `host` has from now on.
    pub(super) fn add_host(&mut self, host: &DeclaredHost, origin: &Arc<str>) {
        let owner = |slug| Owner { slug, origin: Arc::clone(origin) };
        self.0.extend(claims_of_host(host).into_iter().map(|claim| (claim.name, owner(claim.slug))));
    }

    /// Notes what `declared` and its hosts have from now on.
    pub(super) fn add(&mut self, declared: &DeclaredApplication, origin: &Arc<str>) {
        let owner = |slug| Owner { slug, origin: Arc::clone(origin) };
        self.0.extend(claims(declared).map(|claim| (claim.name, owner(claim.slug))));
    }
}

fn claim(kind: Kind, key: &'static str, value: String, slug: &str) -> Claim {
    Claim { name: (kind, value), key, slug: slug.to_owned() }
}

fn claims_of_host(host: &DeclaredHost) -> [Claim; 2] {
    [
        claim(Kind::Slug, "slug", host.slug.clone(), &host.slug),
        claim(Kind::Host, "host", host.host.to_string(), &host.slug),
    ]
}

fn claims(declared: &DeclaredApplication) -> impl Iterator<Item = Claim> {
    let slug = &declared.slug;
    let domain = declared.cookie_domain.as_ref();
    let own = [
        Some(claim(Kind::Slug, "slug", slug.clone(), slug)),
        Some(claim(Kind::Host, "external_host", declared.external_host.host.to_string(), slug)),
        domain.map(|domain| claim(Kind::CookieDomain, "cookie_domain", domain.to_string(), slug)),
    ];
    let hosts = declared.hosts.iter().flat_map(|host| claims_of_host(host));
    own.into_iter().flatten().chain(hosts)
}
