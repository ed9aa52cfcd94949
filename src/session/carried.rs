//! From the cookies of a request to the sessions of an application, to end them.

use std::sync::Arc;
use std::vec;

use http::HeaderMap;

use super::{Realm, Session, SessionStore, SessionToken, StoreError};
use crate::cookie::CookieName;

/// The sessions of one realm that a request carries, one after the other, also those that have ended.
///
/// Where one cookie domain lies within another, cookies of both may have one name. Sessions of another application are left
/// out.
pub struct CarriedSessions<'s> {
    store: &'s dyn SessionStore,
    realm: &'s Realm,
    tokens: vec::IntoIter<SessionToken>,
    are_all: bool,
}

impl<'s> CarriedSessions<'s> {
    /// The sessions of `realm` behind the cookies called `name`, up to two hundred.
    #[must_use]
    pub fn new(store: &'s dyn SessionStore, realm: &'s Realm, name: &CookieName, headers: &HeaderMap) -> Self {
        let (tokens, are_all) = SessionToken::ending(name, headers);
        Self { store, realm, tokens: tokens.into_iter(), are_all }
    }

    /// Whether the request has no more tokens than these.
    #[must_use]
    pub const fn are_all(&self) -> bool {
        self.are_all
    }

    /// The next one.
    ///
    /// # Errors
    ///
    /// When the store does not answer.
    pub async fn next(&mut self) -> Result<Option<(SessionToken, Arc<Session>)>, StoreError> {
        for token in &mut self.tokens {
            if let Some(session) = self.store.load(&token).await?.filter(|session| session.is_of(self.realm)) {
                return Ok(Some((token, session)));
            }
        }
        Ok(None)
    }
}
