//! Provider, forepost and proxy, started in the order in which they need each other.

use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use forepost::daemon::Daemon;
use forepost::settings::Settings;
use forepost::telemetry::Log;
use forepost::world::World;
use tokio::net::TcpListener;

use super::configuration::Demo;
use super::provider::Provider;
use super::proxy::Proxy;

/// Everything is on loopback, so this is long.
const READY_WITHIN: Duration = Duration::from_secs(20);

/// All three.
pub(crate) struct Running {
    /// What they were started with.
    pub(crate) demo: Demo,
    /// What forepost is told to write.
    pub(crate) log: Log,
    provider: Provider,
    forepost: Daemon,
    proxy: Proxy,
}

impl Running {
    /// Starts them; the proxy serves on `listener`, which is bound to `address`.
    ///
    /// # Errors
    ///
    /// When one of them cannot start.
    pub(crate) async fn start(listener: TcpListener, address: SocketAddr) -> Result<Self, Box<dyn Error>> {
        let port = address.port();
        let provider = Provider::start(Demo::provider(port)).await?;
        let demo = Demo { port, issuer: provider.issuer().to_owned() };
        let settings = Settings::from_toml(&demo.forepost_toml())?;
        let log = settings.log.clone();
        let forepost = Daemon::start(settings, World::system()).await?;
        let forepost_address = forepost.http_address().ok_or("forepost listens nowhere")?;
        provider.add_client(Demo::client(port, Some(forepost_address)));
        let ready = tokio::time::timeout(READY_WITHIN, forepost.ready());
        ready.await.map_err(|_| "forepost does not get ready for logins")?;
        let proxy = Proxy::serve(listener, None, forepost_address);
        Ok(Self { demo, log, provider, forepost, proxy })
    }

    /// Stops them in an order in which no one of them asks another that has stopped.
    pub(crate) async fn stop(self) {
        self.proxy.stop().await;
        // Whatever was still in flight was a demo.
        let _ = self.forepost.shutdown().await;
        self.provider.stop().await;
    }
}
