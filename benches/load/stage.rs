//! Everything that takes part, running: provider, forepost with its sessions, nginx, hyper.

use std::sync::Arc;

use tokio::runtime::Runtime;

use super::Fallible;
use super::connection::{Target, sample};
use super::cpu::Memory;
use super::expected::Expected;
use super::options::Options;
use super::provider::Provider;
use super::request::{Question, Request};
use super::servers::{Place, Server};
use super::sessions::{self, Logins, USERS};
use super::stats::as_f64;

/// Bytes of the token in the browser, of which a store keeps as many as a key.
const KEY_LENGTH: usize = 32;

/// By default nginx takes a second buffer for each request whose headers are longer than a kilobyte, as ours are.
const TUNED: &str = "client_header_buffer_size 4k;\n";

/// Sessions of the small working set.
pub(crate) const FEW: usize = 1000;

/// The parties, and what is known of them.
pub(crate) struct Stage {
    pub(crate) forepost: Server,
    /// As it comes.
    pub(crate) nginx: Server,
    /// As it is best for these questions.
    pub(crate) tuned_nginx: Server,
    pub(crate) hello: Server,
    pub(crate) logins: Logins,
    /// What forepost held before the first login.
    pub(crate) idle: Memory,
    /// What it held when there were so many sessions.
    pub(crate) grown: Vec<(usize, Memory)>,
    /// Nanoseconds of forepost for one login, of each batch.
    pub(crate) login_cpu: Vec<f64>,
    /// Bytes of a session that carry something.
    pub(crate) payload: usize,
    /// How long questions and answers are.
    pub(crate) lengths: String,
    /// For what is asynchronous on our side.
    pub(crate) runtime: Arc<Runtime>,
    pub(crate) place: Place,
    pub(crate) provider: Provider,
    allowed: (Request, Expected),
    denied: (Request, Expected),
    public: (Request, Expected),
    from_nginx: Expected,
    from_hello: Expected,
}

impl Stage {
    /// Starts everything and logs a thousand sessions in.
    pub(crate) fn set(options: &Options, place: Place) -> Fallible<Self> {
        // The provider goes on while this thread measures.
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let provider = runtime.block_on(sessions::start_provider())?;
        let forepost = place.forepost(provider.issuer(), options)?.listening()?;
        let mut logins = Logins::new(forepost.address, provider.address());
        runtime.block_on(logins.possible())?;
        let idle = forepost.memory()?;
        runtime.block_on(logins.up_to(FEW))?;
        let grown = vec![(FEW, forepost.memory()?)];

        let ask = |question| -> Fallible<_> {
            let request = Request::new(question, &logins.cookie_name);
            let known = request.token.is_some().then(|| &logins.known[0]);
            let answer = sample(forepost.address, &request, known)?;
            let expected = Expected::like(&answer, known)?;
            Ok(((request, expected), answer))
        };
        let (allowed, answer) = ask(Question::Allowed)?;
        let (denied, refusal) = ask(Question::Denied)?;
        let (public, _) = ask(Question::Public)?;
        let told = |answer: &[u8], status: &str| answer.starts_with(format!("HTTP/1.1 {status} ").as_bytes());
        if !told(&answer, "200") || !told(&refusal, "401") {
            return Err(format!("forepost answers in another way:\n{}", String::from_utf8_lossy(&refusal)).into());
        }

        let headers = identity_headers(&answer);
        let values = headers.lines().filter_map(|line| line.split_once(": ")).map(|(_, value)| value.len());
        let payload = values.sum::<usize>() + KEY_LENGTH;
        let hello = place.hello(&headers)?.listening()?;
        let from_hello = sample(hello.address, &allowed.0, None)?;
        let nginx = place.nginx(&headers, "")?.listening()?;
        let wide = sample(nginx.address, &allowed.0, None)?.len();
        drop(nginx);
        // nginx says some more about itself, so it gets as much less to say about the user.
        let headers = shortened(&headers, wide.saturating_sub(answer.len()));
        let nginx = place.nginx(&headers, "")?.listening()?;
        let tuned_nginx = place.nginx(&headers, TUNED)?.listening()?;
        let from_nginx = sample(nginx.address, &allowed.0, None)?;
        let lengths = format!(
            "{} bytes of request; answers: forepost {}, nginx {}, hyper {}",
            allowed.0.bytes.len(),
            answer.len(),
            from_nginx.len(),
            from_hello.len()
        );
        Ok(Self {
            from_nginx: Expected::like(&from_nginx, None)?,
            from_hello: Expected::like(&from_hello, None)?,
            runtime: Arc::new(runtime),
            login_cpu: Vec::new(),
            forepost,
            nginx,
            tuned_nginx,
            hello,
            logins,
            idle,
            grown,
            payload,
            lengths,
            place,
            provider,
            allowed,
            denied,
            public,
        })
    }

    /// Logs in until there are `count` sessions, and reads what forepost then holds.
    pub(crate) fn grow(&mut self, count: usize) -> Fallible<()> {
        while self.logins.known.len() < count {
            let have = self.logins.known.len();
            let next = count.min(have + USERS);
            let before = self.forepost.cpu()?;
            self.runtime.block_on(self.logins.up_to(next))?;
            let spent = self.forepost.cpu()? - before;
            self.login_cpu.push(as_f64(spent) / as_f64((next - have) as u64));
        }
        self.grown.push((count, self.forepost.memory()?));
        Ok(())
    }

    /// Allowed checks by the first `sessions` of them.
    pub(crate) fn allowed(&self, sessions: usize) -> Target<'_> {
        let askers = &self.logins.known[..sessions.min(self.logins.known.len())];
        target(&self.forepost, &self.allowed, askers)
    }

    /// Checks of a script without a session.
    pub(crate) fn denied(&self) -> Target<'_> {
        target(&self.forepost, &self.denied, &[])
    }

    /// Checks of a path that needs no session.
    pub(crate) fn public(&self) -> Target<'_> {
        target(&self.forepost, &self.public, &[])
    }

    /// The same questions as of the allowed checks, to an nginx.
    pub(crate) fn to_nginx(&self, nginx: &Server) -> Target<'_> {
        Target { address: nginx.address, expected: self.from_nginx.clone(), ..self.allowed(FEW) }
    }

    /// The same questions as of the allowed checks, to hyper.
    pub(crate) fn to_hello(&self) -> Target<'_> {
        Target { address: self.hello.address, expected: self.from_hello.clone(), ..self.allowed(FEW) }
    }
}

fn target<'a>(server: &Server, (request, expected): &(Request, Expected), askers: &'a [sessions::Known]) -> Target<'a> {
    Target { address: server.address, request: request.clone(), expected: expected.clone(), askers }
}

/// The lines of an answer that are about the user.
fn identity_headers(answer: &[u8]) -> String {
    let text = String::from_utf8_lossy(answer);
    let lines = text.lines().filter(|line| line.starts_with("x-authentik-"));
    lines.flat_map(|line| [line, "\n"]).collect()
}

/// The same lines with `excess` bytes less of the ID token.
fn shortened(headers: &str, excess: usize) -> String {
    let line = |line: &str| {
        let excess = if line.starts_with("x-authentik-jwt: ") { excess } else { 0 };
        format!("{}\n", &line[..line.len().saturating_sub(excess)])
    };
    headers.lines().map(line).collect::<Vec<_>>().concat()
}
