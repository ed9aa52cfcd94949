//! Taking connections: how many at once, and what to do when the system gives none.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

use super::connection::Server;
use super::{Handler, Peer};

/// Connections that the kernel keeps for us: what tokio asks for.
const BACKLOG: usize = 1024;
/// After an accept that failed for lack of something (EMFILE, ENOMEM): others must end first.
const BACK_OFF: Duration = Duration::from_millis(100);
/// Least time between two warnings about that.
const WARN_INTERVAL: Duration = Duration::from_secs(10);

/// A socket that takes connections.
pub(super) enum Listener {
    Http(TcpListener),
    Https(TcpListener, TlsAcceptor),
    Unix(UnixListener),
}

enum Accepted {
    Http(TcpStream, SocketAddr),
    Https(TcpStream, SocketAddr, TlsAcceptor),
    Unix(UnixStream),
}

impl Listener {
    fn poll_accept(&self, context: &mut Context<'_>) -> Poll<io::Result<Accepted>> {
        match self {
            Self::Http(listener) => {
                listener.poll_accept(context).map_ok(|(stream, address)| Accepted::Http(stream, address))
            }
            Self::Https(listener, tls) => {
                listener.poll_accept(context).map_ok(|(stream, address)| Accepted::Https(stream, address, tls.clone()))
            }
            Self::Unix(listener) => listener.poll_accept(context).map_ok(|(stream, _)| Accepted::Unix(stream)),
        }
    }
}

/// Accepts until the shutdown, and serves whoever waits in the backlog then.
///
/// One task for all `listeners`, so that the one permit it holds while it waits serves whichever is asked first; with
/// no permit left, connections wait in the kernel's backlog.
pub(super) async fn accept<H: Handler>(listeners: Vec<Listener>, permits: Arc<Semaphore>, server: Arc<Server<H>>) {
    let mut turn = 0_usize;
    let mut complaint = Complaint::default();
    loop {
        let next = async {
            let permit = permits.clone().acquire_owned().await;
            let permit = permit.expect("nobody closes the semaphore");
            turn = turn.wrapping_add(1);
            let accepted = std::future::poll_fn(|context| {
                let (before, from) = listeners.split_at(turn % listeners.len().max(1));
                let ready = from.iter().chain(before).find_map(|listener| match listener.poll_accept(context) {
                    Poll::Ready(accepted) => Some(accepted),
                    Poll::Pending => None,
                });
                ready.map_or(Poll::Pending, Poll::Ready)
            });
            (permit, accepted.await)
        };
        let (permit, accepted) = tokio::select! {
            () = server.shutdown.begun() => break,
            next = next => next,
        };
        match accepted {
            Ok(accepted) => spawn(accepted, &server, Some(permit)),
            Err(error) if is_gone(&error) => {
                tracing::debug!(%error, "a connection was gone before it was accepted");
            }
            Err(error) => {
                complaint.about(&error);
                tokio::select! {
                    () = server.shutdown.begun() => break,
                    () = tokio::time::sleep(BACK_OFF) => {}
                }
            }
        }
    }
    for listener in listeners {
        serve_backlog(listener, &server);
    }
}

/// Takes what the kernel has accepted for us: to its clients it is a connection, and they may have asked already.
///
/// There are no more of them than [`BACKLOG`], so they need no permit, and who comes back again and again does not keep
/// us here. The reactor may not have heard of them
/// yet, so the system itself is asked. A TLS handshake would be cut short anyway, and nothing was asked before it.
fn serve_backlog<H: Handler>(listener: Listener, server: &Arc<Server<H>>) {
    let result = match listener {
        Listener::Https(..) => return,
        Listener::Http(listener) => listener.into_std().and_then(|listener| {
            take_all(
                || {
                    let (stream, address) = listener.accept()?;
                    stream.set_nonblocking(true)?;
                    Ok(Accepted::Http(TcpStream::from_std(stream)?, address))
                },
                server,
            )
        }),
        Listener::Unix(listener) => listener.into_std().and_then(|listener| {
            take_all(
                || {
                    let (stream, _) = listener.accept()?;
                    stream.set_nonblocking(true)?;
                    Ok(Accepted::Unix(UnixStream::from_std(stream)?))
                },
                server,
            )
        }),
    };
    if let Err(error) = result {
        tracing::warn!(%error, "connections that waited to be accepted are lost");
    }
}

/// Serves what `accept` gives until there is no more, or no more that can have been in the backlog.
fn take_all<H: Handler>(accept: impl Fn() -> io::Result<Accepted>, server: &Arc<Server<H>>) -> io::Result<()> {
    for _ in 0..BACKLOG {
        match accept() {
            Ok(accepted) => spawn(accepted, server, None),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) if is_gone(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Whether it is the connection's own end, before we had it.
fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::Interrupted)
}

/// Serves what was accepted in a task of its own; `permit` goes back when that task ends, however it ends.
fn spawn<H: Handler>(accepted: Accepted, server: &Arc<Server<H>>, permit: Option<OwnedSemaphorePermit>) {
    let task_server = server.clone();
    server.tasks.spawn(async move {
        let _permit = permit;
        let server = task_server;
        match accepted {
            Accepted::Http(stream, address) => {
                no_delay(&stream);
                server.serve(stream, peer(address), false).await;
            }
            Accepted::Https(stream, address, tls) => {
                no_delay(&stream);
                server.serve_tls(stream, peer(address), tls).await;
            }
            Accepted::Unix(stream) => {
                let uid = stream.peer_cred().ok().map(|it| it.uid());
                server.serve(stream, Peer::UnixSocket { uid }, false).await;
            }
        }
    });
}

/// An IPv4 peer on a listener for both families comes as `::ffff:a.b.c.d`; whoever compares addresses means IPv4.
fn peer(address: SocketAddr) -> Peer {
    Peer::Ip(SocketAddr::new(address.ip().to_canonical(), address.port()))
}

fn no_delay(stream: &TcpStream) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot set TCP_NODELAY");
    }
}

/// Warns about a state that lasts, without filling the log.
#[derive(Default)]
struct Complaint {
    last: Option<Instant>,
    unsaid: u64,
}

impl Complaint {
    fn about(&mut self, error: &io::Error) {
        if self.last.is_some_and(|last| last.elapsed() < WARN_INTERVAL) {
            self.unsaid += 1;
            return;
        }
        tracing::warn!(%error, further = self.unsaid, "cannot accept connections for the moment");
        *self = Self { last: Some(Instant::now()), unsaid: 0 };
    }
}
