//! From the cookies of a request to the session of an application.

use std::iter::Chain;
use std::ops::ControlFlow::{self, Break, Continue};
use std::sync::Arc;
use std::{option, vec};

use http::HeaderMap;

use super::outpost::Outpost;
use super::request::Received;
use crate::app::Application;
use crate::refresh::Confirmation;
use crate::session::{Session, SessionToken, StoreError};
use crate::world::UnixTime;

/// A session and the token that opened it.
pub(super) struct TokenAndSession {
    pub(super) token: SessionToken,
    pub(super) session: Arc<Session>,
}

/// Why it is not known whether a request has a session.
#[derive(Debug, thiserror::Error)]
pub(super) enum SessionError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the provider does not say whether it still vouches for the user")]
    Unconfirmed,
}

/// The session that a search found, or why it is not known whether there is one.
pub(super) type Found = Result<Option<TokenAndSession>, SessionError>;

/// What a search for a session waits for.
enum Need {
    /// What the store has behind a token.
    Load(SessionToken),
    /// The end of these sessions, which are of different users.
    End(Vec<TokenAndSession>),
    /// The provider's word on a session that counts only after it.
    Confirm(TokenAndSession),
    /// An ID token in the place of one that has ended.
    Renew(TokenAndSession),
}

/// The search for the valid session of an application that a request carries; of several cookies of one user, any that is
/// good.
///
/// It never waits: [`Search::advance`] notes what it needs, and [`Outpost::fetch_session`] gets it.
pub(super) struct Search {
    /// Those that were not looked at yet.
    tokens: Chain<option::IntoIter<SessionToken>, vec::IntoIter<SessionToken>>,
    /// The first valid session; nearly all requests have no other.
    first: Option<TokenAndSession>,
    others: Vec<TokenAndSession>,
    /// Whether what is left of these is to be confirmed.
    is_confirming: bool,
    /// Whether the provider said nothing about one of them.
    is_unconfirmed: bool,
    /// What it waits for.
    need: Option<Need>,
}

impl Search {
    /// Looks at the cookies: at none of them where there are more than could be looked at.
    pub(super) fn new(app: &Application, headers: &HeaderMap) -> Self {
        let name = app.cookies.session();
        let mut every = SessionToken::every(name, headers);
        let (first, more) = match (every.next(), every.next()) {
            (Some(_), Some(_)) => (None, SessionToken::letting_in(name, headers)),
            (first, _) => (first, Vec::new()),
        };
        Self {
            tokens: first.into_iter().chain(more),
            first: None,
            others: Vec::new(),
            is_confirming: false,
            is_unconfirmed: false,
            need: None,
        }
    }

    /// Goes on as far as memory goes; `None`: it waits for something.
    pub(super) fn advance(&mut self, outpost: &Outpost, app: &Application, now: UnixTime) -> Option<Found> {
        if self.need.is_some() {
            return None;
        }
        match self.step(outpost, app, now) {
            Continue(found) => Some(found),
            Break(need) => {
                self.need = Some(need);
                None
            }
        }
    }

    fn step(&mut self, outpost: &Outpost, app: &Application, now: UnixTime) -> ControlFlow<Need, Found> {
        if let Some(token) = self.look_in_memory(outpost, app, now) {
            return Break(Need::Load(token));
        }
        if !self.is_confirming {
            self.is_confirming = true;
            // One of them was planted by another host under the same domain. Were they to stay, the browser would bring both
            // after each login.
            if !self.are_of_one_user() {
                return Break(Need::End(self.first.take().into_iter().chain(self.others.drain(..)).collect()));
            }
            if let Some(held) = self.take_confirmed(app, now) {
                let awaits_id_token =
                    app.headers.jwt && outpost.refresher.awaits_id_token(&held.token, &held.session, now);
                return if awaits_id_token { Break(Need::Renew(held)) } else { Continue(Ok(Some(held))) };
            }
        }
        match self.first.take().or_else(|| (!self.others.is_empty()).then(|| self.others.remove(0))) {
            Some(held) => Break(Need::Confirm(held)),
            None if self.is_unconfirmed => Continue(Err(SessionError::Unconfirmed)),
            None => Continue(Ok(None)),
        }
    }

    /// Takes the valid sessions out of memory; the first token that only the store can tell about.
    fn look_in_memory(&mut self, outpost: &Outpost, app: &Application, now: UnixTime) -> Option<SessionToken> {
        while let Some(token) = self.tokens.next() {
            match outpost.store.cached(&token) {
                Some(session) => self.consider(outpost, app, token, session, now),
                // Whatever the store says of it, if it says anything.
                None if outpost.refresher.has_ended(&token) => {}
                None => return Some(token),
            }
        }
        None
    }

    /// Keeps a session that counts, or may count once the provider was asked.
    fn consider(
        &mut self,
        outpost: &Outpost,
        app: &Application,
        token: SessionToken,
        session: Arc<Session>,
        now: UnixTime,
    ) {
        if !session.may_count_for(&app.realm, &app.wanted_claims, now) || outpost.refresher.has_ended(&token) {
            return;
        }
        let held = TokenAndSession { token, session };
        if self.first.is_none() {
            self.first = Some(held);
        } else {
            self.others.push(held);
        }
    }

    /// Whether the sessions do not contradict each other.
    fn are_of_one_user(&self) -> bool {
        let first = self.first.as_ref();
        self.others.iter().all(|other| first.is_none_or(|first| first.session.is_of_user_of(&other.session)))
    }

    /// Takes the first session that counts without the provider.
    fn take_confirmed(&mut self, app: &Application, now: UnixTime) -> Option<TokenAndSession> {
        let counts = |held: &mut TokenAndSession| !held.session.needs_confirmation(&app.wanted_claims, now);
        self.first.take_if(counts).or_else(|| {
            let at = self.others.iter_mut().position(counts)?;
            Some(self.others.remove(at))
        })
    }
}

impl Outpost {
    /// Gets what a search waits for; the session, where it is found by that.
    pub(super) async fn fetch_session(
        &self,
        search: &mut Search,
        app: &Arc<Application>,
        received: &Received<'_>,
    ) -> Found {
        match search.need.take() {
            None => {}
            Some(Need::Load(token)) => self.load(search, token, app).await?,
            Some(Need::End(held)) => {
                let sessions = held.iter().map(|held| (&held.token, &*held.session));
                self.refresher.end_all(app, sessions, "two_users", &received.asker()).await;
            }
            Some(Need::Renew(TokenAndSession { token, session })) => {
                match self.refresher.renew_id_token(app, &token, &session).await {
                    Confirmation::Session(session) => return Ok(Some(TokenAndSession { token, session })),
                    Confirmation::Refused => {}
                    // The session counts all the same.
                    Confirmation::Unknown => return Ok(Some(TokenAndSession { token, session })),
                }
            }
            Some(Need::Confirm(TokenAndSession { token, session })) => {
                match self.refresher.confirm(app, &token, &session).await {
                    Confirmation::Session(session) => return Ok(Some(TokenAndSession { token, session })),
                    Confirmation::Refused => {}
                    Confirmation::Unknown => search.is_unconfirmed = true,
                }
            }
        }
        Ok(None)
    }

    async fn load(&self, search: &mut Search, token: SessionToken, app: &Application) -> Result<(), StoreError> {
        if let Some(session) = self.store.load(&token).await? {
            search.consider(self, app, token, session, self.world.now());
        }
        Ok(())
    }

    /// The valid session that a request carries for `app`, whether or not the provider is to be asked about it; of several of
    /// one user the last.
    ///
    /// Sessions of different users say nothing about who is here.
    pub(super) async fn unconfirmed_session(
        &self,
        app: &Application,
        headers: &HeaderMap,
    ) -> Result<Option<Arc<Session>>, StoreError> {
        let mut search = Search::new(app, headers);
        while let Some(token) = search.look_in_memory(self, app, self.world.now()) {
            self.load(&mut search, token, app).await?;
        }
        let is_known = search.are_of_one_user();
        let last = search.others.pop().or(search.first);
        Ok(last.filter(|_| is_known).map(|held| held.session))
    }
}
