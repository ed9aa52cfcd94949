use super::*;

fn body(page: Page<'_>, request_id: &str) -> String {
    String::from_utf8(page.render(request_id).body.to_vec()).unwrap()
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
    let (_, rest) = text.split_once(start).unwrap();
    rest.split_once(end).unwrap().0
}

#[test]
fn every_page_is_small_and_whole() {
    for page in Page::samples() {
        let html = body(page, "0198c3f2a7");
        assert!(html.starts_with("<!doctype html>"));
        assert!(html.trim_end().ends_with("</html>"));
        assert!(html.len() < 8 * 1024, "{} bytes", html.len());
        assert_eq!(between(&html, "<title>", "</title>"), text::title(&page));
        assert_eq!(between(&html, "<h1>", "</h1>"), text::title(&page));
        assert!(html.contains("Request <code>0198c3f2a7</code>"));
        assert_eq!(
            html.matches("class=\"button\"").count(),
            usize::from(!matches!(page, Page::BadRequest { .. } | Page::Forbidden { username: "", .. })),
            "{page:?}"
        );
    }
}

#[test]
fn pages_load_nothing_and_run_nothing() {
    for page in Page::samples() {
        let html = body(page, "id");
        let without_links =
            html.replace("href=\"https://grafana.example.test/\"", "").replace("href=\"/outpost.goauthentik.io/", "");
        for word in ["http:", "https:", "//", "src=", "href=", "url(", "@import", "<script", "style=\"", " on"] {
            let found = without_links.find(word);
            // " on" is an attribute only inside a tag.
            let inside_tag = found.is_some_and(|at| without_links[..at].rfind('<') > without_links[..at].rfind('>'));
            assert!(found.is_none() || word == " on" && !inside_tag, "{word} in {page:?}");
        }
    }
}

#[test]
fn the_policy_allows_the_style_in_the_page_and_nothing_else() {
    for page in Page::samples() {
        let html = page.render("id");
        let text = std::str::from_utf8(&html.body).unwrap();
        let style = between(text, "<style>", "</style>");
        let hash = STANDARD.encode(digest::digest(&digest::SHA256, style.as_bytes()));
        let forms = match page {
            Page::ConfirmSignOut { .. } => "http: https:",
            _ => "'none'",
        };
        assert_eq!(
            html.csp.to_str().unwrap(),
            format!(
                "default-src 'none'; style-src 'sha256-{hash}'; form-action {forms}; frame-ancestors 'none'; \
                 base-uri 'none'"
            )
        );
    }
}

#[test]
fn hostile_texts_are_escaped_in_every_field() {
    const TAGS: [&str; 12] =
        ["html", "head", "meta", "title", "style", "body", "main", "h1", "h2", "p", "bdi", "footer"];
    const MORE: [&str; 9] = ["code", "a", "aside", "ul", "li", "strong", "form", "button", "!doctype"];
    for hostile in [
        "<script>alert(1)</script>",
        "\"><svg onload=alert(1)>",
        "' onmouseover='alert(1)",
        "</title></style><img src=x>",
        "javascript:alert(1)",
        "https://x.test/\"onclick=\"alert(1)",
        "/'><svg/onload=alert(1)>",
        "{{ 7*7 }}{% raw %}",
        "&lt;script&gt;",
    ] {
        for page in Page::each(|_| hostile) {
            let html = body(page, hostile);
            for tag in html.split('<').skip(1) {
                let name = tag.trim_start_matches('/');
                let name = name.split(['>', ' ', '/']).next().unwrap();
                assert!(TAGS.contains(&name) || MORE.contains(&name), "<{name} of {page:?}");
                let tag = tag.split('>').next().unwrap();
                assert_eq!(tag.matches('"').count() % 2, 0, "<{tag}> of {page:?}");
                assert!(!tag.contains('\''), "<{tag}> of {page:?}");
                assert!(!tag.contains("javascript:"), "<{tag}> of {page:?}");
            }
            let escaped = hostile.replace('&', "&#38;").replace('<', "&#60;").replace('>', "&#62;");
            let escaped = escaped.replace('"', "&#34;").replace('\'', "&#39;");
            assert!(html.contains(&escaped), "{escaped} in {html}");
        }
    }
}

#[track_caller]
fn check_link(url: &str, allowed: bool) {
    assert_eq!(is_link(url), allowed, "{url:?}");
}

#[test]
fn links_lead_to_the_web_or_to_this_host() {
    check_link("https://app.example.test/a?b=c", true);
    check_link("http://app.example.test/", true);
    check_link("/outpost.goauthentik.io/start?rd=%2F", true);
    check_link("/", true);
    check_link("", false);
    check_link("a", false);
    check_link("//evil.test/", false);
    check_link("/\\evil.test/", false);
    check_link("/\t/evil.test/", false);
    check_link("https://app.test/\n", false);
    check_link(" https://app.test/", false);
    check_link("javascript:alert(1)", false);
    check_link("JaVaScRiPt:alert(1)", false);
    check_link("data:text/html,x", false);
    check_link("ftp://app.test/", false);
    check_link("https:app.test", false);
}

#[test]
fn a_refused_url_leaves_its_button_out() {
    for page in Page::each(|_| "javascript:alert(1)") {
        let html = body(page, "id");
        assert!(!html.contains("href=") && !html.contains("<form"), "{page:?}");
    }
}

#[test]
fn codes_are_distinct_and_messages_are_sentences() {
    let pages = Page::samples();
    let codes: std::collections::BTreeSet<_> = pages.iter().map(Page::error_code).collect();
    assert_eq!(codes.len(), 10, "one for each kind");
    for page in pages {
        assert!(page.error_code().bytes().all(|b| b.is_ascii_lowercase() || b == b'_'));
        assert!(page.message().ends_with('.'), "{}", page.message());
    }
}
