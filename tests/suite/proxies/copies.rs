//! Configurations that operators copied, from an earlier example or from authentik's documents: forepost itself sees to it that they
//! open nothing.

use super::front::Front;
use super::hosts;
use super::proxy::{Proxy, edited};
use super::raw;

/// The script that pasted scheme, host and target into one field, in a configuration that took any host.
fn earlier_haproxy(file: &str, text: String) -> String {
    if file == "haproxy.cfg" {
        let kept = text.lines().filter(|line| !line.contains("host_valid") && !line.contains("host_only"));
        let kept: Vec<_> = kept.chain(["# app.example.com"]).collect();
        assert_eq!(kept.len() + 2, text.lines().count());
        return kept.join("\n") + "\n";
    }
    let scheme = "txn.sf:ssl_fc() == 1 and \"https\" or \"http\"";
    let field = |name: &str, value: &str| format!("        [\"{name}\"] = {{ {value} }},\n");
    let url = field("x-original-url", &format!("({scheme}) .. \"://\" .. host .. txn.sf:pathq()"));
    let taken = "    local host = client[\"host\"] and client[\"host\"][0] or \"\"\n";
    let text = edited(&text, "    local host = host_of(client)\n", taken);
    let text = edited(&text, &field("x-forwarded-proto", scheme), "");
    let text = edited(&text, &field("x-forwarded-host", "host"), "");
    edited(&text, &field("x-forwarded-uri", "txn.sf:pathq()"), &url)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_earlier_script_of_haproxy_opens_nothing() {
    let front = Front::with(Proxy::Haproxy, "", earlier_haproxy).await;
    hosts::ask_all(&front).await;
    hosts::saw_no_page(&front);
    let mut alice = front.alice().await;
    alice.get(&front.url("/page?x=/public")).await.is(200);
}

/// The fields of nginx's question that name a host.
const QUESTION: &str = "proxy_set_header Host $host$forepost_port;
        proxy_set_header X-Original-URL $scheme://$host$forepost_port$request_uri;";

/// authentik's documents took the URL's host from a header that nginx does not look at when the request line names another one.
#[tokio::test]
async fn a_url_with_another_host_than_the_question_opens_nothing() {
    let theirs = "proxy_set_header Host $host;
        proxy_set_header X-Original-URL $scheme://$http_host$request_uri;";
    let front = Front::with(Proxy::Nginx, "", |_, text| edited(&text, QUESTION, theirs)).await;
    let there = front.host().replace("app.", "another.");
    let request = format!("GET http://{}/page HTTP/1.1\r\nHost: {there}\r\nConnection: close\r\n\r\n", front.host());
    assert_eq!(raw::status(front.address, &request).await.unwrap(), 403);
    front.application.saw_nothing();
    let mut alice = front.alice().await;
    alice.get(&front.url("/page")).await.is(200);
}

/// As ingress-nginx, which sends the host of its `auth-url`.
#[tokio::test]
async fn a_proxy_may_keep_the_browsers_host_to_itself() {
    let its_own = QUESTION.replace("Host $host$forepost_port", "Host forepost.internal");
    let front = Front::with(Proxy::Nginx, "", |_, text| edited(&text, QUESTION, &its_own)).await;
    let mut alice = front.alice().await;
    alice.get(&front.url("/page")).await.is(200);
    assert_eq!(front.application.take_one().header("x-authentik-username"), "alice");
}
