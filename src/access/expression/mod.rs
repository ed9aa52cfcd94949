//! `when`: a condition in the Common Expression Language (<https://cel.dev>).
//!
//! An expression reads `identity`, `request` and `now`, and has no effects. There are limits on the length of its text, on its depth, on
//! nested loops, and on the number of elements in the lists that it reads.

mod values;
mod walk;

use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use cel::{Context, Env, Program, Value};
use chrono::DateTime;
use serde_json::Map;

use super::Email;
use super::requirement::counted_email;
use crate::identity::{Identity, PackedIdentity};
use crate::world::UnixTime;
use values::{IDENTITY, identity_of, object};
use walk::{EmailUse, Uses, Walk};

/// The longest text, in bytes.
const LONGEST: usize = 4096;
const DEEPEST: usize = 64;
/// The most signs in a row or nested; with more, the parser would need too much stack.
const MOST_SIGNS: usize = 64;
const REQUEST: [&str; 5] = ["host", "path", "method", "client", "scheme"];
static ENVIRONMENT: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(Env::stdlib()));

/// A checked expression: its variables and functions exist, its cost is bounded, and its value is true or false.
#[derive(Clone)]
pub struct Expression {
    text: Arc<str>,
    program: Arc<Program>,
    uses: Uses,
}

/// The fields of a request for an expression; `None` if not known.
#[derive(Clone, Copy, Debug)]
pub(super) struct RequestFields<'r> {
    pub(super) host: Option<&'r str>,
    pub(super) path: Option<&'r str>,
    pub(super) method: Option<&'r str>,
    pub(super) client: Option<IpAddr>,
    pub(super) scheme: Option<&'static str>,
}

impl Expression {
    /// Parses and checks an expression.
    ///
    /// # Errors
    ///
    /// A sentence about what is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text.len() > LONGEST {
            return Err(format!("it is longer than {LONGEST} bytes"));
        }
        if brackets(text) > DEEPEST || text.matches(['!', '-', '?']).count() > MOST_SIGNS {
            return Err("it nests too deep".to_owned());
        }
        let program = Program::compile(text).map_err(|error| one_line(&error.to_string()))?;
        let mut uses = Uses::default();
        Walk::new(&mut uses).expression(program.expression(), 0, 0)?;
        if uses == Uses::default() {
            return Err("it looks at neither identity nor request nor now, so it is always the same".to_owned());
        }
        let expression = Self { text: text.into(), program: Arc::new(program), uses };
        expression.try_out()?;
        Ok(expression)
    }

    /// Whether it looks at the host or the path of the request.
    #[must_use]
    pub(crate) fn looks_at_target(&self) -> bool {
        self.uses.request[0] || self.uses.request[1]
    }

    /// Whether it looks at the address of the client.
    #[must_use]
    pub(crate) fn looks_at_client(&self) -> bool {
        self.uses.request[3]
    }

    /// Whether it looks at claims beside those of the identity.
    #[must_use]
    pub(crate) fn looks_at_claims(&self) -> bool {
        self.uses.claims
    }

    /// Whether it looks at the e-mail address of the identity.
    #[must_use]
    pub(crate) fn looks_at_email(&self) -> bool {
        self.uses.email != EmailUse::Nothing
    }

    /// Whether the expression is true.
    ///
    /// `identity.email` is the address that counts for rules: one address, its domain in ASCII form, and verified, unless
    /// `unverified` addresses count; otherwise null. If the user has an address that does not count, a result that null alone gives
    /// is not known, because the address may be the user's.
    ///
    /// # Errors
    ///
    /// Why the result is not known: a field is not known, or the expression fails or is neither true nor false.
    pub(super) fn holds(
        &self,
        asked: &RequestFields<'_>,
        user: Option<&PackedIdentity>,
        unverified: bool,
        now: UnixTime,
    ) -> Result<bool, String> {
        let known = [
            asked.host.is_some(),
            asked.path.is_some(),
            asked.method.is_some(),
            asked.client.is_some(),
            asked.scheme.is_some(),
        ];
        if let Some(at) = (0..REQUEST.len()).find(|at| self.uses.request[*at] && !known[*at]) {
            return Err(format!("request.{} is not known", REQUEST[at]));
        }
        let Some(user) = user.filter(|_| self.uses.identity) else {
            return self.evaluate(asked, Value::Null, now);
        };
        let email = counted_email(user, unverified).map(|email| email.to_string());
        if user.kept().is_incomplete()
            && let Some(field) = self.unknown_field(&user.identity(), email.is_some())
        {
            return Err(format!("identity.{field} is not known: the token has no scope that lets forepost ask for it"));
        }
        let with = |email: Option<&str>| {
            let identity = identity_of(&user.identity(), email, user.claims())?;
            self.evaluate(asked, identity, now)
        };
        let holds = with(email.as_deref());
        if email.is_some() || self.uses.email != EmailUse::Text {
            return holds;
        }
        let holds = holds.map_err(|error| format!("identity.email is null: {error}"))?;
        let doubtful = user.email();
        let read = Email::parse(doubtful).map_or_else(|| doubtful.to_owned(), |email| email.to_string());
        if doubtful.is_empty() || with(Some(&read)) == Ok(holds) {
            return Ok(holds);
        }
        Err("identity.email is null: the address is not verified, or not one address".to_owned())
    }

    /// A field that the expression looks at, and that may be incomplete in this identity.
    fn unknown_field(&self, user: &Identity, has_email: bool) -> Option<&'static str> {
        let known = [true, !user.username.is_empty(), has_email, !user.name.is_empty(), !user.groups.is_empty(), false];
        let looks_at_email = self.uses.email != EmailUse::Nothing;
        let looks_at = |at: usize| self.uses.fields[at] || (IDENTITY[at] == "email" && looks_at_email);
        (0..IDENTITY.len()).find(|at| !known[*at] && looks_at(*at)).map(|at| IDENTITY[at])
    }

    fn evaluate(&self, asked: &RequestFields<'_>, identity: Value, now: UnixTime) -> Result<bool, String> {
        let mut context = Context::with_env(Arc::clone(&ENVIRONMENT));
        context.add_variable_from_value("identity", identity);
        if self.uses.request != [false; REQUEST.len()] {
            context.add_variable_from_value("request", asked.value());
        }
        if self.uses.now {
            let millis = i64::try_from(now.as_millis()).ok();
            let now = millis.and_then(DateTime::from_timestamp_millis).ok_or("the time is beyond the calendar")?;
            context.add_variable_from_value("now", Value::Timestamp(now.fixed_offset()));
        }
        match self.program.execute(&context) {
            Ok(Value::Bool(holds)) => Ok(holds),
            Ok(_) => Err("it is neither true nor false".to_owned()),
            Err(error) => Err(one_line(&error.to_string())),
        }
    }

    /// Evaluates the expression without and with a user. It is not a mistake if it needs a claim that a user may lack.
    fn try_out(&self) -> Result<(), String> {
        let asked = RequestFields {
            host: Some("app.example.com"),
            path: Some("/"),
            method: Some("GET"),
            client: Some(IpAddr::from([192, 0, 2, 1])),
            scheme: Some("https"),
        };
        let now = UnixTime::from_secs(1_700_000_000);
        self.evaluate(&asked, Value::Null, now).map_err(|error| {
            let hint = if self.uses.identity { ": begin with identity != null &&" } else { "" };
            format!("while no user is signed in, {error}{hint}")
        })?;
        let user = Identity {
            subject: "1".into(),
            username: "alice".into(),
            email: "alice@example.com".into(),
            name: "Alice".into(),
            groups: vec!["staff".into()],
            ..Identity::default()
        };
        match self.evaluate(&asked, identity_of(&user, Some(&user.email), &Map::new())?, now) {
            Err(error) if !self.uses.claims => Err(format!("for a user, {error}")),
            Ok(_) | Err(_) => Ok(()),
        }
    }
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl RequestFields<'_> {
    fn value(&self) -> Value {
        let text = |text: Option<&str>| text.map_or(Value::Null, Value::from);
        let client = self.client.map(|client| client.to_string());
        let fields = [text(self.host), text(self.path), text(self.method), text(client.as_deref()), text(self.scheme)];
        object(REQUEST.into_iter().zip(fields))
    }
}

/// The depth of brackets, with those in texts.
fn brackets(text: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    for byte in text.bytes() {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

fn one_line(text: &str) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(300).collect();
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests;
