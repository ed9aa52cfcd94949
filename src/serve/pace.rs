//! How long a peer may take: the phases of a connection and when each is over.
//!
//! The stream notes what it reads and flushes, the service notes requests and answers, and the connection's driver
//! asks [`Pace::due`]. Nothing here sets a timer for a request: the driver has one for the connection.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};
use std::time::Duration;

use tokio::time::Instant;

use super::limits::Limits;

/// For the last bytes of an answer whose time is over, and for a peer to see that its connection closes.
const GRACE: Duration = Duration::from_secs(1);
/// For a request that an HTTP/1 peer sends while it cannot know yet that we are stopping.
const LAST_CALL: Duration = Duration::from_millis(250);

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
    /// The last answer was ready or has left, the connection opened or began to close.
    quiet_since: AtomicU64,
    /// HTTP/1: when the connection was polled, which is the time of all that happens within.
    polled_at: AtomicU64,
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
            polled_at: AtomicU64::new(1),
            in_flight: AtomicU32::new(0),
            used: AtomicBool::new(false),
            writing: AtomicBool::new(false),
            unread: AtomicBool::new(false),
            http2: AtomicBool::new(false),
            stopping_since: AtomicU64::new(0),
            closing: AtomicBool::new(false),
        }
    }

    /// The connection is polled `now`.
    pub(super) fn tick(&self, now: Instant) {
        self.polled_at.store(self.stamp(now), Relaxed);
    }

    /// A request's head was parsed; `body` says whether more of it may come.
    pub(super) fn begin_request(&self, http2: bool, body: bool) {
        self.in_flight.fetch_add(1, Relaxed);
        self.busy_since.store(self.now(), Relaxed);
        if !http2 {
            self.end_head();
            self.unread.store(body, Relaxed);
        }
    }

    /// The answer to a request is ready, or nobody wants it any more.
    pub(super) fn end_request(&self, http2: bool) {
        self.quiet_since.store(self.now(), Relaxed);
        self.writing.store(!http2, Relaxed);
        self.in_flight.fetch_sub(1, Release);
    }

    /// The first byte of a connection has come.
    pub(super) fn first_byte(&self) {
        self.used.store(true, Relaxed);
    }

    /// A byte of a header section has come.
    pub(super) fn begin_head(&self) {
        if !self.in_head() {
            self.head_since.store(self.now(), Relaxed);
        }
    }

    /// A header section is complete.
    pub(super) fn end_head(&self) {
        self.head_since.store(0, Relaxed);
    }

    /// The peer speaks HTTP/2, and has said no more than that.
    pub(super) fn begin_http2(&self) {
        self.http2.store(true, Relaxed);
        self.end_head();
        self.quiet_since.store(self.now(), Relaxed);
    }

    /// HTTP/1: whether a request is being answered, until its answer has left.
    pub(super) fn is_answering(&self) -> bool {
        self.in_flight.load(Acquire) > 0 || self.writing.load(Relaxed)
    }

    /// What was written has left.
    pub(super) fn flushed(&self) {
        if self.writing.load(Relaxed) && self.in_flight.load(Acquire) == 0 {
            self.writing.store(false, Relaxed);
            self.quiet_since.store(self.now(), Relaxed);
        }
    }

    /// Whether the peer may still be sending what nobody will read: a body, or a header section that was refused.
    pub(super) fn is_unread(&self) -> bool {
        self.unread.load(Relaxed) || self.in_head()
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
        let timeout = if self.used.load(Relaxed) { self.idle_timeout } else { self.header_timeout };
        let last_call = match self.stopping_since.load(Relaxed) {
            0 => None,
            stamp => Some(self.instant(stamp) + LAST_CALL),
        };
        Due::Idle(last_call.into_iter().fold(quiet_since + timeout, Instant::min))
    }

    fn in_head(&self) -> bool {
        self.head_since.load(Relaxed) != 0
    }

    /// The requests of HTTP/2 are answered outside of the connection's own polls.
    fn now(&self) -> u64 {
        if self.is_http2() { self.stamp(Instant::now()) } else { self.polled_at.load(Relaxed) }
    }

    fn stamp(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.start).as_millis()).unwrap_or(u64::MAX - 1) + 1
    }

    fn instant(&self, stamp: u64) -> Instant {
        self.start + Duration::from_millis(stamp.saturating_sub(1))
    }
}
