//! What the application gets as `Connection`, whatever the client says there: another server on the way to the application takes out
//! what that names, and it must not be what forepost says.

use http::header::CONNECTION;

use super::application::Seen;
use super::front::Front;
use super::proxy::Proxy;
use super::raw;

/// Identity headers, and what else an application believes of the proxy.
const NAMED: [&str; 6] = [
    "X-Authentik-Username",
    "x-authentik-groups",
    "X-AUTHENTIK-JWT",
    "Remote-User",
    "X-Forwarded-User",
    "Authorization",
];

/// All that a proxy may say there for itself.
fn names_none(seen: &Seen) -> bool {
    let fields = seen.headers.get_all(CONNECTION).iter().map(|field| field.to_str().unwrap().to_ascii_lowercase());
    let all = fields.collect::<Vec<_>>().join(",");
    let mut names = all.split(',').map(str::trim).filter(|it| !it.is_empty());
    names.all(|name| matches!(name, "close" | "keep-alive" | "upgrade"))
}

pub(super) async fn names_no_header(proxy: Proxy) {
    let front = Front::start(proxy).await;
    let cookies = front.cookie_line(&front.alice().await);
    let host = front.host();
    for named in NAMED {
        for fields in [
            format!("Connection: close, {named}"),
            format!("Connection: {named},close"),
            format!("Connection: close\r\nConnection: {named}"),
            format!("Connection: {named}\r\nConnection: close"),
            format!("Connection: close\r\nProxy-Connection: {named}"),
            format!("connection:\tclose ,\t{named}\t"),
        ] {
            let request = format!("GET /page HTTP/1.1\r\nHost: {host}\r\n{cookies}\r\n{fields}\r\n\r\n");
            assert_eq!(raw::status(front.address, &request).await.unwrap(), 200, "{fields}");
            let seen = front.application.take_one();
            assert!(names_none(&seen), "{fields}: {seen:#?}");
            assert_eq!(seen.header("x-authentik-username"), "alice", "{fields}");
            assert_eq!(seen.header("proxy-connection"), "", "{fields}");
        }
        // A WebSocket has to name its upgrade.
        for fields in [format!("Connection: Upgrade, {named}"), format!("Connection: {named}\r\nConnection: Upgrade")] {
            let request = format!(
                "GET /page HTTP/1.1\r\nHost: {host}\r\n{cookies}\r\n{fields}\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            );
            let (stream, (status, head)) = raw::exchange(front.address, &request).await.unwrap();
            assert_eq!(status, 101, "{fields}: {head}");
            drop(stream);
            let seen = front.application.take_one();
            assert!(names_none(&seen), "{fields}: {seen:#?}");
            assert_eq!(seen.header("x-authentik-username"), "alice", "{fields}");
        }
    }
}
