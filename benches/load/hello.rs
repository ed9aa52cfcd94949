//! A server that says the same to everybody: what hyper itself costs.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::TcpListener;

use super::Fallible;

/// Serves on `address` until the process is killed; `headers` holds one header a line, as they are sent.
pub(crate) fn serve(address: SocketAddr, headers: &str) -> Fallible<()> {
    let parse = |line: &str| {
        let (name, value) = line.split_once(": ").unwrap_or((line.trim_end_matches(':'), ""));
        Ok((HeaderName::from_bytes(name.as_bytes())?, HeaderValue::from_bytes(value.as_bytes())?))
    };
    let headers = headers.lines().map(parse).collect::<Fallible<Arc<[_]>>>()?;
    // The same as the daemon's.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async move {
        let listener = TcpListener::bind(address).await?;
        let protocols = Arc::new(auto::Builder::new(TokioExecutor::new()));
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let (protocols, headers) = (Arc::clone(&protocols), Arc::clone(&headers));
            tokio::spawn(async move {
                let service = service_fn(move |_: Request<Incoming>| {
                    let answer = hello(&headers);
                    async { Ok::<_, Infallible>(answer) }
                });
                // A connection's error is the client's business, and the client looks at every answer.
                drop(protocols.serve_connection(TokioIo::new(stream), service).await);
            });
        }
    })
}

fn hello(headers: &[(HeaderName, HeaderValue)]) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::default());
    answer.headers_mut().extend(headers.iter().cloned());
    answer
}
