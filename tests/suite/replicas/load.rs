//! Clients that ask without pause, and know of each session whether it has to be let in.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, timeout};
use url::Url;

use super::ends::{End, Orders};
use super::scene::Scene;
use crate::support::Browser;

/// Between two requests of one client.
const PACE: Duration = Duration::from_millis(4);
/// No request may take longer, whatever is broken.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is known of a session from outside.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Standing {
    Valid,
    /// Its end was asked for, and not yet confirmed.
    Unknown,
    /// Its end was acknowledged at this moment.
    Ended(Instant),
}

/// A user with a session.
pub(super) struct Visitor {
    pub(super) browser: Browser,
    /// How his session is to end.
    pub(super) orders: Orders,
    cookie: String,
    standing: Mutex<Standing>,
}

impl Visitor {
    pub(super) fn new(browser: Browser, url: &str, orders: Orders) -> Self {
        let url = Url::parse(url).unwrap();
        let names = browser.cookie_names(&url);
        let cookies = names.iter().map(|name| format!("{name}={}", browser.cookie(&url, name).unwrap()));
        let cookie = cookies.collect::<Vec<_>>().join("; ");
        Self { browser, orders, cookie, standing: Mutex::new(Standing::Valid) }
    }

    pub(super) fn standing(&self) -> Standing {
        *self.standing.lock().unwrap()
    }

    pub(super) fn set(&self, standing: Standing) {
        *self.standing.lock().unwrap() = standing;
    }
}

/// Where a client asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Door {
    /// The application, through nginx.
    Nginx,
    /// This replica itself, as Traefik asks.
    Traefik(usize),
    /// This replica itself, as Envoy asks.
    Envoy(usize),
}

impl Door {
    pub(super) const ALL: [Self; 5] = [Self::Nginx, Self::Traefik(0), Self::Traefik(1), Self::Envoy(0), Self::Envoy(1)];

    fn request(self, scene: &Places, cookie: &str) -> Request<Full<Bytes>> {
        let request = Request::get(match self {
            Self::Nginx => format!("http://{}/page", scene.proxy),
            Self::Traefik(number) => format!("http://{}/outpost.goauthentik.io/auth/traefik", scene.replicas[number]),
            Self::Envoy(number) => format!("http://{}/outpost.goauthentik.io/auth/envoy/page", scene.replicas[number]),
        });
        let request = request.header("host", &scene.host).header("accept", "text/html").header("cookie", cookie);
        let request = match self {
            Self::Nginx => request,
            Self::Traefik(_) => request
                .header("x-forwarded-method", "GET")
                .header("x-forwarded-proto", "http")
                .header("x-forwarded-host", &scene.host)
                .header("x-forwarded-uri", "/page"),
            Self::Envoy(_) => request.header("x-forwarded-proto", "http"),
        };
        request.body(Full::default()).unwrap()
    }

    fn read(self, status: StatusCode, headers: &HeaderMap) -> Answer {
        let retry = headers.contains_key("retry-after");
        match (self, status.as_u16()) {
            (_, 200) => Answer::LetIn,
            (_, 302 | 401) => Answer::Denied,
            // nginx makes 500 of everything that is neither 200 nor 401 nor 403.
            (Self::Nginx, 500 | 502 | 504) => Answer::Refused,
            (Self::Traefik(_), 503) | (Self::Envoy(_), 403) if retry => Answer::Refused,
            _ => Answer::Odd,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    LetIn,
    /// As a client without a session.
    Denied,
    /// As a browser whose session cannot be looked up now.
    Refused,
    /// As no browser should be.
    Odd,
}

/// What came of the requests.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    pub(super) requests: u64,
    pub(super) let_in: u64,
    pub(super) denied: u64,
    pub(super) refused: u64,
    pub(super) unanswered: u64,
    /// From the acknowledgement of an end to the last request that was let in all the same.
    pub(super) latest_let_in: Duration,
    /// When a user with a session was refused for the first time.
    pub(super) first_refusal: Option<Instant>,
    pub(super) slowest: Duration,
    /// What must not be.
    pub(super) wrong: Vec<String>,
}

impl Tally {
    pub(super) fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.let_in += other.let_in;
        self.denied += other.denied;
        self.refused += other.refused;
        self.unanswered += other.unanswered;
        self.latest_let_in = self.latest_let_in.max(other.latest_let_in);
        self.first_refusal = self.first_refusal.into_iter().chain(other.first_refusal).min();
        self.slowest = self.slowest.max(other.slowest);
        self.wrong.extend(other.wrong.iter().cloned());
    }
}

#[derive(Clone)]
struct Places {
    proxy: SocketAddr,
    replicas: [SocketAddr; 2],
    host: String,
}

/// Whom a client is.
#[derive(Clone, Copy)]
enum Whom {
    Valid,
    All,
    LastEnded,
}

impl Whom {
    fn choose(self, visitors: &[Visitor], next: usize) -> Option<&Visitor> {
        let visitor = &visitors[next % visitors.len()];
        let ended = |visitor: &&Visitor| match visitor.standing() {
            Standing::Ended(at) => Some(at),
            Standing::Valid | Standing::Unknown => None,
        };
        match self {
            Self::Valid => Some(visitor).filter(|visitor| visitor.standing() == Standing::Valid),
            Self::All => Some(visitor),
            Self::LastEnded => {
                let mut all: Vec<_> = visitors.iter().filter(|it| ended(it).is_some()).collect();
                all.sort_by_key(|visitor| std::cmp::Reverse(ended(visitor)));
                all.truncate(End::ALL.len());
                (!all.is_empty()).then(|| all[next % all.len()])
            }
        }
    }
}

/// A client.
struct AtDoor {
    door: Door,
    places: Places,
    client: Client<HttpConnector, Full<Bytes>>,
    grace: Arc<[AtomicU64; 2]>,
}

impl AtDoor {
    /// Asks once, and judges the answer.
    async fn ask(&self, visitor: &Visitor) -> Tally {
        let door = self.door;
        let (before, began) = (visitor.standing(), Instant::now());
        let answered = self.client.request(door.request(&self.places, &visitor.cookie));
        let answered = timeout(PATIENCE, answered).await;
        let (after, slowest) = (visitor.standing(), began.elapsed());
        let mut tally = Tally { requests: 1, slowest, ..Tally::default() };
        let Ok(Ok(response)) = answered else { return Tally { unanswered: 1, ..tally } };
        let (status, headers) = (response.status(), response.headers());
        let late = if let Standing::Ended(at) = before { Some(began - at) } else { None };
        let is_wrong = match door.read(status, headers) {
            Answer::LetIn => {
                tally.let_in = 1;
                tally.latest_let_in = late.unwrap_or_default();
                late.is_some_and(|late| late > self.allowed())
            }
            Answer::Denied => {
                tally.denied = 1;
                (before, after) == (Standing::Valid, Standing::Valid)
            }
            Answer::Refused => {
                tally.refused = 1;
                if (before, after) == (Standing::Valid, Standing::Valid) {
                    tally.first_refusal = Some(Instant::now());
                }
                headers.contains_key("set-cookie")
            }
            Answer::Odd => true,
        };
        if is_wrong {
            tally.wrong.push(format!("{door:?} {before:?} {after:?} {late:?}: {status} {headers:?}"));
        }
        tally
    }

    /// How long an end may be unknown at this door.
    fn allowed(&self) -> Duration {
        let grace = |number: usize| Duration::from_millis(self.grace[number].load(Ordering::Relaxed));
        match self.door {
            Door::Nginx => grace(0).max(grace(1)),
            Door::Traefik(number) | Door::Envoy(number) => grace(number),
        }
    }
}

/// The clients; they stop when it is dropped.
pub(super) struct Load {
    pub(super) visitors: Arc<Vec<Visitor>>,
    tallies: Arc<[Mutex<Tally>; Door::ALL.len()]>,
    /// For how many milliseconds after its acknowledgement an end may be unknown to a replica.
    grace: Arc<[AtomicU64; 2]>,
    _clients: JoinSet<()>,
}

impl Load {
    pub(super) fn start(scene: &Scene, visitors: Vec<Visitor>) -> Self {
        let visitors = Arc::new(visitors);
        let tallies = Arc::<[Mutex<Tally>; Door::ALL.len()]>::default();
        let grace = Arc::new([AtomicU64::new(1000), AtomicU64::new(1000)]);
        let places = Places {
            proxy: scene.address,
            replicas: [scene.replicas[0].address, scene.replicas[1].address],
            host: scene.origin.trim_start_matches("http://").to_owned(),
        };
        let mut clients = JoinSet::new();
        for (at, door) in Door::ALL.into_iter().enumerate() {
            // Of those who are not there Redis has to be asked, which may take its time; so each has clients of its own.
            for whom in [Whom::Valid, Whom::All, Whom::LastEnded] {
                let client = AtDoor {
                    door,
                    places: places.clone(),
                    client: Client::builder(TokioExecutor::new()).build_http(),
                    grace: Arc::clone(&grace),
                };
                let (visitors, tallies) = (Arc::clone(&visitors), Arc::clone(&tallies));
                clients.spawn(async move {
                    let mut pace = interval(PACE);
                    for next in at * 3.. {
                        pace.tick().await;
                        let Some(visitor) = whom.choose(&visitors, next) else { continue };
                        let asked = client.ask(visitor).await;
                        tallies[at].lock().unwrap().add(&asked);
                    }
                });
            }
        }
        Self { visitors, tallies, grace, _clients: clients }
    }

    /// From now on an end may be unknown to a replica for so long.
    pub(super) fn allow(&self, number: usize, grace: Duration) {
        self.grace[number].store(u64::try_from(grace.as_millis()).unwrap(), Ordering::Relaxed);
    }

    /// What came of the requests since the last call, by door.
    pub(super) fn take(&self) -> [(Door, Tally); Door::ALL.len()] {
        let mut at = 0;
        self.tallies.each_ref().map(|tally| {
            at += 1;
            (Door::ALL[at - 1], std::mem::take(&mut *tally.lock().unwrap()))
        })
    }

    pub(super) fn valid(&self) -> impl Iterator<Item = &Visitor> {
        self.visitors.iter().filter(|visitor| visitor.standing() == Standing::Valid)
    }
}
