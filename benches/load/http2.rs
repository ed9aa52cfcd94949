//! The side that asks over HTTP/2 without TLS: many streams on a few connections.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, Version};
use http_body_util::Empty;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::Fallible;
use super::duel::Load;
use super::request::{PATH, Question, TOKEN_LENGTH};
use super::sessions::Known;
use super::stats::Dice;

/// Connections to each target.
const CONNECTIONS: usize = 4;

/// Streams at once on each of them.
const STREAMS: usize = 16;

/// What asks: the ready-made headers of each session, and whom they are for.
pub(crate) type Asker = (HeaderMap, Known);

/// The headers of every session.
pub(crate) fn askers(known: &[Known], cookie_name: &str) -> Fallible<Arc<[Asker]>> {
    let zeros = "0".repeat(TOKEN_LENGTH);
    let asker = |known: &Known| {
        let mut headers = HeaderMap::new();
        for (name, value) in Question::Allowed.headers(cookie_name) {
            // In HTTP/2 the authority of the URL takes the place of Host.
            if name != "Host" {
                let value = value.replace(&zeros, std::str::from_utf8(&known.token)?);
                headers.insert(HeaderName::from_bytes(name.as_bytes())?, HeaderValue::from_str(&value)?);
            }
        }
        Ok((headers, known.clone()))
    };
    known.iter().map(asker).collect()
}

/// The connections to one target.
pub(crate) struct Streams {
    runtime: Arc<Runtime>,
    senders: Vec<SendRequest<Empty<Bytes>>>,
    askers: Arc<[Asker]>,
    personal: bool,
    slices: u64,
}

impl Streams {
    /// Connects; `personal`: answers must name the session's user.
    pub(crate) fn open(
        runtime: &Arc<Runtime>,
        address: SocketAddr,
        askers: &Arc<[Asker]>,
        personal: bool,
    ) -> Fallible<Self> {
        let senders = runtime.block_on(async {
            let mut senders = Vec::with_capacity(CONNECTIONS);
            for _ in 0..CONNECTIONS {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
                // A request that waits for its answer gets the error.
                tokio::spawn(async { drop(connection.await) });
                senders.push(sender);
            }
            Fallible::Ok(senders)
        })?;
        Ok(Self { runtime: Arc::clone(runtime), senders, askers: Arc::clone(askers), personal, slices: 0 })
    }

    /// Asks on every stream again as soon as it is answered, for `time`.
    pub(crate) fn closed_loop(&mut self, time: Duration) -> Fallible<Load> {
        let end = Instant::now() + time;
        self.slices += 1;
        let answered = self.runtime.block_on(async {
            let mut streams = JoinSet::new();
            for (at, sender) in (0..).zip(self.senders.iter().cycle().take(CONNECTIONS * STREAMS)) {
                let dice = Dice::new(self.slices << 16 | at);
                streams.spawn(stream(sender.clone(), Arc::clone(&self.askers), self.personal, dice, end));
            }
            let mut answered = 0;
            while let Some(stream) = streams.join_next().await {
                answered += stream??;
            }
            Fallible::Ok(answered)
        })?;
        Ok(Load { answered, latencies: Vec::new() })
    }
}

async fn stream(
    mut sender: SendRequest<Empty<Bytes>>,
    askers: Arc<[Asker]>,
    personal: bool,
    mut dice: Dice,
    end: Instant,
) -> Fallible<u64> {
    let mut answered = 0;
    while Instant::now() < end {
        let (headers, known) = &askers[dice.below(askers.len())];
        let mut request = Request::new(Empty::new());
        *request.version_mut() = Version::HTTP_2;
        *request.uri_mut() = format!("http://forepost:9000{PATH}").parse()?;
        request.headers_mut().clone_from(headers);
        let answer = sender.send_request(request).await?;
        let field = |name: &str| answer.headers().get(name).map(HeaderValue::as_bytes).unwrap_or_default();
        let right = answer.status() == StatusCode::OK
            && field("x-authentik-jwt").len() > known.proof.len()
            && (!personal
                || field("x-authentik-username") == known.user && field("x-authentik-jwt").ends_with(&known.proof));
        if !right {
            return Err(format!("a wrong answer over HTTP/2: {answer:?}").into());
        }
        answered += 1;
    }
    Ok(answered)
}
