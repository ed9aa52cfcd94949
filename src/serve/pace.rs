//! The deadlines of a connection: its phases, and when each of them is over.
//!
//! The stream records what it reads and flushes, and the service records requests and answers. The driver of the connection
//! asks [`Pace::due`]; it has one timer for the connection, and none for a request.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};
use std::time::Duration;

use tokio::time::Instant;

use super::limits::Limits;

/// The time for the last bytes of an answer after its deadline, and for a peer to see that its connection closes.
const GRACE: Duration = Duration::from_secs(1);
/// The time for a request that an HTTP/1 peer sends before it can know of the shutdown.
const LAST_REQUEST_TIME: Duration = Duration::from_millis(250);

/// What a connection waits for, and its deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// For forepost's answer; the service has a limit of its own.
    Answer,
    /// For the rest of a header section, or for the peer to take an answer.
    Cut(Instant),
    /// For a request.
    Idle(Instant),
}

/// The state of a connection. Times are milliseconds since its start, plus one; zero means that it did not happen.
#[derive(Debug)]
pub(super) struct Pace {
    start: Instant,
    header_timeout: Duration,
    request_timeout: Duration,
    idle_timeout: Duration,
    /// When the header section began that is not complete.
    head_since: AtomicU64,
    /// When the last request began.
    busy_since: AtomicU64,
    /// When the last answer was ready or flushed, or the connection opened or began to close.
    quiet_since: AtomicU64,
    /// HTTP/1: when the connection was polled, which is the time of all events in that poll.
    polled_at: AtomicU64,
    in_flight: AtomicU32,
    /// Whether the first byte has come.
    used: AtomicBool,
    /// HTTP/1: whether an answer is not flushed yet.
    writing: AtomicBool,
    /// HTTP/1: whether the peer may be sending bytes that are not read.
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

    /// Records that the connection is polled `now`.
    pub(super) fn tick(&self, now: Instant) {
        self.polled_at.store(self.stamp(now), Relaxed);
    }

    /// Records that the head of a request was parsed; with `body`, more of the request may come.
    pub(super) fn begin_request(&self, http2: bool, body: bool) {
        self.in_flight.fetch_add(1, Relaxed);
        self.busy_since.store(self.now(), Relaxed);
        if !http2 {
            self.end_head();
            self.unread.store(body, Relaxed);
        }
    }

    /// Records that the answer to a request is ready, or was cancelled.
    pub(super) fn end_request(&self, http2: bool) {
        self.quiet_since.store(self.now(), Relaxed);
        self.writing.store(!http2, Relaxed);
        self.in_flight.fetch_sub(1, Release);
    }

    /// Records the first byte of the connection.
    pub(super) fn first_byte(&self) {
        self.used.store(true, Relaxed);
    }

    /// Records a byte of a header section.
    pub(super) fn begin_head(&self) {
        if !self.in_head() {
            self.head_since.store(self.now(), Relaxed);
        }
    }

    /// Records that a header section is complete.
    pub(super) fn end_head(&self) {
        self.head_since.store(0, Relaxed);
    }

    /// Records the HTTP/2 preface.
    pub(super) fn begin_http2(&self) {
        self.http2.store(true, Relaxed);
        self.end_head();
        self.quiet_since.store(self.now(), Relaxed);
    }

    /// HTTP/1: whether a request is in progress, until its answer is flushed.
    pub(super) fn is_answering(&self) -> bool {
        self.in_flight.load(Acquire) > 0 || self.writing.load(Relaxed)
    }

    /// Records that all written bytes are flushed.
    pub(super) fn flushed(&self) {
        if self.writing.load(Relaxed) && self.in_flight.load(Acquire) == 0 {
            self.writing.store(false, Relaxed);
            self.quiet_since.store(self.now(), Relaxed);
        }
    }

    /// Whether the peer may still be sending bytes that are not read: a body, or a refused header section.
    pub(super) fn is_unread(&self) -> bool {
        self.unread.load(Relaxed) || self.in_head()
    }

    /// Records that the process stops; an idle connection then has little time left.
    pub(super) fn stop(&self) {
        self.stopping_since.store(self.now(), Relaxed);
    }

    /// Whether an answer must say that it is the last one on the connection.
    pub(super) fn is_stopping(&self) -> bool {
        self.stopping_since.load(Relaxed) != 0
    }

    /// Whether the peer speaks HTTP/2.
    pub(super) fn is_http2(&self) -> bool {
        self.http2.load(Relaxed)
    }

    /// Records that the connection only finishes the requests that have begun.
    pub(super) fn close(&self) {
        self.closing.store(true, Relaxed);
        if self.in_flight.load(Acquire) == 0 {
            self.quiet_since.store(self.now(), Relaxed);
        }
    }

    /// What the connection waits for now.
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
            stamp => Some(self.instant(stamp) + LAST_REQUEST_TIME),
        };
        Due::Idle(last_call.into_iter().fold(quiet_since + timeout, Instant::min))
    }

    fn in_head(&self) -> bool {
        self.head_since.load(Relaxed) != 0
    }

    /// HTTP/2 answers requests outside of the connection's own polls.
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
