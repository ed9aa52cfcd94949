//! Which hosts a rule of a Traefik router names (<https://doc.traefik.io/traefik/reference/routing-configuration/http/routing/rules-and-priority/>).
//!
//! A rule counts only if it plainly names its hosts: `Host(…)`, several of these with `||`, each with `&&` and matchers that
//! look at something else. Any other rule is refused, because a guess could protect the wrong host.

use crate::host::Host;

/// Longer rules are not read.
const LONGEST_RULE: usize = 4096;
/// Parentheses may be nested so deep.
const DEEPEST: usize = 16;

/// The matchers that narrow a rule and name no host.
const NARROWING: [&str; 11] = [
    "clientip",
    "header",
    "headerregexp",
    "headers",
    "headersregexp",
    "method",
    "path",
    "pathprefix",
    "pathregexp",
    "query",
    "queryregexp",
];

/// Why the hosts of a rule are not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unclear {
    #[error("is not a rule that forepost can read")]
    Syntax,
    #[error("is too long")]
    TooLong,
    #[error("names hosts by a regular expression")]
    Regexp,
    #[error("has a negation")]
    Negation,
    #[error("has a matcher that forepost does not know")]
    UnknownMatcher,
    #[error("matches requests of every host")]
    EveryHost,
    #[error("wants two hosts at once")]
    TwoHosts,
    #[error("names something that is not a host")]
    NotAHost,
}

/// The hosts of a rule, each once, in their order; never empty.
///
/// # Errors
///
/// When the rule is not plainly a list of hosts.
pub(super) fn hosts(rule: &str) -> Result<Vec<Host<'static>>, Unclear> {
    if rule.len() > LONGEST_RULE {
        return Err(Unclear::TooLong);
    }
    let mut parser = Parser { rest: rule, depth: 0 };
    let found = parser.any_of()?;
    parser.blanks();
    if !parser.rest.is_empty() {
        return Err(Unclear::Syntax);
    }
    match found {
        Hosts::These(hosts) if !hosts.is_empty() => Ok(hosts),
        Hosts::These(_) => Err(Unclear::Syntax),
        Hosts::Every => Err(Unclear::EveryHost),
    }
}

/// The hosts of the requests that a part of a rule can match.
enum Hosts {
    Every,
    These(Vec<Host<'static>>),
}

struct Parser<'r> {
    rest: &'r str,
    depth: usize,
}

impl<'r> Parser<'r> {
    /// `A || B || …`
    fn any_of(&mut self) -> Result<Hosts, Unclear> {
        let mut all = self.all_of()?;
        while self.takes("||") {
            all = match (all, self.all_of()?) {
                (Hosts::These(mut hosts), Hosts::These(more)) => {
                    for host in more {
                        if !hosts.contains(&host) {
                            hosts.push(host);
                        }
                    }
                    Hosts::These(hosts)
                }
                _ => Hosts::Every,
            };
        }
        Ok(all)
    }

    /// `A && B && …`
    fn all_of(&mut self) -> Result<Hosts, Unclear> {
        let mut all = self.one()?;
        while self.takes("&&") {
            all = match (all, self.one()?) {
                (Hosts::Every, hosts) | (hosts, Hosts::Every) => hosts,
                (Hosts::These(_), Hosts::These(_)) => return Err(Unclear::TwoHosts),
            };
        }
        Ok(all)
    }

    /// A matcher, or a rule in parentheses.
    fn one(&mut self) -> Result<Hosts, Unclear> {
        if self.takes("!") {
            return Err(Unclear::Negation);
        }
        if self.takes("(") {
            self.depth += 1;
            if self.depth > DEEPEST {
                return Err(Unclear::Syntax);
            }
            let inner = self.any_of()?;
            self.depth -= 1;
            return if self.takes(")") { Ok(inner) } else { Err(Unclear::Syntax) };
        }
        let name = self.name()?.to_ascii_lowercase();
        let arguments = self.arguments()?;
        match name.as_str() {
            "host" => {
                let host = |text: &&str| Host::parse(text).map(Host::into_owned).map_err(|_| Unclear::NotAHost);
                let mut hosts: Vec<Host<'static>> = Vec::new();
                for host in arguments.iter().map(host) {
                    let host = host?;
                    if !hosts.contains(&host) {
                        hosts.push(host);
                    }
                }
                if hosts.is_empty() { Err(Unclear::Syntax) } else { Ok(Hosts::These(hosts)) }
            }
            "hostregexp" => Err(Unclear::Regexp),
            narrowing if NARROWING.contains(&narrowing) => Ok(Hosts::Every),
            _ => Err(Unclear::UnknownMatcher),
        }
    }

    fn name(&mut self) -> Result<&'r str, Unclear> {
        self.blanks();
        let end = self.rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at(end);
        self.rest = rest;
        if name.is_empty() { Err(Unclear::Syntax) } else { Ok(name) }
    }

    /// The quoted texts of a matcher.
    fn arguments(&mut self) -> Result<Vec<&'r str>, Unclear> {
        let mut arguments = Vec::new();
        if !self.takes("(") {
            return Err(Unclear::Syntax);
        }
        loop {
            arguments.push(self.quoted()?);
            if self.takes(")") {
                return Ok(arguments);
            }
            if !self.takes(",") {
                return Err(Unclear::Syntax);
            }
        }
    }

    /// A text in backticks or quotes. With a backslash in quotes it can be another text than it seems.
    fn quoted(&mut self) -> Result<&'r str, Unclear> {
        let quote = ["`", "\"", "'"].into_iter().find(|quote| self.takes(quote)).ok_or(Unclear::Syntax)?;
        let (text, rest) = self.rest.split_once(quote).ok_or(Unclear::Syntax)?;
        self.rest = rest;
        if quote != "`" && text.contains('\\') { Err(Unclear::Syntax) } else { Ok(text) }
    }

    /// Takes a token if it comes next.
    fn takes(&mut self, token: &str) -> bool {
        self.blanks();
        let rest = self.rest.strip_prefix(token);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn blanks(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(rule: &str, expected: Result<&[&str], Unclear>) {
        let found = hosts(rule).map(|hosts| hosts.iter().map(ToString::to_string).collect::<Vec<_>>());
        let expected = expected.map(|hosts| hosts.iter().map(ToString::to_string).collect());
        assert_eq!(found, expected, "{rule}");
    }

    #[test]
    fn plain_lists_of_hosts() {
        check("Host(`a.test`)", Ok(&["a.test"]));
        check("Host(\"a.test\")", Ok(&["a.test"]));
        check("Host('a.test')", Ok(&["a.test"]));
        check("Host(`A.Test.`)", Ok(&["a.test"]));
        check("Host(`a.test`, `b.test`)", Ok(&["a.test", "b.test"]));
        check("Host(`a.test`) || Host(`b.test`)", Ok(&["a.test", "b.test"]));
        check("Host(`a.test`)||Host(`a.test`,`b.test`)", Ok(&["a.test", "b.test"]));
        check("(Host(`a.test`) || Host(`b.test`)) && PathPrefix(`/x`)", Ok(&["a.test", "b.test"]));
        check("Host(`a.test`) && PathPrefix(`/x`)", Ok(&["a.test"]));
        check("PathPrefix(`/x`, `/y`) && Host(`a.test`)", Ok(&["a.test"]));
        check("Host(`a.test`) && (Path(`/x`) || Method(`POST`))", Ok(&["a.test"]));
        check("Host(`a.test`) && Headers(`X-A`, `b`) && ClientIP(`192.0.2.0/24`)", Ok(&["a.test"]));
        check("Host(`a.test`) && PathPrefix(`/x`) || Host(`b.test`)", Ok(&["a.test", "b.test"]));
        check(" host( `a.test` ) ", Ok(&["a.test"]));
        check("Host(`a.test`) && PathRegexp(`Host(`) ", Ok(&["a.test"]));
    }

    #[test]
    fn anything_else_is_refused() {
        check("HostRegexp(`.+\\.test`)", Err(Unclear::Regexp));
        check("Host(`a.test`) || HostRegexp(`{x:.+}.test`)", Err(Unclear::Regexp));
        check("!Host(`a.test`)", Err(Unclear::Negation));
        check("Host(`a.test`) && !PathPrefix(`/x`)", Err(Unclear::Negation));
        check("PathPrefix(`/x`)", Err(Unclear::EveryHost));
        check("Host(`a.test`) || PathPrefix(`/x`)", Err(Unclear::EveryHost));
        check("Host(`a.test`) && Host(`b.test`)", Err(Unclear::TwoHosts));
        check("HostSNI(`*`)", Err(Unclear::UnknownMatcher));
        check("HostHeader(`a.test`)", Err(Unclear::UnknownMatcher));
        check("Host(`*.test`)", Err(Unclear::NotAHost));
        check("Host(`{sub:[a-z]+}.test`)", Err(Unclear::NotAHost));
        check("Host(`a.test:8443`)", Err(Unclear::NotAHost));
        check("Host(`a.test b.test`)", Err(Unclear::NotAHost));
        check("Host(``)", Err(Unclear::NotAHost));
        for rule in [
            "",
            " ",
            "Host",
            "Host()",
            "Host(a.test)",
            "Host(`a.test`",
            "Host(`a.test)",
            "Host(`a.test`,)",
            "Host(`a.test`) Host(`b.test`)",
            "Host(`a.test`) &&",
            "|| Host(`a.test`)",
            "(Host(`a.test`)",
            "Host(`a.test`))",
            "Host(\"a\\x2etest\")",
            "Host(`a.test` `b.test`)",
            "Host:a.test",
        ] {
            check(rule, Err(Unclear::Syntax));
        }
        check(&format!("{}Host(`a.test`){}", "(".repeat(17), ")".repeat(17)), Err(Unclear::Syntax));
        check(&format!("Host(`{}`)", "a".repeat(5000)), Err(Unclear::TooLong));
    }

    proptest! {
        #[test]
        fn no_text_panics_and_each_host_stands_in_the_rule(
            parts in proptest::collection::vec(
                prop_oneof![
                    Just("Host(`a.test`)"), Just("Host(`b.test`, \"c.test\")"), Just("HostRegexp(`.*`)"), Just("Path(`/x`)"),
                    Just("||"), Just("&&"), Just("!"), Just("("), Just(")"), Just(" "), Just("`"), Just(","), Just("ä"),
                ],
                0..12,
            ),
            noise in ".{0,12}",
        ) {
            for rule in [parts.concat(), parts.join(&noise), noise] {
                for host in hosts(&rule).unwrap_or_default() {
                    let named = ["`", "\"", "'"].iter().any(|quote| rule.contains(&format!("{quote}{host}{quote}")));
                    prop_assert!(named, "{rule}: {host}");
                }
            }
        }

        /// A host is named by each rule that its parts name, in whatever order they stand.
        #[test]
        fn lists_are_read_whole(names in proptest::collection::vec("[a-z]{1,8}", 1..6), path in "[a-z/]{0,6}") {
            let rule = names.iter().map(|name| format!("Host(`{name}.test`) && PathPrefix(`/{path}`)"));
            let found = hosts(&rule.collect::<Vec<_>>().join(" || ")).unwrap();
            let mut expected: Vec<String> = names.iter().map(|name| format!("{name}.test")).collect();
            let mut found: Vec<String> = found.iter().map(ToString::to_string).collect();
            expected.sort();
            found.sort();
            expected.dedup();
            prop_assert_eq!(found, expected);
        }
    }
}
