//! Finds what an expression looks at, and what it must not use.

use cel::common::ast::{EntryExpr, Expr, IdedExpr, LiteralValue};

use super::values::IDENTITY;
use super::{DEEPEST, REQUEST};

const MOST_LOOPS: usize = 8;
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

/// How an expression uses the e-mail address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum EmailUse {
    #[default]
    Nothing,
    /// Compares it with null.
    Presence,
    /// Reads its text.
    Text,
}

/// Which variables an expression looks at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Uses {
    pub(super) identity: bool,
    /// The fields of `identity`, without [`Uses::email`].
    pub(super) fields: [bool; IDENTITY.len()],
    pub(super) email: EmailUse,
    pub(super) claims: bool,
    pub(super) now: bool,
    pub(super) request: [bool; REQUEST.len()],
}

/// A walk through an expression.
pub(super) struct Walk<'e, 'u> {
    uses: &'u mut Uses,
    locals: Vec<&'e str>,
    loops: usize,
}

impl<'e, 'u> Walk<'e, 'u> {
    /// Records in `uses` what the expression looks at.
    pub(super) fn new(uses: &'u mut Uses) -> Self {
        Self { uses, locals: Vec::new(), loops: 0 }
    }

    /// Walks through the expression.
    pub(super) fn expression(&mut self, expression: &'e IdedExpr, depth: usize, loops: usize) -> Result<(), String> {
        if depth > DEEPEST {
            return Err("it nests too deep".to_owned());
        }
        let depth = depth + 1;
        match &expression.expr {
            Expr::Unspecified | Expr::Literal(_) => Ok(()),
            Expr::Ident(name) => self.name(name),
            Expr::Select(select) => match &select.operand.expr {
                Expr::Ident(name) if !self.locals.contains(&name.as_str()) => {
                    if select.test && name == "identity" && select.field != "claims" {
                        let field = &select.field;
                        return Err(format!(
                            "has(identity.{field}) is always the same; compare it: identity.{field} != null"
                        ));
                    }
                    self.field(name, &select.field)
                }
                _ => self.expression(&select.operand, depth, loops),
            },
            Expr::Call(call) => {
                let name = call.func_name.as_str();
                if !name.starts_with(['_', '!', '-', '@']) && !FUNCTIONS.contains(&name) {
                    return Err(format!("it has no function {name:?}; there are {}", FUNCTIONS.join(", ")));
                }
                if let ("_==_" | "_!=_", [one, other]) = (name, call.args.as_slice()) {
                    let with_null = [(one, other), (other, one)].into_iter().find(|(_, null)| is_null(null));
                    if with_null.is_some_and(|(it, _)| self.compares_with_null(it)) {
                        return Ok(());
                    }
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

    /// Records that `it`, which may be null, is compared with null; `false` if it is another expression.
    fn compares_with_null(&mut self, it: &IdedExpr) -> bool {
        match &it.expr {
            Expr::Ident(name) if name == "identity" => self.uses.identity = true,
            Expr::Select(select) if select.field == "email" && is_identity(&select.operand) => {
                self.uses.identity = true;
                self.uses.email = self.uses.email.max(EmailUse::Presence);
            }
            _ => return false,
        }
        true
    }

    /// Records the use of a whole variable.
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
            self.uses.fields[at] = true;
            self.uses.claims |= field == "claims";
            if field == "email" {
                self.uses.email = EmailUse::Text;
            }
        }
        Ok(())
    }
}

fn is_null(it: &IdedExpr) -> bool {
    matches!(it.expr, Expr::Literal(LiteralValue::Null))
}

fn is_identity(it: &IdedExpr) -> bool {
    matches!(&it.expr, Expr::Ident(name) if name == "identity")
}
