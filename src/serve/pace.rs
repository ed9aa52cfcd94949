//! How long a peer may take: the phases of a connection and when each is over.
//!
//! The stream notes what it reads and flushes, the service notes requests and answers, and the connection's driver
//! asks [`Pace::due`]. Nothing here sets a timer for a request: the driver has one for the connection.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{
    AtomicBool, AtomicU32, AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release,
};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::frames::HeaderBlocks;
use super::limits::Limits;

/// What a client sends first when it speaks HTTP/2 (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// For the last bytes of an answer whose time is over, and for a peer to see that its connection closes.
const GRACE: Duration = Duration::from_secs(1);
/// For a request that an HTTP/1 peer sends while it cannot know yet that we are stopping.
const LAST_CALL: Duration = Duration::from_millis(250);
/// What is read and dropped behind an answer that was given early, so that no reset overtakes the answer.
const LINGER_BYTES: usize = 1 << 20;
const LINGER_TIME: Duration = Duration::from_secs(1);

/// What a connection waits for, and until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// For us: the service has its own limit.
    Answer,
    /// For the rest of a header section, or for the peer to take an answer.
    Cut(Instant),
    /// For a request.
    Idle(Instant),
}

/// What has happened on a connection. Times are milliseconds since its start, plus one; zero is "not".
#[derive(Debug)]
pub(super) struct Pace {
    start: Instant,
    header_timeout: Duration,
    request_timeout: Duration,
    idle_timeout: Duration,
    /// A header section has begun and is not complete.
    head_since: AtomicU64,
    /// The last request began.
    busy_since: AtomicU64,
    /// The last answer was ready, or the connection opened.
    quiet_since: AtomicU64,
    in_flight: AtomicU32,
    /// The first byte has come.
    used: AtomicBool,
    /// HTTP/1: an answer is not yet flushed.
    writing: AtomicBool,
    /// HTTP/1: the peer may be sending what nobody will read.
    unread: AtomicBool,
    http2: AtomicBool,
    stopping_since: AtomicU64,
    closing: AtomicBool,
}

impl Pace {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            start: Instant::now(),
            header_timeout: limits.header_timeout,
            request_timeout: limits.request_timeout,
            idle_timeout: limits.idle_timeout,
            head_since: AtomicU64::new(0),
            busy_since: AtomicU64::new(0),
            quiet_since: AtomicU64::new(1),
            in_flight: AtomicU32::new(0),
            used: AtomicBool::new(false),
            writing: AtomicBool::new(false),
            unread: AtomicBool::new(false),
            http2: AtomicBool::new(false),
            stopping_since: AtomicU64::new(0),
            closing: AtomicBool::new(false),
        }
    }

    /// A request's head was parsed; the answer is being made until the guard is dropped.
    pub(super) fn request(self: &Arc<Self>, http2: bool, body: bool) -> InFlight {
        self.in_flight.fetch_add(1, Relaxed);
        self.busy_since.store(self.now(), Relaxed);
        if !http2 {
            self.head_since.store(0, Relaxed);
            self.unread.store(body, Relaxed);
        }
        InFlight {
            pace: self.clone(),
            http2,
        }
    }

    /// The process stops: an idle connection has little time left.
    pub(super) fn stop(&self) {
        self.stopping_since.store(self.now(), Relaxed);
    }

    /// Whether an answer must say that it is the connection's last.
    pub(super) fn is_stopping(&self) -> bool {
        self.stopping_since.load(Relaxed) != 0
    }

    /// Whether the peer has begun to speak HTTP/2.
    pub(super) fn is_http2(&self) -> bool {
        self.http2.load(Relaxed)
    }

    /// From now on the connection only finishes what it has begun.
    pub(super) fn close(&self) {
        self.closing.store(true, Relaxed);
        if self.in_flight.load(Acquire) == 0 {
            self.quiet_since.store(self.now(), Relaxed);
        }
    }

    /// What the connection waits for at this moment.
    pub(super) fn due(&self) -> Due {
        let head_since = self.head_since.load(Relaxed);
        if head_since != 0 {
            return Due::Cut(self.instant(head_since) + self.header_timeout);
        }
        if self.in_flight.load(Acquire) > 0 {
            return Due::Answer;
        }
        let quiet_since = self.instant(self.quiet_since.load(Relaxed));
        if self.writing.load(Relaxed) {
            let busy_since = self.instant(self.busy_since.load(Relaxed));
            return Due::Cut((busy_since + self.request_timeout).max(quiet_since + GRACE));
        }
        if self.closing.load(Relaxed) {
            return Due::Cut(quiet_since + GRACE);
        }
        let timeout = if self.used.load(Relaxed) {
            self.idle_timeout
        } else {
            self.header_timeout
        };
        let last_call = match self.stopping_since.load(Relaxed) {
            0 => None,
            stamp => Some(self.instant(stamp) + LAST_CALL),
        };
        Due::Idle(
            last_call
                .into_iter()
                .fold(quiet_since + timeout, Instant::min),
        )
    }

    fn in_head(&self) -> bool {
        self.head_since.load(Relaxed) != 0
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX - 1) + 1
    }

    fn instant(&self, stamp: u64) -> Instant {
        self.start + Duration::from_millis(stamp.saturating_sub(1))
    }
}

/// A request being answered.
#[derive(Debug)]
pub(super) struct InFlight {
    pace: Arc<Pace>,
    http2: bool,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.pace.quiet_since.store(self.pace.now(), Relaxed);
        self.pace.writing.store(!self.http2, Relaxed);
        self.pace.in_flight.fetch_sub(1, Release);
    }
}

#[derive(Debug)]
enum Protocol {
    /// So many bytes of the preface have come.
    Unknown(usize),
    Http1,
    Http2(HeaderBlocks),
}

/// A stream that notes its progress, and closes so that the peer gets to see the answer.
#[derive(Debug)]
pub(super) struct Paced<S> {
    inner: S,
    pace: Arc<Pace>,
    protocol: Protocol,
    closed: bool,
    linger: Option<Pin<Box<Sleep>>>,
    lingered: usize,
}

impl<S> Paced<S> {
    pub(super) fn new(inner: S, pace: Arc<Pace>) -> Self {
        Self {
            inner,
            pace,
            protocol: Protocol::Unknown(0),
            closed: false,
            linger: None,
            lingered: 0,
        }
    }

    fn note_read(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let pace = &self.pace;
        let begin_head = || {
            if !pace.in_head() {
                pace.head_since.store(pace.now(), Relaxed);
            }
        };
        match &mut self.protocol {
            Protocol::Unknown(matched) => {
                pace.used.store(true, Relaxed);
                begin_head();
                let common = bytes
                    .iter()
                    .zip(&PREFACE[*matched..])
                    .take_while(|(a, b)| a == b)
                    .count();
                *matched += common;
                if *matched == PREFACE.len() {
                    pace.http2.store(true, Relaxed);
                    pace.head_since.store(0, Relaxed);
                    pace.quiet_since.store(pace.now(), Relaxed);
                    self.protocol = Protocol::Http2(HeaderBlocks::default());
                    self.note_read(&bytes[common..]);
                } else if common < bytes.len() {
                    self.protocol = Protocol::Http1;
                }
            }
            // While a request is being answered, what comes is its body or the next request, which waits anyway.
            Protocol::Http1 => {
                if pace.in_flight.load(Acquire) == 0 && !pace.writing.load(Relaxed) {
                    begin_head();
                }
            }
            Protocol::Http2(blocks) => {
                if blocks.pass(bytes) {
                    pace.head_since.store(0, Relaxed);
                }
                if blocks.in_block() {
                    begin_head();
                }
            }
        }
    }
}

impl<S: AsyncRead + Unpin> Paced<S> {
    /// Reads and drops what the peer still sends, for a short time.
    ///
    /// Closing a socket with unread bytes resets the connection, and the reset makes the peer forget an answer that
    /// it has not read yet (RFC 9112 §9.6).
    fn poll_linger(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if !(self.pace.unread.load(Relaxed) || self.pace.in_head()) {
            return Poll::Ready(());
        }
        let linger = self
            .linger
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(LINGER_TIME)));
        if linger.as_mut().poll(context).is_ready() {
            return Poll::Ready(());
        }
        let mut buffer = [0; 4096];
        while self.lingered < LINGER_BYTES {
            let mut buffer = ReadBuf::new(&mut buffer);
            match ready!(Pin::new(&mut self.inner).poll_read(context, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => self.lingered += buffer.filled().len(),
                Ok(()) | Err(_) => break,
            }
        }
        Poll::Ready(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(context, buffer))?;
        self.note_read(&buffer.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        ready!(Pin::new(&mut self.inner).poll_flush(context))?;
        let pace = &self.pace;
        if pace.writing.load(Relaxed) && pace.in_flight.load(Acquire) == 0 {
            pace.writing.store(false, Relaxed);
            pace.quiet_since.store(pace.now(), Relaxed);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        if !self.closed {
            ready!(Pin::new(&mut self.inner).poll_shutdown(context))?;
            self.closed = true;
        }
        self.poll_linger(context).map(Ok)
    }
}
