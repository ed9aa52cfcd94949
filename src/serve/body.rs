//! Bodies of answers.

use std::error::Error;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Either, Full};

/// What can go wrong while a body is streamed; the connection ends then.
pub type BodyError = Box<dyn Error + Send + Sync>;

/// The body of an answer: empty or complete, without an allocation of its own, or streamed.
pub type Body = Either<Full<Bytes>, UnsyncBoxBody<Bytes, BodyError>>;

/// No body.
#[must_use]
pub fn empty() -> Body {
    Either::Left(Full::default())
}

/// A body that is complete.
pub fn full(content: impl Into<Bytes>) -> Body {
    Either::Left(Full::new(content.into()))
}

/// A body that is sent as it comes.
pub fn streamed<B>(body: B) -> Body
where
    B: hyper::body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BodyError>,
{
    Either::Right(body.map_err(Into::into).boxed_unsync())
}
