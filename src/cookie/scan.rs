use http::HeaderMap;
use http::header::COOKIE;

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
        .map(|(name, value)| {
            let value = value.trim();
            let unquoted = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
            (name.trim(), unquoted.unwrap_or(value))
        })
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
}
