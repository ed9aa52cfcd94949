//! `when`: what the keys of a rule cannot say, in the Common Expression Language (<https://cel.dev>).
//!
//! An expression looks at `identity`, `request` and `now` and does nothing. It is bounded: its text, how deep it nests, one loop
//! at most around anything, and so many elements in the lists that it may look at.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use cel::common::ast::{EntryExpr, Expr, IdedExpr, LiteralValue};
use cel::objects::Key;
use cel::{Context, Env, Program, Value};
use chrono::DateTime;
use serde_json::{Map, Value as Json};

use crate::identity::{Identity, PackedIdentity};
use crate::world::UnixTime;

/// Bytes.
const LONGEST: usize = 4096;
const DEEPEST: usize = 64;
/// Of these in a row or nested, the parser would need too much stack.
const MOST_SIGNS: usize = 64;
const MOST_LOOPS: usize = 8;
/// Elements of all lists and objects of an identity; where there are more, nothing is known.
const MOST_ELEMENTS: usize = 1024;

const REQUEST: [&str; 5] = ["host", "path", "method", "client", "scheme"];
const IDENTITY: [&str; 6] = ["subject", "username", "email", "name", "groups", "claims"];
const FUNCTIONS: [&str; 21] = [
    "size",
    "contains",
    "startsWith",
    "endsWith",
    "int",
    "uint",
    "double",
    "string",
    "bool",
    "timestamp",
    "duration",
    "getFullYear",
    "getMonth",
    "getDate",
    "getDayOfMonth",
    "getDayOfWeek",
    "getDayOfYear",
    "getHours",
    "getMinutes",
    "getSeconds",
    "dyn",
];

static ENVIRONMENT: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(Env::stdlib()));

/// An expression that was checked: it knows its variables and functions, ends soon, and is true or false.
#[derive(Clone)]
pub struct Expression {
    text: Arc<str>,
    program: Arc<Program>,
    uses: Uses,
}

/// Which of its variables an expression looks at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Uses {
    identity: bool,
    claims: bool,
    now: bool,
    request: [bool; REQUEST.len()],
}

/// What an expression may look at of a request; a field is `None` where it is not known.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'r> {
    pub(super) host: Option<&'r str>,
    pub(super) path: Option<&'r str>,
    pub(super) method: Option<&'r str>,
    pub(super) client: Option<IpAddr>,
    pub(super) scheme: Option<&'static str>,
}

impl Expression {
    /// Reads and checks an expression.
    ///
    /// # Errors
    ///
    /// A sentence about what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > LONGEST {
            return Err(format!("it is longer than {LONGEST} bytes"));
        }
        if brackets(text) > DEEPEST || text.matches(['!', '-', '?']).count() > MOST_SIGNS {
            return Err("it nests too deep".to_owned());
        }
        let program = Program::compile(text).map_err(|error| one_line(&error.to_string()))?;
        let mut uses = Uses::default();
        Walk { uses: &mut uses, locals: Vec::new(), loops: 0 }.expression(program.expression(), 0, 0)?;
        if uses == Uses::default() {
            return Err("it looks at neither identity nor request nor now, so it is always the same".to_owned());
        }
        let expression = Self { text: text.into(), program: Arc::new(program), uses };
        expression.try_out()?;
        Ok(expression)
    }

    /// As written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it looks at the host or the path of the request.
    #[must_use]
    pub fn looks_at_target(&self) -> bool {
        self.uses.request[0] || self.uses.request[1]
    }

    /// Whether it looks at the address of the client.
    #[must_use]
    pub fn looks_at_client(&self) -> bool {
        self.uses.request[3]
    }

    /// Whether it looks at claims beside the identity's own.
    #[must_use]
    pub fn looks_at_claims(&self) -> bool {
        self.uses.claims
    }

    /// Whether it holds.
    ///
    /// # Errors
    ///
    /// Why that is not known: something that it looks at is not, or it fails, or is neither true nor false.
    pub(super) fn holds(
        &self,
        asked: &Asked<'_>,
        user: Option<&PackedIdentity>,
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
        let identity = match user.filter(|_| self.uses.identity) {
            Some(user) => identity_of(&user.identity(), user.claims())?,
            None => Value::Null,
        };
        self.evaluate(asked, identity, now)
    }

    fn evaluate(&self, asked: &Asked<'_>, identity: Value, now: UnixTime) -> Result<bool, String> {
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

    /// Evaluates it for nobody and for somebody; a claim that somebody may lack is no mistake.
    fn try_out(&self) -> Result<(), String> {
        let asked = Asked {
            host: Some("app.example.com"),
            path: Some("/"),
            method: Some("GET"),
            client: Some(IpAddr::from([192, 0, 2, 1])),
            scheme: Some("https"),
        };
        let now = UnixTime::from_secs(1_700_000_000);
        self.evaluate(&asked, Value::Null, now).map_err(|error| {
            let hint = if self.uses.identity { ": begin with identity != null &&" } else { "" };
            format!("while nobody is signed in, {error}{hint}")
        })?;
        let somebody = Identity {
            subject: "1".into(),
            username: "alice".into(),
            email: "alice@example.com".into(),
            name: "Alice".into(),
            groups: vec!["staff".into()],
            ..Identity::default()
        };
        match self.evaluate(&asked, identity_of(&somebody, &Map::new())?, now) {
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

impl Asked<'_> {
    fn value(&self) -> Value {
        let text = |text: Option<&str>| text.map_or(Value::Null, Value::from);
        let client = self.client.map(|client| client.to_string());
        let fields = [text(self.host), text(self.path), text(self.method), text(client.as_deref()), text(self.scheme)];
        object(REQUEST.into_iter().zip(fields))
    }
}

fn object<'k>(fields: impl Iterator<Item = (&'k str, Value)>) -> Value {
    let fields: HashMap<Key, Value> =
        fields.map(|(name, value)| (Key::String(Arc::new(name.to_owned())), value)).collect();
    Value::Map(fields.into())
}

fn identity_of(identity: &Identity, claims: &Map<String, Json>) -> Result<Value, String> {
    let mut room = MOST_ELEMENTS.checked_sub(identity.groups.len());
    let claims = object(claims.iter().map(|(name, claim)| (name.as_str(), value_of(claim, &mut room))));
    room.ok_or("the claims have too many elements")?;
    let groups: Vec<Value> = identity.groups.iter().map(|group| Value::from(group.as_str())).collect();
    let texts = [&identity.subject, &identity.username, &identity.email, &identity.name];
    let texts = texts.into_iter().map(|text| Value::from(text.as_str()));
    Ok(object(IDENTITY.into_iter().zip(texts.chain([Value::List(Arc::new(groups)), claims]))))
}

/// `room` is for so many elements more; `None` when they were too many.
fn value_of(json: &Json, room: &mut Option<usize>) -> Value {
    *room = room.and_then(|room| room.checked_sub(1));
    if room.is_none() {
        return Value::Null;
    }
    match json {
        Json::Null => Value::Null,
        Json::Bool(truth) => Value::Bool(*truth),
        Json::Number(number) => match number.as_i64() {
            Some(integer) => Value::Int(integer),
            None => number.as_f64().map_or(Value::Null, Value::Float),
        },
        Json::String(text) => Value::from(text.as_str()),
        Json::Array(items) => Value::List(Arc::new(items.iter().map(|item| value_of(item, room)).collect())),
        Json::Object(fields) => object(fields.iter().map(|(name, field)| (name.as_str(), value_of(field, room)))),
    }
}

/// How deep brackets nest, those in texts counted too.
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

/// A walk through an expression that finds what it looks at, and what it must not do.
struct Walk<'e, 'u> {
    uses: &'u mut Uses,
    locals: Vec<&'e str>,
    loops: usize,
}

impl<'e> Walk<'e, '_> {
    fn expression(&mut self, expression: &'e IdedExpr, depth: usize, loops: usize) -> Result<(), String> {
        if depth > DEEPEST {
            return Err("it nests too deep".to_owned());
        }
        let depth = depth + 1;
        match &expression.expr {
            Expr::Unspecified | Expr::Literal(_) => Ok(()),
            Expr::Ident(name) => self.name(name),
            Expr::Select(select) => match &select.operand.expr {
                Expr::Ident(name) if !self.locals.contains(&name.as_str()) => self.field(name, &select.field),
                _ => self.expression(&select.operand, depth, loops),
            },
            Expr::Call(call) => {
                let name = call.func_name.as_str();
                if !name.starts_with(['_', '!', '-', '@']) && !FUNCTIONS.contains(&name) {
                    return Err(format!("it has no function {name:?}; there are {}", FUNCTIONS.join(", ")));
                }
                if let ("_==_" | "_!=_", [one, other]) = (name, call.args.as_slice())
                    && [(one, other), (other, one)].iter().any(|(it, null)| Self::is_nobody(it, null))
                {
                    self.uses.identity = true;
                    return Ok(());
                }
                if name == "@in" && loops > 0 && !matches!(call.args.get(1).map(|it| &it.expr), Some(Expr::List(_))) {
                    return Err(
                        "it looks through a list within a loop; only one that it spells out is short enough".to_owned()
                    );
                }
                let parts = call.target.iter().map(|target| &**target).chain(&call.args);
                self.all(parts, depth, loops)
            }
            Expr::List(list) => self.all(list.elements.iter(), depth, loops),
            Expr::Map(map) => map.entries.iter().try_for_each(|entry| match &entry.expr {
                EntryExpr::MapEntry(entry) => self.all([&entry.key, &entry.value].into_iter(), depth, loops),
                EntryExpr::StructField(field) => self.expression(&field.value, depth, loops),
            }),
            Expr::Struct(_) => Err("it makes messages, of which there are none".to_owned()),
            Expr::Comprehension(comprehension) => {
                if loops > 0 {
                    return Err("it has a loop (all, exists, filter, map) within a loop".to_owned());
                }
                self.loops += 1;
                if self.loops > MOST_LOOPS {
                    return Err(format!("it has more than {MOST_LOOPS} loops"));
                }
                self.all([&comprehension.iter_range, &comprehension.accu_init].into_iter(), depth, loops)?;
                let before = self.locals.len();
                self.locals.extend([comprehension.iter_var.as_str(), comprehension.accu_var.as_str()]);
                self.locals.extend(comprehension.iter_var2.as_deref());
                if self.locals[before..].iter().any(|name| ["identity", "request", "now"].contains(name)) {
                    return Err("a loop gives its element the name of a variable".to_owned());
                }
                let inner = [&comprehension.loop_cond, &comprehension.loop_step, &comprehension.result];
                let walked = self.all(inner.into_iter(), depth, loops + 1);
                self.locals.truncate(before);
                walked
            }
        }
    }

    fn all(&mut self, mut parts: impl Iterator<Item = &'e IdedExpr>, depth: usize, loops: usize) -> Result<(), String> {
        parts.try_for_each(|part| self.expression(part, depth, loops))
    }

    /// Whether `it` is compared to nobody.
    fn is_nobody(it: &IdedExpr, null: &IdedExpr) -> bool {
        let is_identity = matches!(&it.expr, Expr::Ident(name) if name == "identity");
        is_identity && matches!(null.expr, Expr::Literal(LiteralValue::Null))
    }

    /// A variable as a whole.
    fn name(&mut self, name: &str) -> Result<(), String> {
        match name {
            _ if self.locals.contains(&name) => {}
            "now" => self.uses.now = true,
            "identity" | "request" => {
                let field = if name == "request" { "path" } else { "groups" };
                return Err(format!("it looks at {name} as a whole: name the field, as {name}.{field}"));
            }
            _ => return Err(format!("it has no variable {name:?}; there are identity, request, now")),
        }
        Ok(())
    }

    fn field(&mut self, name: &str, field: &str) -> Result<(), String> {
        let fields: &[&str] = match name {
            "request" => &REQUEST,
            "identity" => &IDENTITY,
            _ => return self.name(name),
        };
        let Some(at) = fields.iter().position(|known| *known == field) else {
            return Err(format!("{name} has no {field:?}; it has {}", fields.join(", ")));
        };
        if name == "request" {
            self.uses.request[at] = true;
        } else {
            self.uses.identity = true;
            self.uses.claims |= field == "claims";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn refused(text: &str, expected: &str) {
        let error = Expression::parse(text).unwrap_err();
        assert!(error.contains(expected), "{text}: {error}");
    }

    #[test]
    fn what_cannot_be_used_is_refused() {
        refused("request.path ==", "");
        refused("true", "always the same");
        refused("1 == 1", "always the same");
        refused("request.pth == '/'", "no \"pth\"");
        refused("request == null", "name the field");
        refused("identity != null && identity.user == 'x'", "no \"user\"");
        refused("user == 'x'", "no variable \"user\"");
        refused("request.path.matches('a+')", "no function \"matches\"");
        refused("request.path.foo()", "no function \"foo\"");
        refused("identity.username == 'x'", "identity != null &&");
        refused("identity != null && identity.username", "");
        refused("request.path", "neither true nor false");
        refused("size(request.path)", "neither true nor false");
        refused("request.path + 1 == 'x'", "nobody is signed in");
        refused("identity != null && identity.groups.exists(g, identity.groups.exists(h, g == h))", "within a loop");
        refused("identity != null && identity.groups.all(g, g in identity.groups)", "within a loop");
        let many = " && identity.groups.all(g, g != 'x')".repeat(9);
        refused(&format!("identity != null{many}"), "more than 8 loops");
        refused("identity != null && identity.groups.exists(now, now == 'x')", "name of a variable");
        refused(&format!("request.path == '{}'", "a".repeat(5000)), "longer");
        refused(&format!("{}request.path == '/'{}", "(".repeat(100), ")".repeat(100)), "too deep");
        refused(&format!("{}(request.path == '/')", "!".repeat(100)), "too deep");
        refused(&format!("request.path == '/'{}", " + '/'".repeat(150)), "too deep");
    }

    #[track_caller]
    fn check(text: &str, claims: Option<Json>, expected: Result<bool, &str>) {
        let expression = Expression::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let user = claims.map(|claims| {
            let identity = Identity {
                subject: "7".into(),
                username: "alice".into(),
                groups: vec!["staff".into(), "ops".into()],
                ..Identity::default()
            };
            PackedIdentity::new(identity, "", false).with_claims(claims.as_object().unwrap().clone())
        });
        let asked = Asked {
            host: Some("app.example.com"),
            path: Some("/a"),
            method: None,
            client: None,
            scheme: Some("https"),
        };
        // A Tuesday at 22:13:20 UTC.
        let got = expression.holds(&asked, user.as_ref(), UnixTime::from_secs(1_700_000_000));
        match (got, expected) {
            (Ok(got), Ok(expected)) => assert_eq!(got, expected, "{text}"),
            (Err(got), Err(expected)) => assert!(got.contains(expected), "{text}: {got}"),
            (got, _) => panic!("{text}: {got:?}"),
        }
    }

    #[test]
    fn expressions_hold_or_not_or_nobody_knows() {
        check("request.path == '/a' && request.host.endsWith('.example.com')", None, Ok(true));
        check("request.scheme == 'http'", None, Ok(false));
        check("request.method == 'GET'", None, Err("request.method is not known"));
        check("request.client.startsWith('10.')", None, Err("request.client is not known"));
        check("identity == null", None, Ok(true));
        check("identity == null", Some(json!({})), Ok(false));
        check("identity != null && 'ops' in identity.groups", Some(json!({})), Ok(true));
        check("identity != null && identity.groups.exists(g, g.startsWith('st'))", Some(json!({})), Ok(true));
        check("identity != null && identity.groups.exists(g, g in ['ops', 'x'])", Some(json!({})), Ok(true));
        check("identity != null && identity.claims.level > 3", Some(json!({"level": 4})), Ok(true));
        check("identity != null && identity.claims.level > 3", Some(json!({"level": "4"})), Err(""));
        check("identity != null && identity.claims.level > 3", Some(json!({})), Err(""));
        check("identity != null && identity.claims.level", Some(json!({"level": 4})), Err(""));
        check(
            "identity != null && has(identity.claims.org) && identity.claims.org.unit == 'x'",
            Some(json!({"org": {"unit": "x"}})),
            Ok(true),
        );
        check("identity != null && has(identity.claims.org)", Some(json!({})), Ok(false));
        let many: Vec<u32> = (0..2000).collect();
        check("identity != null && 'ops' in identity.groups", Some(json!({"many": many})), Err("too many"));
        check("now.getHours() >= 22 && now.getDayOfWeek() == 2", None, Ok(true));
        check("now > timestamp('2024-01-01T00:00:00Z')", None, Ok(false));
    }
}
