//! Parses the parameters of a request.

use std::collections::BTreeMap;

use url::form_urlencoded;

use crate::session::SessionOutline;

/// What is wrong with the parameters, for the operator.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadQuery {
    /// The parameter is unknown.
    #[error("{0}: is an unknown parameter; there are {1}")]
    Unknown(String, String),
    /// The value is empty or invalid.
    #[error("{0}: {1}")]
    Value(String, &'static str),
    /// There are too many or too few parameters.
    #[error("{0}")]
    Together(&'static str),
}

/// Parameters, each at most once, with a value.
struct Parameters(BTreeMap<String, String>);

impl Parameters {
    fn parse(query: &str, known: &[&str]) -> Result<Self, BadQuery> {
        let mut found = BTreeMap::new();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            if !known.contains(&&*name) {
                return Err(BadQuery::Unknown(name.into_owned(), known.join(", ")));
            }
            if value.is_empty() {
                return Err(BadQuery::Value(name.into_owned(), "is empty"));
            }
            let name = name.into_owned();
            if found.insert(name.clone(), value.into_owned()).is_some() {
                return Err(BadQuery::Value(name, "is given twice"));
            }
        }
        Ok(Self(found))
    }

    fn take(&mut self, name: &str) -> Option<String> {
        self.0.remove(name)
    }
}

/// Which sessions are shown: those that match every field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Filter {
    /// The name of the user in logs, or the `sub`.
    pub(super) user: Option<String>,
    pub(super) subject: Option<String>,
    pub(super) issuer: Option<String>,
    pub(super) application: Option<String>,
}

impl Filter {
    pub(super) fn holds_for(&self, session: &SessionOutline) -> bool {
        let is = |wanted: &Option<String>, value: &str| wanted.as_ref().is_none_or(|wanted| wanted == value);
        (is(&self.user, &session.user) || is(&self.user, &session.subject))
            && is(&self.subject, &session.subject)
            && is(&self.issuer, &session.issuer)
            && is(&self.application, &session.application)
    }
}

/// A request for one page of the sessions.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct List {
    pub(super) filter: Filter,
    /// The begin of the page.
    pub(super) at: Option<String>,
}

impl List {
    pub(super) fn parse(query: &str) -> Result<Self, BadQuery> {
        let mut parameters = Parameters::parse(query, &["user", "subject", "issuer", "application", "at"])?;
        let filter = Filter {
            user: parameters.take("user"),
            subject: parameters.take("subject"),
            issuer: parameters.take("issuer"),
            application: parameters.take("application"),
        };
        Ok(Self { filter, at: parameters.take("at") })
    }
}

/// Whose sessions to end.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Those of a user, by name or `sub`, at this provider or at all providers.
    User { user: String, issuer: Option<String> },
    /// Those of an application.
    Application(String),
    /// All sessions.
    All,
}

impl Order {
    pub(super) fn parse(query: &str) -> Result<Self, BadQuery> {
        let mut parameters = Parameters::parse(query, &["user", "issuer", "application", "all"])?;
        let issuer = parameters.take("issuer");
        let given = (parameters.take("user"), parameters.take("application"), parameters.take("all"), issuer);
        match given {
            (Some(user), None, None, issuer) => Ok(Self::User { user, issuer }),
            (None, Some(application), None, None) => Ok(Self::Application(application)),
            (None, None, Some(all), None) if all == "true" => Ok(Self::All),
            (None, None, Some(_), None) => Err(BadQuery::Value("all".to_owned(), "must be true")),
            (None, _, _, Some(_)) => Err(BadQuery::Together("issuer: goes with user")),
            (..) => Err(BadQuery::Together("give exactly one of user, application, all")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn order(query: &str, expected: Result<Order, &str>) {
        assert_eq!(Order::parse(query).map_err(|error| error.to_string()), expected.map_err(str::to_owned), "{query}");
    }

    #[test]
    fn orders() {
        let user = |user: &str, issuer| Ok(Order::User { user: user.to_owned(), issuer });
        order("user=alice", user("alice", None));
        order("user=a%26b+c%1b", user("a&b c\u{1b}", None));
        order("user=id-alice&issuer=https://idp", user("id-alice", Some("https://idp".to_owned())));
        order("application=wiki", Ok(Order::Application("wiki".to_owned())));
        order("all=true", Ok(Order::All));
        order("", Err("give exactly one of user, application, all"));
        order("user=alice&application=wiki", Err("give exactly one of user, application, all"));
        order("user=alice&all=true", Err("give exactly one of user, application, all"));
        order("all=true&issuer=x", Err("issuer: goes with user"));
        order("issuer=x", Err("issuer: goes with user"));
        order("all=yes", Err("all: must be true"));
        order("all", Err("all: is empty"));
        order("user=", Err("user: is empty"));
        order("user=a&user=b", Err("user: is given twice"));
        order("name=a", Err("name: is an unknown parameter; there are user, issuer, application, all"));
        order("user=a&at=1", Err("at: is an unknown parameter; there are user, issuer, application, all"));
    }

    #[track_caller]
    fn list(query: &str, expected: Result<List, &str>) {
        assert_eq!(List::parse(query).map_err(|error| error.to_string()), expected.map_err(str::to_owned), "{query}");
    }

    #[test]
    fn lists() {
        list("", Ok(List::default()));
        list("at=7", Ok(List { at: Some("7".to_owned()), ..List::default() }));
        let filter = Filter {
            user: Some("a".to_owned()),
            subject: Some("b".to_owned()),
            issuer: Some("c".to_owned()),
            application: Some("d".to_owned()),
        };
        list("user=a&subject=b&issuer=c&application=d", Ok(List { filter, at: None }));
        list("user", Err("user: is empty"));
        list("all=true", Err("all: is an unknown parameter; there are user, subject, issuer, application, at"));
    }
}
