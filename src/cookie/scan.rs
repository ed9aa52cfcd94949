use http::HeaderMap;
use http::header::COOKIE;

/// Names and values of all cookies, in the order they were sent.
///
/// Browsers send one field with `; `; proxies pass several fields, or join them with `, ` (HAProxy) or `,` (Envoy). Our
/// own values hold neither separator, so both are taken as one; pairs without `=` are left out.
pub fn cookies(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|line| std::str::from_utf8(line.as_bytes()).ok())
        .flat_map(|line| line.split([';', ',']))
        .filter_map(|pair| pair.split_once('='))
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
    use proptest::prelude::*;

    #[track_caller]
    fn check(lines: &[&str], expected: &[(&str, &str)]) {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(COOKIE, HeaderValue::from_bytes(line.as_bytes()).unwrap());
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
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(0x20_u8..=0xff, 0..200)) {
            let mut headers = HeaderMap::new();
            if let Ok(value) = HeaderValue::from_bytes(&bytes) {
                headers.append(COOKIE, value);
            }
            let _ = cookies(&headers).count();
        }
    }
}
