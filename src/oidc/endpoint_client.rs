//! The HTTP client that the library uses for a provider's endpoints.

use std::future::Future;
use std::pin::Pin;

use http::StatusCode;
use openidconnect::{AsyncHttpClient, HttpRequest, HttpResponse};
use parking_lot::Mutex;

use super::provider::checked;
use super::token_response::Extras;
use super::{NoAnswer, OidcError, Operation, Provider};

/// Sends the library's request to an endpoint, and keeps details of the answer that the library does not hand on.
pub(super) struct EndpointClient<'p> {
    provider: &'p Provider,
    operation: Operation,
    details: Mutex<AnswerDetails>,
}

/// Details of an answer that the library does not hand on.
#[derive(Default)]
pub(super) struct AnswerDetails {
    /// `None`: there is no answer, or one that says that the server is ill.
    pub(super) status: Option<StatusCode>,
    /// Whether the answer has no body.
    pub(super) is_empty: bool,
    /// The optional members of an answer with tokens.
    pub(super) extras: Extras,
    /// Whether the provider may have acted on the request, and so may have spent the refresh token in it.
    pub(super) may_have_acted: bool,
}

impl<'p> EndpointClient<'p> {
    pub(super) fn new(provider: &'p Provider, operation: Operation) -> Self {
        Self { provider, operation, details: Mutex::default() }
    }

    pub(super) fn details(self) -> AnswerDetails {
        self.details.into_inner()
    }

    fn note_arrival(&self, answer: &Result<HttpResponse, NoAnswer>) {
        let may_have_acted = match answer {
            Ok(response) => response.status().is_success() || response.status() == StatusCode::GATEWAY_TIMEOUT,
            Err(none) => !matches!(none, NoAnswer::Unsent(_)),
        };
        self.note(|details| details.may_have_acted = may_have_acted);
    }

    fn note(&self, change: impl FnOnce(&mut AnswerDetails)) {
        change(&mut self.details.lock());
    }

    fn note_details(&self, response: &HttpResponse) {
        let status = response.status();
        let gives_tokens = matches!(self.operation, Operation::Token | Operation::Refresh) && status == StatusCode::OK;
        let extras = if gives_tokens { Extras::parse(response.body()) } else { Extras::default() };
        self.note(|details| {
            details.status = Some(status);
            details.is_empty = response.body().is_empty();
            details.extras = extras;
        });
    }
}

impl<'c> AsyncHttpClient<'c> for EndpointClient<'_> {
    type Error = OidcError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, OidcError>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(async move {
            let answer = self.provider.send(self.operation, request).await;
            self.note_arrival(&answer);
            let response = checked(self.operation, answer?)?;
            self.note_details(&response);
            Ok(response)
        })
    }
}
