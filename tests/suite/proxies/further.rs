//! Headers besides the contract's: the application gets forepost's, or none, whatever the client sends.

use super::front::Front;
use super::headers::spellings;
use super::proxy::Proxy;
use super::raw;

/// The names of both presets, and what alice's value is.
const PRESETS: [(&str, &str); 8] = [
    ("Remote-User", "alice"),
    ("Remote-Groups", "admins,staff"),
    ("Remote-Email", "alice@example.test"),
    ("Remote-Name", "Alice Ärger"),
    ("X-Forwarded-User", "alice"),
    ("X-Forwarded-Groups", "admins,staff"),
    ("X-Forwarded-Email", "alice@example.test"),
    ("X-Forwarded-Preferred-Username", "alice"),
];

/// Requests that pass: with alice's session, and without any.
fn passing(cookies: &str) -> [(&'static str, Vec<&str>, bool); 3] {
    [("/page", vec![cookies], true), ("/public/page", vec![cookies], true), ("/public/page", vec![], false)]
}

/// Sends a client's own `field` with each request that passes; the application gets `value` under `name` where alice is signed
/// in, and none or an empty one where no user is.
async fn only_forepost_is_heard(front: &Front, cookies: &str, field: &str, name: &str, value: &str) {
    // What a client's Connection names is for the proxy alone; forepost's headers are none of that.
    for connection in [None, Some(format!("Connection: {name}"))] {
        for (target, mut headers, signed_in) in passing(cookies) {
            headers.push(field);
            headers.extend(connection.as_deref());
            let request = front.request(&format!("GET {target}"), &headers);
            assert_eq!(raw::status(front.address, &request).await.unwrap(), 200, "{headers:?} {target}");
            let seen = front.application.take_one();
            for (other, value) in &seen.headers {
                let value = String::from_utf8_lossy(value.as_bytes());
                assert!(
                    !value.contains("spoofed") && !value.contains("reverse_proxy"),
                    "{other}, {field} {target}: {seen:#?}"
                );
            }
            assert_eq!(seen.header(name), if signed_in { value } else { "" }, "{name}, {field} {target}");
        }
    }
}

pub(super) async fn presets_come_from_forepost_alone(proxy: Proxy) {
    for (setting, given) in [
        ("", &[][..]),
        ("headers = { presets = [\"remote-user\"] }", &PRESETS[..4]),
        ("headers = { presets = [\"forwarded-user\"] }", &PRESETS[4..]),
    ] {
        let front = Front::with(proxy, setting, |_, text| text).await;
        let cookies = front.cookie_line(&front.alice().await);
        for preset in PRESETS {
            let value = if given.contains(&preset) { preset.1 } else { "" };
            let twice = format!("{0}: spoofed\r\n{0}", preset.0);
            for spelling in spellings(preset.0).into_iter().chain([twice]) {
                only_forepost_is_heard(&front, &cookies, &format!("{spelling}: spoofed"), preset.0, value).await;
            }
        }
    }
}

/// Puts the lines of `examples/README.md` into a file of an example.
pub(super) fn with_documented_lines(proxy: Proxy, file: &str, mut text: String) -> String {
    let path = format!("examples/{}/{file}", proxy.example_name());
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/README.md")).unwrap();
    for block in readme.split(&format!("<!-- {path}, below: ")).skip(1) {
        let (line, block) = block.split_once(" -->\n\n```").unwrap();
        let (_, lines) = block.split_once('\n').unwrap();
        let (lines, _) = lines.split_once("```").unwrap();
        // The marker has no indentation, and the line may stand there twice.
        let anchor =
            text.lines().find(|it| it.trim_start() == line).unwrap_or_else(|| panic!("{path} has no line {line}"));
        let at = text.find(anchor).unwrap() + anchor.len() + 1;
        text.insert_str(at, lines);
    }
    text
}

/// No claim has the password: the application gets no credentials, and the client's own in no case.
pub(super) async fn without_a_password_there_are_no_credentials(proxy: Proxy) {
    let settings = "basic_auth = { password = \"no_such_claim\" }";
    let front = Front::with(proxy, settings, |file, text| with_documented_lines(proxy, file, text)).await;
    let cookies = front.cookie_line(&front.alice().await);
    for spelling in ["Authorization", "authorization", "AUTHORIZATION"] {
        let field = format!("{spelling}: Basic spoofed");
        only_forepost_is_heard(&front, &cookies, &field, "authorization", "").await;
    }
}

pub(super) async fn other_names_come_from_forepost_by_the_documented_lines(proxy: Proxy) {
    let settings = r#"
        basic_auth = { password = "sub" }

        [[application.header]]
        name = "X-WEBAUTH-ROLE"
        groups = [{ group = "admins", value = "Admin" }]
        default = "Viewer"
    "#;
    let front = Front::with(proxy, settings, |file, text| with_documented_lines(proxy, file, text)).await;
    let cookies = front.cookie_line(&front.alice().await);
    for spelling in spellings("X-WEBAUTH-ROLE") {
        only_forepost_is_heard(&front, &cookies, &format!("{spelling}: spoofed"), "x-webauth-role", "Admin").await;
    }
    // alice@example.test:alice
    let credentials = "Basic YWxpY2VAZXhhbXBsZS50ZXN0OmFsaWNl";
    for spelling in spellings("Authorization").into_iter().chain(["authorization".to_owned()]) {
        only_forepost_is_heard(&front, &cookies, &format!("{spelling}: Basic spoofed"), "authorization", credentials)
            .await;
    }
}
