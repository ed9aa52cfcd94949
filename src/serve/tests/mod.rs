//! Real sockets and short time-outs; every wait is for an event, with [`within`] as its bound.

mod drain;
mod limits;
mod protocols;
mod sockets;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;

use super::connection::respond;
use super::*;
use crate::serve::{Admin, Https, Server};

const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";

/// An event that takes longer never comes.
async fn within<F: Future>(event: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(20), event).await.expect("the event never came")
}

/// Listens nowhere, with limits that no test runs into unless it lowers them.
fn nowhere() -> Server {
    Server {
        name: "test".to_owned(),
        http: None,
        https: None,
        metrics: None,
        unix_socket: None,
        admin: Admin::Off,
        trusted_proxies: Vec::new(),
        max_connections: 100,
        max_header_bytes: 64 * 1024,
        max_headers: 100,
        header_timeout: Duration::from_mins(1),
        request_timeout: Duration::from_mins(1),
        idle_timeout: Duration::from_mins(1),
        tls_handshake_timeout: Duration::from_mins(1),
        shutdown_timeout: Duration::from_mins(1),
        watch: false,
        danger_any_host: false,
    }
}

fn http() -> Server {
    Server { http: Some(([127, 0, 0, 1], 0).into()), ..nowhere() }
}

fn https(certificate: PathBuf, key: PathBuf) -> Server {
    let listen = ([127, 0, 0, 1], 0).into();
    let reload_interval = Duration::from_millis(20);
    Server { https: Some(Https { listen, certificate, key, reload_interval }), ..nowhere() }
}

/// `/` answers with what was seen, `/large` with 16 MiB, `/wait` when [`Script::release`] lets it, `/panic` never; `/echo` streams the body back.
struct Script {
    waiting: Semaphore,
    release: Semaphore,
    closed: mpsc::UnboundedSender<u64>,
}

impl Handler for Script {
    type State = ();

    fn handle_at_once(&self, _head: &Parts, _connection: &Connection) -> ControlFlow<Response<Body>> {
        ControlFlow::Continue(())
    }

    async fn handle(&self, request: Request<Incoming>, (): (), connection: &Connection) -> Response<Body> {
        match request.uri().path() {
            "/wait" => {
                self.waiting.add_permits(1);
                self.release.acquire().await.unwrap().forget();
            }
            "/panic" => panic!("on purpose"),
            "/large" => return Response::new(body::full(vec![0; 16 << 20])),
            "/echo" => return Response::new(body::streamed(request.into_body())),
            _ => {}
        }
        let cookie: usize = request.headers().get_all("cookie").iter().map(http::HeaderValue::len).sum();
        let seen =
            format!("{:?} tls={} before={} cookie={cookie}", request.version(), connection.tls, connection.requests());
        Response::new(body::full(seen))
    }

    fn failed(&self, uri: &Uri, error: HandlerError) -> Response<Body> {
        let mut response = respond(StatusCode::SERVICE_UNAVAILABLE);
        *response.body_mut() = body::full(format!("{} {error:?}", uri.path()));
        response
    }

    fn connection_closed(&self, connection: &Connection) {
        // A test that has ended no longer listens.
        let _ = self.closed.send(connection.requests());
    }
}

/// A server that runs until the test ends.
struct Running {
    script: Arc<Script>,
    closed: mpsc::UnboundedReceiver<u64>,
    shutdown: Shutdown,
    serving: Serving,
    http: Option<SocketAddr>,
    https: Option<SocketAddr>,
    metrics: Option<SocketAddr>,
}

impl Running {
    async fn start(server: Server) -> Self {
        let (sender, closed) = mpsc::unbounded_channel();
        let script = Arc::new(Script { waiting: Semaphore::new(0), release: Semaphore::new(0), closed: sender });
        let shutdown = Shutdown::new(server.shutdown_timeout);
        let listeners = Listeners::bind(&server).await.unwrap();
        let (http, https) = (listeners.http_address(), listeners.https_address());
        let metrics = listeners.metrics_address();
        let serving = listeners.spawn(script.clone(), script.clone(), &shutdown);
        Self { script, closed, shutdown, serving, http, https, metrics }
    }

    async fn connect(&self) -> Wire<TcpStream> {
        Wire(TcpStream::connect(self.http.unwrap()).await.unwrap())
    }

    /// Waits until a request for `/wait` is being handled.
    async fn waiting(&self) {
        within(self.script.waiting.acquire()).await.unwrap().forget();
    }

    async fn stop(self) -> Drained {
        self.shutdown.begin();
        within(self.serving.finished()).await
    }
}

/// HTTP/1.1 by hand.
struct Wire<S>(S);

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        within(self.0.write_all(bytes.as_ref())).await.unwrap();
    }

    /// One answer, head and body; it must have a `Content-Length`.
    async fn receive(&mut self) -> String {
        let mut answer = String::new();
        while !answer.ends_with("\r\n\r\n") {
            answer.push(char::from(within(self.0.read_u8()).await.unwrap()));
        }
        let (_, length) = answer.split_once("content-length: ").unwrap();
        let mut body = vec![0; length.split_once("\r\n").unwrap().0.parse().unwrap()];
        within(self.0.read_exact(&mut body)).await.unwrap();
        answer + std::str::from_utf8(&body).unwrap()
    }

    async fn get(&mut self) -> String {
        self.send(GET).await;
        self.receive().await
    }

    /// What comes until the server closes the connection.
    async fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        within(self.0.read_to_end(&mut rest)).await.unwrap();
        rest
    }

    async fn assert_closed(&mut self) {
        assert_eq!(String::from_utf8_lossy(&self.rest().await), "");
    }
}

/// An HTTP/2 client over `stream`, and the end of its connection.
async fn http2<S>(stream: S) -> (http2::SendRequest<Full<Bytes>>, JoinHandle<hyper::Result<()>>)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (client, connection) = within(http2::handshake(TokioExecutor::new(), TokioIo::new(stream))).await.unwrap();
    (client, tokio::spawn(connection))
}

async fn http2_send(client: &mut http2::SendRequest<Full<Bytes>>, request: http::request::Builder) -> (u16, String) {
    let response = within(client.send_request(request.body(Full::default()).unwrap())).await.unwrap();
    let status = response.status().as_u16();
    let body = within(response.into_body().collect()).await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

async fn http2_get(client: &mut http2::SendRequest<Full<Bytes>>, path: &str) -> (u16, String) {
    http2_send(client, Request::get(format!("http://a{path}"))).await
}

#[track_caller]
fn assert_answer(answer: &str, status: u16, end: &str) {
    assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.ends_with(end), "{answer}");
}
