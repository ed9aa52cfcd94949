mod superfluous;

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderValue};
use serde::{Deserialize, Serialize};

use self::superfluous::superfluous;
use super::{Interaction, ReturnTarget, Wish};
use crate::app::Application;
use crate::cookie::{Sealer, SealerError, cookies};
use crate::identity::Assurance;
use crate::world::{UnixTime, World};

/// From the start of an attempt to its callback: as long as login pages of providers live (Keycloak's: 30 minutes).
pub(super) const LIFETIME: Duration = Duration::from_mins(30);

const STATE: &str = "state";
const COOKIE: &str = "attempt";

/// The half of a login attempt that travels through the provider, sealed, as `state`.
#[derive(Debug, Serialize, Deserialize)]
struct State {
    #[serde(rename = "i")]
    id: String,
    #[serde(rename = "a")]
    application: String,
    #[serde(rename = "r")]
    target: String,
    #[serde(rename = "t")]
    began: u64,
    /// So many milliseconds later than `began` is its moment: the clock was set back, something just ended, or moments are
    /// measured with another clock.
    #[serde(rename = "m", default, skip_serializing_if = "is_nothing")]
    ahead: i64,
    #[serde(rename = "s", default, skip_serializing_if = "Interaction::is_usual")]
    interaction: Interaction,
    #[serde(rename = "w", default, skip_serializing_if = "Assurance::is_none")]
    assurance: Assurance,
    /// It took the place of one that failed.
    #[serde(rename = "g", default, skip_serializing_if = "is_false")]
    is_second: bool,
}

/// The half that only the browser holds, sealed, in a cookie of its own.
#[derive(Serialize, Deserialize)]
struct Secrets {
    #[serde(rename = "i")]
    id: String,
    #[serde(rename = "n")]
    nonce: String,
    #[serde(rename = "v")]
    pkce_verifier: String,
    #[serde(rename = "t")]
    began: u64,
}

/// A login attempt at its start.
pub(super) struct NewAttempt {
    /// For the authorisation request.
    pub(super) state: String,
    /// For the authorisation request.
    pub(super) nonce: String,
    /// Its challenge is for the authorisation request.
    pub(super) pkce_verifier: String,
    /// For the answer that sends the browser away.
    pub(super) cookies: Vec<HeaderValue>,
}

impl NewAttempt {
    /// Begins an attempt for `app`; the browser already holds the cookies in `headers`.
    ///
    /// # Errors
    ///
    /// When the system gives no randomness.
    pub(super) fn begin(
        app: &Application,
        target: &ReturnTarget,
        wish: &Wish,
        headers: &HeaderMap,
        sealer: &Sealer,
        world: &World,
    ) -> Result<Self, SealerError> {
        let now = world.now();
        let ahead = world.moment().ahead_of(now);
        let id = random_text::<16>(world)?;
        let secrets = Secrets {
            id: id.clone(),
            nonce: random_text::<16>(world)?,
            pkce_verifier: random_text::<32>(world)?,
            began: now.as_millis(),
        };
        let state = State {
            id: id.clone(),
            // The callback comes to the application also where the login began at one of its hosts.
            application: app.realm.application.to_string(),
            target: target.as_str().to_owned(),
            began: now.as_millis(),
            ahead,
            interaction: wish.interaction,
            assurance: wish.assurance.clone(),
            is_second: wish.is_second,
        };
        let value = seal(sealer, world, COOKIE, &secrets)?;
        let mut cookies = vec![app.cookies.set_attempt(&id, &value, LIFETIME)];
        cookies.extend(superfluous(app, headers, sealer, now).map(|name| app.cookies.expire(&name)));
        Ok(Self {
            state: seal(sealer, world, STATE, &state)?,
            nonce: secrets.nonce,
            pkce_verifier: secrets.pkce_verifier,
            cookies,
        })
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants a reference")]
const fn is_nothing(millis: &i64) -> bool {
    *millis == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants a reference")]
const fn is_false(flag: &bool) -> bool {
    !*flag
}

fn is_live(began: u64, now: UnixTime) -> bool {
    let began = UnixTime::from_millis(began);
    began <= now && now < began + LIFETIME
}

/// A login attempt that came back with a state of ours.
#[derive(Debug)]
pub(super) struct ReturnedAttempt {
    id: String,
    began: UnixTime,
    moment: UnixTime,
    /// Where the browser wanted to go.
    pub(super) target: ReturnTarget,
    /// Whether the provider could ask the person.
    pub(super) interaction: Interaction,
    /// How the login was to come about.
    pub(super) assurance: Assurance,
    /// Whether it took the place of one that failed: no third one begins by itself.
    pub(super) is_second: bool,
}

/// What the browser kept for its attempt.
pub(super) struct Kept {
    /// As sent in the authorisation request.
    pub(super) nonce: String,
    /// Belongs to the challenge that was sent.
    pub(super) pkce_verifier: String,
}

impl ReturnedAttempt {
    /// Opens the `state` of a callback; `None` when we did not make it for `app` or one that shares its sessions.
    pub(super) fn open(app: &Application, state: &str, sealer: &Sealer) -> Option<Self> {
        let state: State = open(sealer, STATE, state)?;
        (*state.application == *app.realm.application).then(|| Self {
            began: UnixTime::from_millis(state.began),
            moment: UnixTime::from_millis(state.began).shifted(state.ahead),
            target: ReturnTarget::parse(app, &state.target).unwrap_or_else(|| ReturnTarget::home(app)),
            id: state.id,
            interaction: state.interaction,
            assurance: state.assurance,
            is_second: state.is_second,
        })
    }

    /// The attempt's id.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// When it began.
    pub(super) const fn began(&self) -> UnixTime {
        self.began
    }

    /// The moment at which it began, to tell it from what came before and after.
    pub(super) const fn moment(&self) -> UnixTime {
        self.moment
    }

    /// The name of its cookie.
    pub(super) fn cookie_name(&self, app: &Application) -> String {
        format!("{}{}", app.cookies.attempt_prefix(), self.id)
    }

    /// What this browser kept for it; `None` when its cookie did not come back, or its time is over.
    pub(super) fn kept(&self, app: &Application, headers: &HeaderMap, sealer: &Sealer, now: UnixTime) -> Option<Kept> {
        let wanted = self.cookie_name(app);
        cookies(headers)
            .filter(|(name, _)| *name == wanted)
            .filter_map(|(_, value)| open::<Secrets>(sealer, COOKIE, value))
            .find(|secrets| {
                secrets.id == self.id && is_live(secrets.began, now) && secrets.began == self.began.as_millis()
            })
            .map(|secrets| Kept { nonce: secrets.nonce, pkce_verifier: secrets.pkce_verifier })
    }
}

fn random_text<const N: usize>(world: &World) -> Result<String, SealerError> {
    Ok(URL_SAFE_NO_PAD.encode(world.random::<N>()?))
}

fn seal<T: Serialize>(sealer: &Sealer, world: &World, purpose: &str, value: &T) -> Result<String, SealerError> {
    let plain = serde_json::to_vec(value).expect("structs of strings and numbers are always JSON");
    sealer.seal(world, purpose, &plain)
}

fn open<T: for<'de> Deserialize<'de>>(sealer: &Sealer, purpose: &str, text: &str) -> Option<T> {
    serde_json::from_slice(&sealer.open(purpose, text).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use http::header::COOKIE as COOKIE_HEADER;

    use super::superfluous::{SETTLED, is_id_byte};
    use super::*;
    use crate::app::samples::{domain, single, with_host};
    use crate::world::Clock;

    #[derive(Clone)]
    struct Hands(Arc<AtomicU64>);

    impl Clock for Hands {
        fn now(&self) -> UnixTime {
            UnixTime::from_secs(self.0.load(Ordering::Relaxed))
        }
    }

    struct Stage {
        app: Application,
        sealer: Sealer,
        hands: Hands,
        world: World,
        jar: Vec<(String, String)>,
    }

    impl Stage {
        fn new() -> Self {
            let hands = Hands(Arc::new(AtomicU64::new(1000)));
            let world = World::with_clock(hands.clone());
            let sealer = Sealer::new(b"secret");
            Self { app: single("https://app.example.com"), sealer, hands, world, jar: Vec::new() }
        }

        fn headers(&self) -> HeaderMap {
            let mut headers = HeaderMap::new();
            for (name, value) in &self.jar {
                headers.append(COOKIE_HEADER, format!("{name}={value}").parse().unwrap());
            }
            headers
        }

        fn begin(&mut self) -> NewAttempt {
            self.hands.0.fetch_add(1, Ordering::Relaxed);
            let target = format!("{}x?y#z", self.app.home_url());
            let target = ReturnTarget::parse(&self.app, &target).unwrap();
            let attempt =
                NewAttempt::begin(&self.app, &target, &Wish::default(), &self.headers(), &self.sealer, &self.world)
                    .unwrap();
            for cookie in &attempt.cookies {
                let (name, value) = cookie.to_str().unwrap().split_once(';').unwrap().0.split_once('=').unwrap();
                self.jar.retain(|(kept, _)| kept != name);
                if !value.is_empty() {
                    self.jar.push((name.into(), value.into()));
                }
            }
            attempt
        }

        fn kept(&self, attempt: &NewAttempt) -> Option<Kept> {
            let returned = ReturnedAttempt::open(&self.app, &attempt.state, &self.sealer)?;
            returned.kept(&self.app, &self.headers(), &self.sealer, self.world.now())
        }
    }

    #[test]
    fn an_attempt_comes_back() {
        let mut stage = Stage::new();
        let attempt = stage.begin();
        let returned = ReturnedAttempt::open(&stage.app, &attempt.state, &stage.sealer).unwrap();
        assert_eq!(returned.target.as_str(), "https://app.example.com/x?y#z");
        let kept = stage.kept(&attempt).unwrap();
        assert_eq!((kept.nonce, kept.pkce_verifier), (attempt.nonce, attempt.pkce_verifier));
        assert!(attempt.state.bytes().all(is_id_byte), "only characters that survive any provider");
    }

    #[test]
    fn it_needs_its_cookie_its_application_and_its_time() {
        let mut stage = Stage::new();
        let attempt = stage.begin();
        let other = single("https://other.example.com");
        assert!(ReturnedAttempt::open(&other, &attempt.state, &stage.sealer).is_none());
        assert!(ReturnedAttempt::open(&stage.app, &attempt.state, &Sealer::new(b"x")).is_none());
        assert!(ReturnedAttempt::open(&stage.app, "", &stage.sealer).is_none());

        stage.hands.0.fetch_add(LIFETIME.as_secs() - 1, Ordering::Relaxed);
        assert!(stage.kept(&attempt).is_some());
        stage.hands.0.fetch_add(1, Ordering::Relaxed);
        assert!(stage.kept(&attempt).is_none(), "too late");

        let mut stage = Stage::new();
        let (one, two) = (stage.begin(), stage.begin());
        let swapped: Vec<_> = stage.jar.iter().map(|(_, value)| value.clone()).rev().collect();
        for ((_, value), other) in stage.jar.iter_mut().zip(swapped) {
            *value = other;
        }
        assert!(stage.kept(&one).is_none() && stage.kept(&two).is_none(), "values belong to their names");
        stage.jar.clear();
        assert!(stage.kept(&one).is_none(), "no cookie");
    }

    #[test]
    fn one_that_began_at_a_host_of_a_domain_comes_back_to_the_domain() {
        let mut stage = Stage::new();
        let (home, wiki) = with_host("https://auth.example.com", "example.com", "wiki.example.com");
        stage.app = wiki;
        let attempt = stage.begin();
        for app in [&stage.app, &home] {
            let returned = ReturnedAttempt::open(app, &attempt.state, &stage.sealer).unwrap();
            assert_eq!(returned.target.as_str(), "https://wiki.example.com/x?y#z");
            assert!(returned.kept(app, &stage.headers(), &stage.sealer, stage.world.now()).is_some());
        }
        let other = domain("https://auth.dev.example.com", "dev.example.com");
        assert!(ReturnedAttempt::open(&other, &attempt.state, &stage.sealer).is_none());
    }

    #[test]
    fn a_state_is_no_cookie_and_a_cookie_no_state() {
        let mut stage = Stage::new();
        let attempt = stage.begin();
        let (_, value) = stage.jar[0].clone();
        assert!(ReturnedAttempt::open(&stage.app, &value, &stage.sealer).is_none());
        stage.jar[0].1 = attempt.state.clone();
        assert!(stage.kept(&attempt).is_none());
    }

    #[track_caller]
    fn alive(stage: &Stage, attempts: &[NewAttempt], gone: usize) {
        let alive: Vec<_> = attempts.iter().map(|attempt| stage.kept(attempt).is_some()).collect();
        assert_eq!(alive, [vec![false; gone], vec![true; attempts.len() - gone]].concat());
        assert_eq!(stage.jar.len(), attempts.len() - gone);
    }

    #[test]
    fn twenty_at_once_are_live_and_fit_into_a_header() {
        let mut stage = Stage::new();
        let attempts: Vec<_> = (0..20).map(|_| stage.begin()).collect();
        alive(&stage, &attempts, 0);
        let line: usize = stage.jar.iter().map(|(name, value)| format!("{name}={value}; ").len()).sum();
        assert!(line < 6 << 10, "{line}");
        let attempts: Vec<_> = attempts.into_iter().chain((0..4).map(|_| stage.begin())).collect();
        alive(&stage, &attempts, 4);
    }

    #[test]
    fn of_settled_ones_eight_are_live_and_the_oldest_goes() {
        let mut stage = Stage::new();
        let mut attempts: Vec<_> = (0..12).map(|_| stage.begin()).collect();
        stage.hands.0.fetch_add(SETTLED.as_secs(), Ordering::Relaxed);
        attempts.push(stage.begin());
        alive(&stage, &attempts, 5);
        attempts.push(stage.begin());
        alive(&stage, &attempts, 6);
    }

    #[test]
    fn dead_cookies_are_taken_back() {
        let mut stage = Stage::new();
        stage.begin();
        stage.jar.push((format!("{}x", stage.app.cookies.attempt_prefix()), "garbage".into()));
        stage.hands.0.fetch_add(LIFETIME.as_secs(), Ordering::Relaxed);
        stage.begin();
        assert_eq!(stage.jar.len(), 1);
    }
}
