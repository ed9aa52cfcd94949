//! How the library reaches a provider's endpoints.

use std::future::Future;
use std::pin::Pin;

use http::StatusCode;
use openidconnect::{AsyncHttpClient, HttpRequest, HttpResponse};
use parking_lot::Mutex;

use super::provider::checked;
use super::tokens::Extras;
use super::{NoAnswer, OidcError, Operation, Provider};

/// Lets the library ask one of a provider's endpoints, and keeps of the answer what the library does not hand on.
pub(super) struct Asker<'p> {
    provider: &'p Provider,
    operation: Operation,
    heard: Mutex<Heard>,
}

/// What the library does not hand on.
#[derive(Default)]
pub(super) struct Heard {
    /// Of an answer that says the server is well.
    pub(super) status: Option<StatusCode>,
    /// Whether that answer has no body.
    pub(super) wordless: bool,
    /// Of an answer with tokens.
    pub(super) extras: Extras,
    /// Whether the provider may have done what it was asked for.
    pub(super) may_be_done: bool,
}

impl<'p> Asker<'p> {
    pub(super) fn new(provider: &'p Provider, operation: Operation) -> Self {
        Self { provider, operation, heard: Mutex::default() }
    }

    pub(super) fn heard(self) -> Heard {
        self.heard.into_inner()
    }

    fn hear(&self, answer: &Result<HttpResponse, NoAnswer>) {
        let may_be_done = match answer {
            Ok(response) => response.status().is_success() || response.status() == StatusCode::GATEWAY_TIMEOUT,
            Err(none) => !matches!(none, NoAnswer::Unsent(_)),
        };
        self.note(|heard| heard.may_be_done = may_be_done);
    }

    fn note(&self, change: impl FnOnce(&mut Heard)) {
        change(&mut self.heard.lock());
    }

    fn hear_well(&self, response: &HttpResponse) {
        let status = response.status();
        let gives_tokens = matches!(self.operation, Operation::Token | Operation::Refresh) && status == StatusCode::OK;
        let extras = if gives_tokens { Extras::parse(response.body()) } else { Extras::default() };
        self.note(|heard| {
            heard.status = Some(status);
            heard.wordless = response.body().is_empty();
            heard.extras = extras;
        });
    }
}

impl<'c> AsyncHttpClient<'c> for Asker<'_> {
    type Error = OidcError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, OidcError>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(async move {
            let answer = self.provider.send(self.operation, request).await;
            self.hear(&answer);
            let response = checked(self.operation, answer?)?;
            self.hear_well(&response);
            Ok(response)
        })
    }
}
