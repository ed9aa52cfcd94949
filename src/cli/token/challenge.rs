//! What a 401 says about getting in (RFC 9110 §11.6.1).

/// One way to prove who asks.
#[derive(Debug, PartialEq, Eq)]
struct Challenge {
    scheme: String,
    /// Names in lower case, each once.
    parameters: Vec<(String, String)>,
}

/// The `resource_metadata` of the first `Bearer` challenge that has one (RFC 9728 §5.1), in the values of `WWW-Authenticate`.
///
/// A value that is not well-formed counts for nothing as a whole.
pub(super) fn resource_metadata<'v>(values: impl IntoIterator<Item = &'v str>) -> Option<String> {
    let challenges = values.into_iter().filter_map(|value| Cursor(value).challenges()).flatten();
    challenges
        .filter(|challenge| challenge.scheme.eq_ignore_ascii_case("bearer"))
        .flat_map(|challenge| challenge.parameters)
        .find_map(|(name, value)| (name == "resource_metadata").then_some(value))
}

/// What is left to read.
struct Cursor<'t>(&'t str);

impl<'t> Cursor<'t> {
    fn challenges(mut self) -> Option<Vec<Challenge>> {
        let mut found: Vec<Challenge> = Vec::new();
        loop {
            self.0 = self.0.trim_start_matches([' ', '\t', ',']);
            if self.0.is_empty() {
                return Some(found);
            }
            let word = self.token()?;
            if self.eat('=') {
                let value = self.value()?;
                let parameters = &mut found.last_mut()?.parameters;
                let name = word.to_ascii_lowercase();
                if parameters.iter().any(|(known, _)| *known == name) {
                    return None;
                }
                parameters.push((name, value));
                self.at_the_end_of_an_item().then_some(())?;
            } else {
                found.push(Challenge { scheme: word.to_owned(), parameters: Vec::new() });
                self.skip_token68();
            }
        }
    }

    fn token(&mut self) -> Option<&'t str> {
        let is_part = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        let (token, rest) = self.0.split_at(self.0.find(|c| !is_part(c)).unwrap_or(self.0.len()));
        self.0 = rest;
        (!token.is_empty()).then_some(token)
    }

    /// Blanks are allowed around it.
    fn eat(&mut self, wanted: char) -> bool {
        let Some(rest) = self.0.trim_start_matches([' ', '\t']).strip_prefix(wanted) else {
            return false;
        };
        self.0 = rest.trim_start_matches([' ', '\t']);
        true
    }

    fn value(&mut self) -> Option<String> {
        let Some(quoted) = self.0.strip_prefix('"') else {
            return self.token().map(str::to_owned);
        };
        let mut value = String::new();
        let mut characters = quoted.char_indices();
        loop {
            match characters.next()? {
                (at, '"') => {
                    self.0 = &quoted[at + 1..];
                    return Some(value);
                }
                (_, '\\') => value.push(characters.next()?.1),
                (_, other) => value.push(other),
            }
        }
    }

    fn at_the_end_of_an_item(&self) -> bool {
        let rest = self.0.trim_start_matches([' ', '\t']);
        rest.is_empty() || rest.starts_with(',')
    }

    /// `Negotiate YII=`: some schemes have a text in place of parameters.
    fn skip_token68(&mut self) {
        let rest = self.0.trim_start_matches([' ', '\t']);
        let is_part = |c: char| c.is_ascii_alphanumeric() || "-._~+/".contains(c);
        let text = Self(rest.trim_start_matches(is_part).trim_start_matches('='));
        if text.at_the_end_of_an_item() {
            *self = text;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(values: &[&str], expected: Option<&str>) {
        assert_eq!(resource_metadata(values.iter().copied()).as_deref(), expected, "{values:?}");
    }

    #[test]
    fn the_metadata_address_is_found_among_challenges() {
        const URL: &str = "https://a.test/x,y";
        check(&["Bearer resource_metadata=\"https://a.test/x,y\""], Some(URL));
        check(&["bearer Resource_Metadata = \"https://a.test/x,y\""], Some(URL));
        check(&["Bearer realm=\"a, Bearer resource_metadata=b\", resource_metadata=\"https://a.test/x,y\""], Some(URL));
        check(&["Bearer error=invalid_token,,resource_metadata=\"https://a.test/x,y\" ,"], Some(URL));
        check(&["Basic realm=\"x\", Bearer resource_metadata=\"https://a.test/x,y\""], Some(URL));
        check(&["Negotiate, Bearer resource_metadata=\"https://a.test/x,y\""], Some(URL));
        check(&["Negotiate YII+/a==, Bearer resource_metadata=\"https://a.test/x,y\""], Some(URL));
        check(&["Basic realm=x", "Bearer", "Bearer resource_metadata=\"https://a.test/x,y\""], Some(URL));
        check(&["Bearer a=b, Bearer resource_metadata=\"https://a.test/x,y\", DPoP algs=\"ES256\""], Some(URL));
        check(&["Bearer realm=\"un\\\"quoted\\\\\", resource_metadata=\"https:\\//a.test/x,y\""], Some(URL));
        check(&["Bearer resource_metadata=token"], Some("token"));
    }

    #[test]
    fn what_is_not_said_well_counts_for_nothing() {
        check(&[], None);
        check(&["", ",,", "Bearer", "Bearer realm=\"x\""], None);
        check(&["Basic resource_metadata=\"https://a.test/\""], None);
        check(&["DPoP resource_metadata=\"https://a.test/\", Bearer realm=x"], None);
        check(&["resource_metadata=\"https://a.test/\""], None);
        check(&["Bearer resource_metadata=\"https://a.test/"], None);
        check(&["Bearer resource_metadata=\"https://a.test/\\"], None);
        check(&["Bearer resource_metadata=https://a.test/"], None);
        check(&["Bearer resource_metadata=\"a\", resource_metadata=\"b\""], None);
        check(&["Bearer resource_metadata=\"a\" b"], None);
        check(&["Bearer realm=\"Bearer resource_metadata=\\\"a\\\"\""], None);
        check(&["Bearer @, Bearer resource_metadata=\"a\""], None);
    }
}
