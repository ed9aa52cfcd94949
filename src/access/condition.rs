//! Whether a rule is for a request.

use std::borrow::Cow;

use http::Method;

use super::Rule;
use super::expression::Asked;
use super::policy::Question;
use crate::host::{Host, Scheme};

/// Whether something holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holds {
    Yes,
    No,
    /// Nobody knows.
    Perhaps,
}

/// What one reading knows of the request; `None` is not known.
#[derive(Clone, Copy)]
pub(super) struct Seen<'s> {
    pub(super) host: Option<&'s Host<'s>>,
    pub(super) path: Option<&'s str>,
}

impl Rule {
    /// Whether all its conditions hold; `unmet` names one that does not.
    pub(super) fn holds(
        &self,
        question: &Question<'_>,
        seen: Seen<'_>,
        unmet: &mut Option<Cow<'static, str>>,
    ) -> Holds {
        let original = question.original;
        let mut whole = Holds::Yes;
        let mut note = |holds: Holds, name: &dyn Fn() -> Cow<'static, str>| {
            if holds != Holds::Yes && whole == Holds::Yes {
                *unmet = Some(name());
            }
            if holds == Holds::No && whole == Holds::Perhaps {
                *unmet = Some(name());
            }
            whole = match (whole, holds) {
                (Holds::No, _) | (_, Holds::No) => Holds::No,
                (Holds::Perhaps, _) | (_, Holds::Perhaps) => Holds::Perhaps,
                (Holds::Yes, Holds::Yes) => Holds::Yes,
            };
            whole != Holds::No
        };
        let go_on = note(any(&self.hosts, seen.host, |pattern, host| pattern.matches(host)), &|| "hosts".into())
            && note(self.holds_for_method(original.method.as_ref()), &|| "methods".into())
            && note(any(&self.networks, question.client, |net, client| net.contains(client)), &|| "networks".into())
            && note(any(&self.paths, seen.path, |pattern, path| pattern.matches(path)), &|| "paths".into());
        if go_on && let Some(when) = &self.when {
            let asked = Asked {
                host: seen.host.map(Host::as_str),
                path: seen.path,
                method: original.method.as_ref().map(http::Method::as_str),
                client: question.client,
                scheme: original.scheme.map(Scheme::as_str),
            };
            let (holds, why) = match when.holds(&asked, question.user, question.unverified_email, question.now) {
                Ok(true) => (Holds::Yes, String::new()),
                Ok(false) => (Holds::No, String::new()),
                Err(why) => (Holds::Perhaps, why),
            };
            note(holds, &|| if why.is_empty() { "when".into() } else { format!("when: {why}").into() });
        }
        whole
    }

    /// Servers answer HEAD by what they have for GET (RFC 9110 §9.3.2), so a rule for GET alone may be for it.
    fn holds_for_method(&self, method: Option<&Method>) -> Holds {
        match any(&self.methods, method, |one, method| one == *method) {
            Holds::No if method == Some(&Method::HEAD) && self.methods.contains(&Method::GET) => Holds::Perhaps,
            holds => holds,
        }
    }
}

/// Whether one of `wanted` fits, where any is wanted; nobody knows where nothing is known to fit.
fn any<W, K>(wanted: &[W], known: Option<K>, fits: impl Fn(&W, &K) -> bool) -> Holds {
    match known {
        _ if wanted.is_empty() => Holds::Yes,
        None => Holds::Perhaps,
        Some(known) if wanted.iter().any(|it| fits(it, &known)) => Holds::Yes,
        Some(_) => Holds::No,
    }
}
