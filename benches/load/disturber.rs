//! What might hold checks up: logins, new keys, TLS handshakes, made by a process of its own.
//!
//! It has a provider of its own too, and is told over its standard input what to do and when to rest. It runs with the
//! kernel's idle policy, so that it never takes the processor from the daemon beside it.

use std::io::{BufRead, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;

use super::Fallible;
use super::door::Door;
use super::provider::{Endpoint, Fault, Provider};
use super::sessions::{self, USERS, login_name};

/// Logins, or handshakes, under way at once.
const AT_ONCE: usize = 8;

/// The provider takes so long to say its keys, so that many checks fall into each refresh.
const KEYS_TAKE: Duration = Duration::from_millis(250);

/// Between two logins where there are only some.
const PACE: Duration = Duration::from_millis(10);

/// What the process may be told.
pub(crate) const LOGINS: &str = "logins";
pub(crate) const SOME_LOGINS: &str = "some-logins";
pub(crate) const KEYS: &str = "keys";
pub(crate) const HANDSHAKES: &str = "handshakes";
pub(crate) const REST: &str = "rest";

/// Whom it disturbs.
struct Disturber {
    provider: Provider,
    door: Door,
    https: SocketAddr,
    tls: TlsConnector,
    /// The provider's cookies of those who have signed in there.
    signed_on: Mutex<Vec<Option<String>>>,
    next: AtomicUsize,
}

/// Says where its provider is, is told where forepost is, and then does as it is told until its input ends.
pub(crate) fn serve() -> Fallible<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let _entered = runtime.enter();
    let provider = runtime.block_on(sessions::start_provider())?;
    say(&format!("{} {}", provider.issuer(), provider.address()))?;
    let mut lines = std::io::stdin().lock().lines();
    let first = lines.next().ok_or("the address of forepost is missing")??;
    let mut words = first.split(' ');
    let mut word = || words.next().ok_or("something is missing about forepost");
    let (http, https) = (word()?.parse()?, word()?.parse()?);
    let disturber = Arc::new(Disturber {
        door: Door::new(http, provider.address()),
        provider,
        https,
        tls: trusting(Path::new(word()?))?,
        signed_on: Mutex::new(vec![None; USERS]),
        next: AtomicUsize::new(0),
    });
    let mut tasks = JoinSet::new();
    let mut stop = CancellationToken::new();
    for line in lines {
        let line = line?;
        let (what, most) = line.split_once(' ').unwrap_or((&line, "0"));
        if what == REST {
            stop.cancel();
            let done = runtime.block_on(finish(&mut tasks));
            say(&done.map_or_else(|error| format!("error {error}"), |done| done.to_string()).replace('\n', " "))?;
            stop = CancellationToken::new();
            continue;
        }
        let most: usize = most.parse()?;
        let count = if [KEYS, SOME_LOGINS].contains(&what) { 1 } else { AT_ONCE };
        for _ in 0..count {
            let (disturber, stop) = (Arc::clone(&disturber), stop.clone());
            match what {
                LOGINS => tasks.spawn(async move { disturber.logins(&stop, most / AT_ONCE).await }),
                SOME_LOGINS => tasks.spawn(async move { disturber.some_logins(&stop).await }),
                KEYS => tasks.spawn(async move { disturber.new_keys().await }),
                HANDSHAKES => tasks.spawn(async move { disturber.handshakes(&stop).await }),
                other => return Err(format!("unknown disturbance {other:?}").into()),
            };
        }
    }
    Ok(())
}

async fn finish(tasks: &mut JoinSet<Fallible<usize>>) -> Fallible<usize> {
    let mut sum = 0;
    while let Some(done) = tasks.join_next().await {
        sum += done??;
    }
    Ok(sum)
}

fn say(line: &str) -> Fallible<()> {
    let mut output = std::io::stdout().lock();
    writeln!(output, "{line}")?;
    Ok(output.flush()?)
}

fn trusting(certificate: &Path) -> Fallible<TlsConnector> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(certificate)?)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    // Every handshake a whole one.
    config.resumption = Resumption::disabled();
    Ok(TlsConnector::from(Arc::new(config)))
}

impl Disturber {
    /// One login after the other.
    async fn logins(&self, stop: &CancellationToken, most: usize) -> Fallible<usize> {
        let mut done = 0;
        while !stop.is_cancelled() && done < most {
            self.login().await?;
            done += 1;
        }
        Ok(done)
    }

    /// A hundred in a second, or fewer where they take longer.
    async fn some_logins(&self, stop: &CancellationToken) -> Fallible<usize> {
        let mut pace = tokio::time::interval(PACE);
        let mut done = 0;
        while !stop.is_cancelled() {
            pace.tick().await;
            self.login().await?;
            done += 1;
        }
        Ok(done)
    }

    async fn login(&self) -> Fallible<()> {
        let number = self.next.fetch_add(1, Ordering::Relaxed) % USERS;
        let cookie = self.signed_on.lock().unwrap_or_else(PoisonError::into_inner)[number].take();
        let login = self.door.login(&login_name(number), cookie).await?;
        self.signed_on.lock().unwrap_or_else(PoisonError::into_inner)[number] = Some(login.signed_on);
        Ok(())
    }

    /// One login with a key that the daemon does not know, so that it has to fetch the keys, which takes a while.
    async fn new_keys(&self) -> Fallible<usize> {
        let slow = Fault { delay: KEYS_TAKE, ..Fault::default() };
        self.provider.set(|behaviour| drop(behaviour.faults.insert(Endpoint::Jwks, slow)));
        self.provider.rotate(false)?;
        let before = self.provider.requests(Endpoint::Jwks);
        self.login().await?;
        self.provider.set(|behaviour| drop(behaviour.faults.remove(&Endpoint::Jwks)));
        if self.provider.requests(Endpoint::Jwks) == before {
            return Err("a new key did not make forepost fetch the keys".into());
        }
        Ok(1)
    }

    /// A new connection, a whole handshake, one request; again and again.
    async fn handshakes(&self, stop: &CancellationToken) -> Fallible<usize> {
        let name = ServerName::try_from("localhost")?;
        let mut done = 0;
        while !stop.is_cancelled() {
            let stream = TcpStream::connect(self.https).await?;
            stream.set_nodelay(true)?;
            let mut stream = self.tls.connect(name.clone(), stream).await?;
            stream.write_all(b"GET /outpost.goauthentik.io/ping HTTP/1.1\r\nHost: localhost\r\n\r\n").await?;
            let mut answer = [0; 16];
            stream.read_exact(&mut answer).await?;
            if !answer.starts_with(b"HTTP/1.1 204 ") {
                return Err("a wrong answer over TLS".into());
            }
            done += 1;
        }
        Ok(done)
    }
}
