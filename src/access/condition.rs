//! The conditions of a rule.

use std::borrow::Cow;

use http::Method;

use super::Rule;
use super::expression::RequestFields;
use super::policy::Context;
use crate::host::{Host, Scheme};

/// Whether a condition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holds {
    Yes,
    No,
    /// It is not known.
    Unknown,
}

/// The host and the path of the request in one reading; `None` if not known.
#[derive(Clone, Copy)]
pub(super) struct Seen<'s> {
    pub(super) host: Option<&'s Host<'s>>,
    pub(super) path: Option<&'s str>,
}

impl Rule {
    /// Whether all conditions hold; sets `unmet` to one that does not.
    pub(super) fn holds(&self, context: &Context<'_>, seen: Seen<'_>, unmet: &mut Option<Cow<'static, str>>) -> Holds {
        let original = context.original;
        let mut whole = Holds::Yes;
        let mut note = |holds: Holds, name: &dyn Fn() -> Cow<'static, str>| {
            if holds != Holds::Yes && whole == Holds::Yes {
                *unmet = Some(name());
            }
            if holds == Holds::No && whole == Holds::Unknown {
                *unmet = Some(name());
            }
            whole = match (whole, holds) {
                (Holds::No, _) | (_, Holds::No) => Holds::No,
                (Holds::Unknown, _) | (_, Holds::Unknown) => Holds::Unknown,
                (Holds::Yes, Holds::Yes) => Holds::Yes,
            };
            whole != Holds::No
        };
        let go_on = note(any(&self.hosts, seen.host, |pattern, host| pattern.matches(host)), &|| "hosts".into())
            && note(self.holds_for_method(original.method.as_ref()), &|| "methods".into())
            && note(any(&self.networks, context.client, |net, client| net.contains(client)), &|| "networks".into())
            && note(any(&self.paths, seen.path, |pattern, path| pattern.matches(path)), &|| "paths".into());
        if go_on && let Some(when) = &self.when {
            let asked = RequestFields {
                host: seen.host.map(Host::as_str),
                path: seen.path,
                method: original.method.as_ref().map(http::Method::as_str),
                client: context.client,
                scheme: original.scheme.map(Scheme::as_str),
            };
            let (holds, why) = match when.holds(&asked, context.user, context.unverified_email, context.now) {
                Ok(true) => (Holds::Yes, String::new()),
                Ok(false) => (Holds::No, String::new()),
                Err(why) => (Holds::Unknown, why),
            };
            note(holds, &|| if why.is_empty() { "when".into() } else { format!("when: {why}").into() });
        }
        whole
    }

    /// Servers handle HEAD like GET (RFC 9110 §9.3.2), so a rule for GET may be for a HEAD request.
    fn holds_for_method(&self, method: Option<&Method>) -> Holds {
        match any(&self.methods, method, |one, method| one == *method) {
            Holds::No if method == Some(&Method::HEAD) && self.methods.contains(&Method::GET) => Holds::Unknown,
            holds => holds,
        }
    }
}

/// Whether one of `wanted` fits. An empty list fits; with an unknown value the result is not known.
fn any<W, K>(wanted: &[W], known: Option<K>, fits: impl Fn(&W, &K) -> bool) -> Holds {
    match known {
        _ if wanted.is_empty() => Holds::Yes,
        None => Holds::Unknown,
        Some(known) if wanted.iter().any(|it| fits(it, &known)) => Holds::Yes,
        Some(_) => Holds::No,
    }
}
