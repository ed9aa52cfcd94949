use http::HeaderMap;
use http::header::COOKIE;
use memchr::memchr2;
use memchr::memmem::Finder;

/// Names and values of all cookies, in the order they were sent.
///
/// Browsers send one field with `; `; proxies pass several fields, or join them with `, ` (HAProxy) or `,` (Envoy). Our
/// own values hold neither separator, so both are taken as one; pairs without `=` are left out, and so are those that
/// are no text: a cookie that another application chose must not hide ours.
pub fn cookies(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    headers
        .get_all(COOKIE)
        .iter()
        .flat_map(|line| line.as_bytes().split(|byte| matches!(byte, b';' | b',')))
        .filter_map(|pair| std::str::from_utf8(pair).ok()?.split_once('='))
        .map(|(name, value)| (name.trim_ascii(), unquoted(value)))
}

fn unquoted(value: &str) -> &str {
    let value = value.trim_ascii();
    value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value)
}

/// The name of a cookie that every request is searched for.
#[derive(Clone, Debug)]
pub struct CookieName {
    name: Box<str>,
    finder: Finder<'static>,
}

impl CookieName {
    /// Prepares the search; `name` is a token (RFC 9110 §5.6.2), as every cookie's name is.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self { name: name.into(), finder: Finder::new(name.as_bytes()).into_owned() }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.name
    }

    /// What [`cookies`] gives under this name, found without looking at the others.
    pub fn values<'h>(&'h self, headers: &'h HeaderMap) -> impl Iterator<Item = &'h str> {
        // A name has no separator in it, so no two occurrences that overlap both begin a pair.
        headers.get_all(COOKIE).iter().flat_map(|line| {
            let line = line.as_bytes();
            self.finder.find_iter(line).filter_map(|at| value_at(line, at, at + self.name.len()))
        })
    }
}

/// The value of the pair whose name stands at `start..end`; none where that is not a whole name.
fn value_at(line: &[u8], start: usize, end: usize) -> Option<&str> {
    if !matches!(line[..start].trim_ascii_end().last(), None | Some(b';' | b',')) {
        return None;
    }
    let value = line[end..].trim_ascii_start().strip_prefix(b"=")?;
    let value = memchr2(b';', b',', value).map_or(value, |end| &value[..end]);
    std::str::from_utf8(value).ok().map(unquoted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[track_caller]
    fn check(lines: &[&str], expected: &[(&str, &str)]) {
        let lines: Vec<_> = lines.iter().map(|line| line.as_bytes()).collect();
        check_bytes(&lines, expected);
    }

    #[track_caller]
    fn check_bytes(lines: &[&[u8]], expected: &[(&str, &str)]) {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(COOKIE, HeaderValue::from_bytes(line).unwrap());
        }
        assert_eq!(cookies(&headers).collect::<Vec<_>>(), expected, "{lines:?}");
        for (name, _) in expected.iter().filter(|(name, _)| !name.is_empty()) {
            named(&headers, name);
        }
        named(&headers, "absent");
    }

    /// The search for one name finds what the whole list has under it.
    #[track_caller]
    fn named(headers: &HeaderMap, name: &str) {
        let listed: Vec<_> = cookies(headers).filter(|(it, _)| *it == name).map(|(_, value)| value).collect();
        assert_eq!(CookieName::new(name).values(headers).collect::<Vec<_>>(), listed, "{name} in {headers:?}");
    }

    #[test]
    fn all_separators_that_proxies_use() {
        check(&["a=1; b=2"], &[("a", "1"), ("b", "2")]);
        check(&["a=1", "b=2"], &[("a", "1"), ("b", "2")]);
        check(&["a=1, b=2"], &[("a", "1"), ("b", "2")]);
        check(&["a=1,b=2"], &[("a", "1"), ("b", "2")]);
        check(&["a=1;b=2"], &[("a", "1"), ("b", "2")]);
        check(&["a=1; a=2"], &[("a", "1"), ("a", "2")]);
        check(&["a=\"1\""], &[("a", "1")]);
        check(&["a=b=c"], &[("a", "b=c")]);
        check(&["ä=ö; b=2"], &[("ä", "ö"), ("b", "2")]);
    }

    #[test]
    fn nonsense_is_passed_over() {
        check(&[], &[]);
        check(&[""], &[]);
        check(&[";"], &[]);
        check(&["a"], &[]);
        check(&["="], &[("", "")]);
        check(&["==;;"], &[("", "=")]);
        check_bytes(&[b"a=\xff; b=2", b"\xe9=1,c=3"], &[("b", "2"), ("c", "3")]);
    }

    #[test]
    fn names_are_found_whole() {
        check(&["ab=1; b=2; bb=3; b=4"], &[("ab", "1"), ("b", "2"), ("bb", "3"), ("b", "4")]);
        check(&["x=b=2;b =3 , b= \"4\" "], &[("x", "b=2"), ("b", "3"), ("b", "4")]);
        check(&["b;b=2"], &[("b", "2")]);
        check(&["bbb=1;bb=2"], &[("bbb", "1"), ("bb", "2")]);
    }

    proptest::proptest! {
        #[test]
        fn the_search_agrees_with_the_list(
            lines in proptest::collection::vec("([ab=;, \"\t]|[ä\u{a0}]){0,24}", 0..3), name in "[ab]{1,3}",
        ) {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(COOKIE, HeaderValue::from_bytes(line.as_bytes()).unwrap());
            }
            named(&headers, &name);
        }
    }
}
