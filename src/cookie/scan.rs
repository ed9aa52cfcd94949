use http::HeaderMap;
use http::header::COOKIE;
use memchr::memchr;
use memchr::memmem::Finder;

/// Names and values of all cookies, unchanged, in the order in which they were sent (RFC 6265 §4.2.1).
///
/// Only `;` and the end of a field separate cookies. A comma is part of a value: another host under the same domain chooses
/// values, and any other separator would find a cookie that the browser does not have. For the same reason quotes stay, and a
/// blank inside a name or a value belongs to it; only blanks around a pair are removed.
///
/// Leaves out pairs without `=` and pairs that are not UTF-8, so that a cookie of another application does not hide ours.
pub fn cookies(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    headers
        .get_all(COOKIE)
        .iter()
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b';'))
        .filter_map(|pair| std::str::from_utf8(pair).ok()?.trim_matches(BLANKS).split_once('='))
}

/// Characters that may stand beside `;` (RFC 9110 §5.6.3). Browsers trim these characters, and no others, off names and values.
const BLANKS: [char; 2] = [' ', '\t'];

/// The name of a cookie, prepared to search each request for it.
#[derive(Clone, Debug)]
pub struct CookieName {
    name: Box<str>,
    finder: Finder<'static>,
}

impl CookieName {
    /// Prepares the search; `name` is a token (RFC 9110 §5.6.2), as every cookie's name is.
    #[must_use]
    pub(crate) fn new(name: &str) -> Self {
        Self { name: name.into(), finder: Finder::new(name.as_bytes()).into_owned() }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.name
    }

    /// The values that [`cookies`] gives under this name, found without parsing the other cookies.
    pub(crate) fn values<'h>(&'h self, headers: &'h HeaderMap) -> impl Iterator<Item = &'h str> {
        // A name contains no separator, so of two overlapping occurrences at most one begins a pair.
        headers.get_all(COOKIE).iter().flat_map(|line| {
            let line = line.as_bytes();
            self.finder.find_iter(line).filter_map(|at| value_at(line, at, at + self.name.len()))
        })
    }
}

/// The value of the pair whose name is `start..end`; `None` if that is not a whole name.
fn value_at(line: &[u8], start: usize, end: usize) -> Option<&str> {
    let before = line[..start].iter().rev().find(|byte| !matches!(byte, b' ' | b'\t'));
    if !matches!(before, None | Some(b';')) {
        return None;
    }
    let value = line[end..].strip_prefix(b"=")?;
    let value = memchr(b';', value).map_or(value, |end| &value[..end]);
    std::str::from_utf8(value).ok().map(|value| value.trim_end_matches(BLANKS))
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

    /// The search for a name finds the same values as the whole list has under it.
    #[track_caller]
    fn named(headers: &HeaderMap, name: &str) {
        let listed: Vec<_> = cookies(headers).filter(|(it, _)| *it == name).map(|(_, value)| value).collect();
        assert_eq!(CookieName::new(name).values(headers).collect::<Vec<_>>(), listed, "{name} in {headers:?}");
    }

    #[test]
    fn a_semicolon_alone_separates() {
        check(&["a=1; b=2"], &[("a", "1"), ("b", "2")]);
        check(&["a=1", "b=2"], &[("a", "1"), ("b", "2")]);
        check(&["a=1;b=2"], &[("a", "1"), ("b", "2")]);
        check(&["a=1;\t b=2 ;"], &[("a", "1"), ("b", "2")]);
        check(&["a=1; a=2"], &[("a", "1"), ("a", "2")]);
        check(&["a=b=c"], &[("a", "b=c")]);
        check(&["ä=ö; b=2"], &[("ä", "ö"), ("b", "2")]);
    }

    /// The value that another host writes into its cookie is found in no other cookie.
    #[test]
    fn a_cookie_is_what_the_browser_has() {
        check(&["a=1,b=2"], &[("a", "1,b=2")]);
        check(&["a=1, b=2"], &[("a", "1, b=2")]);
        check(&["a,b=2"], &[("a,b", "2")]);
        check(&["b=2,a=1"], &[("b", "2,a=1")]);
        check(&["a=\"1\""], &[("a", "\"1\"")]);
        check(&["a=\"1; b=2\""], &[("a", "\"1"), ("b", "2\"")]);
        check(&["a=1&b=2"], &[("a", "1&b=2")]);
        check(&["a=1 b=2"], &[("a", "1 b=2")]);
        check(&["a=1\tb=2"], &[("a", "1\tb=2")]);
        check(&["b =2; c= 3"], &[("b ", "2"), ("c", " 3")]);
        for blank in ["\u{a0}", "\u{85}", "\u{2028}", "\u{3000}", "\u{feff}", "\u{200b}"] {
            let (name, value) = (format!("{blank}a"), format!("1{blank}"));
            check(&[&format!("{name}={value}")], &[(&name, &value)]);
        }
        check(&["=a=1"], &[("", "a=1")]);
    }

    #[test]
    fn nonsense_is_passed_over() {
        check(&[], &[]);
        check(&[""], &[]);
        check(&[";"], &[]);
        check(&["a"], &[]);
        check(&["="], &[("", "")]);
        check(&["==;;"], &[("", "=")]);
        check_bytes(&[b"a=\xff; b=2", b"\xe9=1;c=3", b"\xe9=1,c=4"], &[("b", "2"), ("c", "3")]);
    }

    #[test]
    fn names_are_found_whole() {
        check(&["ab=1; b=2; bb=3; b=4"], &[("ab", "1"), ("b", "2"), ("bb", "3"), ("b", "4")]);
        check(&["x=b=2;b =3 ; b=4 "], &[("x", "b=2"), ("b ", "3"), ("b", "4")]);
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
