//! STAND-IN for `forepost::daemon` until the library has it; delete this file then.
//!
//! Everybody is alice. It exists so that the rest of the demo compiles and can be looked at.

#![expect(
    clippy::unnecessary_wraps,
    reason = "has the signatures of what it stands for"
)]

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use forepost::world::World;
use http::{HeaderValue, StatusCode};

use super::web::{self, HangUp, Server};

/// What `forepost::settings::Settings` will be.
#[derive(Debug)]
pub(crate) struct Settings;

impl Settings {
    /// Reads nothing.
    pub(crate) fn from_toml(_: &str) -> io::Result<Self> {
        Ok(Self)
    }
}

/// What `forepost::daemon::Daemon` will be.
#[derive(Debug)]
pub(crate) struct Daemon {
    address: SocketAddr,
    server: Server,
}

impl Daemon {
    /// Starts a server that lets everybody through as alice.
    pub(crate) async fn start(_: Settings, _: World) -> io::Result<Self> {
        let (listener, address) = web::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?;
        let server = Server::run(listener, None, |_, _| async {
            let mut answer = web::text(StatusCode::OK, "STAND-IN, not forepost");
            for (name, value) in [
                ("x-authentik-username", "alice"),
                ("x-authentik-name", "Alice Ärger"),
                ("x-authentik-groups", "admins|staff"),
                ("x-authentik-entitlements", ""),
            ] {
                if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
                    answer.headers_mut().insert(name, value);
                }
            }
            Ok::<_, HangUp>(answer)
        });
        Ok(Self { address, server })
    }

    pub(crate) fn http_address(&self) -> Option<SocketAddr> {
        Some(self.address)
    }

    pub(crate) async fn shutdown(self) {
        self.server.stop().await;
    }
}
