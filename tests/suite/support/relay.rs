//! A network between two programs, which a test can cut.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What the network does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Network {
    /// All passes.
    Whole,
    /// Connections end, and new ones too.
    Cut,
    /// Nothing passes in either direction, and neither side is told; what was sent arrives once it is whole again.
    Silent,
    /// What the client sends arrives, and nothing comes back.
    Deaf,
}

/// Accepts connections and passes them on; dropping it ends it.
pub(crate) struct Relay {
    pub(crate) address: SocketAddr,
    network: watch::Sender<Network>,
    task: JoinHandle<()>,
}

impl Relay {
    pub(crate) async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let network = watch::Sender::new(Network::Whole);
        let task = tokio::spawn(accept(listener, server, network.clone()));
        Self { address, network, task }
    }

    pub(crate) fn set(&self, network: Network) {
        self.network.send_replace(network);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, server: SocketAddr, network: watch::Sender<Network>) {
    while let Ok((client, _)) = listener.accept().await {
        let mut network = network.subscribe();
        tokio::spawn(async move {
            let passing = pass(client, server, network.clone());
            tokio::select! {
                // An end of a connection, however it comes, is the end of both.
                _ = passing => {}
                _ = network.wait_for(|network| *network == Network::Cut) => {}
            }
        });
    }
}

async fn pass(client: TcpStream, server: SocketAddr, network: watch::Receiver<Network>) -> std::io::Result<()> {
    let server = TcpStream::connect(server).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
        (client.into_split(), server.into_split());
    let (mut there, mut back) = (network.clone(), network);
    let pass_there = async {
        let mut part = vec![0; 65_536];
        loop {
            let length = from_client.read(&mut part).await?;
            let _ = there.wait_for(|network| matches!(network, Network::Whole | Network::Deaf)).await;
            if length == 0 {
                return to_server.shutdown().await;
            }
            to_server.write_all(&part[..length]).await?;
        }
    };
    let pass_back = async {
        let mut part = vec![0; 65_536];
        loop {
            let length = from_server.read(&mut part).await?;
            let _ = back.wait_for(|network| *network == Network::Whole).await;
            if length == 0 {
                return to_client.shutdown().await;
            }
            to_client.write_all(&part[..length]).await?;
        }
    };
    tokio::try_join!(pass_there, pass_back).map(drop)
}
