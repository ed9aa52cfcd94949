//! Accepts connections, up to the limit, and goes on when the system has no resources for one.

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

/// The largest backlog: what tokio asks the kernel for.
const BACKLOG: usize = 1024;
/// The pause after an accept that failed because the system has no resources (EMFILE, ENOMEM).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// The least time between two warnings about that.
const WARN_INTERVAL: Duration = Duration::from_secs(10);

/// A socket that accepts connections.
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

/// Accepts until the shutdown, and then serves the connections in the backlog.
///
/// One task accepts for all `listeners`: it holds one permit while it waits, for the first connection on any of them. Without a
/// permit, connections wait in the kernel's backlog.
pub(super) async fn accept<H: Handler>(listeners: Vec<Listener>, permits: Arc<Semaphore>, server: Arc<Server<H>>) {
    let mut turn = 0_usize;
    let mut complaint = Complaint::default();
    loop {
        let next = async {
            let permit = permits.clone().acquire_owned().await;
            let permit = permit.expect("the semaphore is not closed");
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
                    () = tokio::time::sleep(ACCEPT_PAUSE) => {}
                }
            }
        }
    }
    for listener in listeners {
        serve_backlog(listener, &server);
    }
}

/// Serves the connections in the kernel's backlog: for their clients they are open, and a request may have been sent.
///
/// There are at most [`BACKLOG`] of them, so they need no permit, and clients that come back again and again do not prolong the
/// shutdown. Tokio's reactor may not know of them yet, so this asks the system. Not for TLS: the shutdown would end the handshake,
/// and no request comes before it.
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

/// Serves the connections that `accept` gives, until there are no more or more than the backlog can hold.
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

/// Whether the error is that of a connection that ended before it was accepted.
fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::Interrupted)
}

/// Serves a connection in a task of its own, which holds `permit` until it ends or panics.
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

/// Turns `::ffff:a.b.c.d` into an IPv4 address: so the system writes an IPv4 peer on a listener for both families, and configured
/// networks are IPv4.
fn peer(address: SocketAddr) -> Peer {
    Peer::Ip(SocketAddr::new(address.ip().to_canonical(), address.port()))
}

fn no_delay(stream: &TcpStream) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot set TCP_NODELAY");
    }
}

/// Warns about a failing accept once in an interval.
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
