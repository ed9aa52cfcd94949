use crate::app::Application;
use crate::forwarded::{ClientHints, OriginalRequest};
use crate::http::request::Received;
use crate::telemetry::RequestId;

/// What is known of a request that was checked.
pub(in crate::http) struct Context<'c> {
    pub(in crate::http) received: &'c Received<'c>,
    /// Where the question was understood.
    pub(in crate::http) original: Option<&'c OriginalRequest<'c>>,
    /// Where it is for one.
    pub(in crate::http) app: Option<&'c Application>,
}

impl Context<'_> {
    /// Whether the client shows pages.
    pub(super) fn html(&self) -> bool {
        match self.original {
            Some(original) => original.client.accepts_html(),
            None => ClientHints::new(&self.received.parts.headers, false).accepts_html(),
        }
    }

    pub(super) fn request_id(&self) -> RequestId {
        self.received.id
    }
}
