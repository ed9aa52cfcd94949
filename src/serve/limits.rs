//! Passes the operator's limits to hyper.

use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyper_util::server::conn::auto;

use super::Server;

/// hyper's own limit on header fields.
const HYPER_HEADERS: usize = 100;
/// hyper's smallest buffer.
const LEAST_BUFFER: usize = 8192;
/// Added to a field's name and value when HTTP/2 counts a header list (RFC 9113 §6.5.2).
const HTTP2_FIELD_OVERHEAD: usize = 32;
/// Requests that a peer may have open on one HTTP/2 connection.
const HTTP2_STREAMS: u32 = 200;
/// Streams that a peer may reset before hyper accepts them; more is the "rapid reset" attack (CVE-2023-44487).
const HTTP2_PENDING_RESETS: usize = 32;
/// Request bodies are not read, or small, so the window is the initial one of RFC 9113 §6.9.2.
const HTTP2_WINDOW: u32 = 65_535;
/// The interval of pings to a silent HTTP/2 peer, and the time for its answer.
const HTTP2_PING_INTERVAL: Duration = Duration::from_mins(1);
const HTTP2_PING_TIMEOUT: Duration = Duration::from_secs(20);

/// The limits of one connection.
#[derive(Clone, Debug)]
pub(super) struct Limits {
    pub(super) header_timeout: Duration,
    pub(super) request_timeout: Duration,
    pub(super) idle_timeout: Duration,
    pub(super) tls_handshake_timeout: Duration,
    pub(super) max_headers: usize,
    pub(super) max_header_bytes: usize,
}

impl Limits {
    pub(super) fn new(server: &Server) -> Self {
        Self {
            header_timeout: server.header_timeout,
            request_timeout: server.request_timeout,
            idle_timeout: server.idle_timeout,
            tls_handshake_timeout: server.tls_handshake_timeout,
            max_headers: server.max_headers,
            max_header_bytes: server.max_header_bytes,
        }
    }

    /// A hyper server for both protocols on one port.
    ///
    /// hyper's time-out for HTTP/1 is off, because it counts idle time and header time together; `Pace` separates them.
    pub(super) fn protocols(&self) -> auto::Builder<TokioExecutor> {
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(None)
            .max_buf_size(self.max_header_bytes.max(LEAST_BUFFER))
            // A complete request gets its answer, also if its sender has closed its direction.
            .half_close(true)
            .writev(false);
        // With a number, hyper allocates room for so many fields with each request, so it gets only a number above its own limit.
        if self.max_headers > HYPER_HEADERS {
            builder.http1().max_headers(self.max_headers);
        }
        let header_list = self.max_header_bytes.saturating_add(self.max_headers.saturating_mul(HTTP2_FIELD_OVERHEAD));
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_header_list_size(u32::try_from(header_list).unwrap_or(u32::MAX))
            .max_concurrent_streams(HTTP2_STREAMS)
            .max_pending_accept_reset_streams(HTTP2_PENDING_RESETS)
            .initial_stream_window_size(HTTP2_WINDOW)
            .initial_connection_window_size(HTTP2_WINDOW)
            .keep_alive_interval(HTTP2_PING_INTERVAL)
            .keep_alive_timeout(HTTP2_PING_TIMEOUT);
        builder
    }
}
