//! Proxies that do not hand the browser's `Host` on to forepost's own pages.

use http::Method;

use super::application::PAGE;
use super::front::Front;
use super::proxy::Proxy;

/// The example, where forepost's own pages are handed on with `host` in place of the browser's; `None`: as the proxy does it
/// without a setting.
fn rewritten(proxy: Proxy, file: &str, text: String, host: Option<&str>) -> String {
    let (marker, line) = match (proxy, file) {
        (Proxy::Nginx | Proxy::DistroNginx, "forepost.conf") => {
            ("location /outpost.goauthentik.io/ {", "proxy_set_header Host $host$forepost_port;")
        }
        (Proxy::Caddy, "Caddyfile") => {
            ("reverse_proxy /outpost.goauthentik.io/*", "reverse_proxy /outpost.goauthentik.io/* forepost:9000")
        }
        _ => return text,
    };
    let (before, pages) = text.split_at(text.find(marker).unwrap());
    assert!(pages.contains(line), "{pages}");
    let instead = match proxy {
        // What Caddy does by itself from 2.11 on where forepost is asked over https.
        Proxy::Caddy => format!("{line} {{\nheader_up Host {}\n}}\n", host.unwrap_or("{upstream_hostport}")),
        _ => host.map(|host| format!("proxy_set_header Host {host};")).unwrap_or_default(),
    };
    format!("{before}{}", pages.replacen(line, &instead, 1))
}

/// Signs in, out and in again, where `Host` is the proxy's name for forepost, which no application has.
async fn works(proxy: Proxy) {
    let front = Front::with(proxy, "", |file, text| rewritten(proxy, file, text, None)).await;
    let mut browser = front.browser();
    front.sign_in(&mut browser, &front.url("/page"), "alice").await.is(200).contains(PAGE);
    let before = browser.clone();
    let sign_out = front.url("/outpost.goauthentik.io/sign_out");
    let leaving = browser.send(Method::GET, &sign_out, &[("sec-fetch-site", "same-origin")], None).await;
    assert!(leaving.is(302).header("location").starts_with(&front.provider.issuer), "{leaving:#?}");
    before.clone().fetch(&front.url("/page")).await.is(401);
    front.sign_in(&mut front.browser(), &front.url("/page"), "alice").await.is(200).contains(PAGE);
}

/// `Host` is that of another application: no user is sent round in circles, or signed out somewhere else.
async fn is_refused(proxy: Proxy) {
    let another = Some("another.localhost:8080");
    let front = Front::with(proxy, "", |file, text| rewritten(proxy, file, text, another)).await;
    for path in ["start?rd=/", "callback?code=x&state=y", "sign_out", "signed_out"] {
        let page = front.browser().get(&front.url(&format!("/outpost.goauthentik.io/{path}"))).await;
        page.is(400).contains("two different applications");
    }
    front.application.saw_nothing();
}

#[tokio::test]
async fn nginx_without_a_host_line() {
    works(Proxy::Nginx).await;
    works(Proxy::DistroNginx).await;
}

#[tokio::test]
async fn caddy_with_the_upstreams_host() {
    works(Proxy::Caddy).await;
}

#[tokio::test]
async fn the_host_of_another_application_is_refused() {
    is_refused(Proxy::Nginx).await;
    is_refused(Proxy::Caddy).await;
}
