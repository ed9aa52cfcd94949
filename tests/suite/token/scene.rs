//! A provider, an application that wants tokens, and the program.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread;

use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{AWKWARD_SECRET, METADATA};
use crate::provider::{Client, Config, Endpoint, Provider};
use crate::support::Browser;
use crate::support::process::forepost;
use crate::web::{self, Server};

/// What the application answers to who shows no token.
pub(super) struct Says {
    pub(super) status: StatusCode,
    pub(super) challenge: Option<String>,
    pub(super) metadata: Value,
}

/// A provider, an application that wants tokens, and a home.
pub(super) struct Scene {
    pub(super) provider: Provider,
    pub(super) says: Arc<Mutex<Says>>,
    pub(super) url: String,
    pub(super) home: TempDir,
    _app: Server,
}

impl Scene {
    pub(super) async fn start() -> Self {
        let client = |id: &str, secret: Option<&str>| Client {
            id: id.to_owned(),
            secret: secret.map(str::to_owned),
            ..Client::default()
        };
        let clients = vec![client("cli", None), client("robot", Some(AWKWARD_SECRET))];
        let provider = Provider::start(Config { clients, ..Config::default() }).await.unwrap();
        let (listener, address) = web::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let url = format!("http://{address}");
        let says = Arc::new(Mutex::new(Says {
            status: StatusCode::UNAUTHORIZED,
            challenge: Some(format!("Basic realm=\"a, b\", Bearer resource_metadata=\"{url}{METADATA}\"")),
            metadata: json!({
                "resource": url,
                "authorization_servers": [provider.issuer()],
                "scopes_supported": ["groups"],
                "bearer_methods_supported": ["header"],
                "forepost_cli_client_id": "cli",
            }),
        }));
        let told = Arc::clone(&says);
        let app = Server::run(listener, None, move |request, _| {
            let says = told.lock().unwrap();
            let answer = match request.uri().path() {
                METADATA => web::json(StatusCode::OK, &says.metadata),
                _ if request.headers().contains_key(AUTHORIZATION) => web::text(StatusCode::OK, "Welcome."),
                _ => {
                    let mut answer = web::text(says.status, "A token, please.");
                    if let Some(challenge) = &says.challenge {
                        answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::try_from(challenge).unwrap());
                    }
                    answer
                }
            };
            std::future::ready(Ok(answer))
        });
        Self { provider, says, url, home: tempfile::tempdir().unwrap(), _app: app }
    }

    pub(super) fn begin(&self, arguments: &[&str]) -> Run {
        let url = format!("{}/api/files?all", self.url);
        let arguments: Vec<&str> = ["token", &url].iter().chain(arguments).copied().collect();
        Run::start(forepost(&arguments, &[("HOME", self.home.path().to_str().unwrap())]))
    }

    pub(super) fn run(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        self.begin(arguments).end()
    }

    /// A login that alice confirms.
    pub(super) async fn login(&self, arguments: &[&str]) -> String {
        let mut run = self.begin(arguments);
        self.answer(&mut run, "login=alice").await;
        let (status, token, said) = run.end();
        assert_eq!(status, Some(0), "{said}");
        let lines: Vec<&str> = token.split('\n').collect();
        assert!(lines.len() == 2 && lines[1].is_empty() && !said.contains(lines[0]), "{token}{said}");
        lines[0].to_owned()
    }

    /// Does what the program says, with `form` as the user's answer.
    pub(super) async fn answer(&self, run: &mut Run, form: &str) {
        let page = run.until("Open ");
        let code = run.until("and enter the code ");
        assert!(run.until("or open ").ends_with(&code));
        let mut browser = Browser::new().route("idp.localhost", self.provider.address());
        browser.get(&page).await.is(200).contains("Confirm a login");
        browser.post(&page, &format!("user_code={code}&{form}")).await.is(200).contains("The program knows");
    }

    pub(super) fn files(&self) -> Vec<PathBuf> {
        let folder = fs::read_dir(self.home.path().join(".local/state/forepost"));
        folder.into_iter().flatten().map(|entry| entry.unwrap().path()).collect()
    }

    pub(super) fn logins(&self) -> u64 {
        self.provider.requests(Endpoint::DeviceAuthorization)
    }

    pub(super) fn asked_at(&self, endpoint: Endpoint, name: &str) -> Option<String> {
        self.provider.last_request(endpoint).unwrap().form.get(name).map(str::to_owned)
    }

    /// Whether alice's token opens what it should at the provider.
    pub(super) async fn counts(&self, token: &str) -> bool {
        let mut browser = Browser::new().route("idp.localhost", self.provider.address());
        let userinfo = format!("{}/userinfo", self.provider.issuer());
        let bearer = format!("Bearer {token}");
        let reply = browser.send(http::Method::GET, &userinfo, &[("authorization", &bearer)], None).await;
        reply.status == 200 && reply.json()["sub"] == "id-alice"
    }
}

/// A running `forepost token`.
pub(super) struct Run {
    pub(super) child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
}

impl Run {
    pub(super) fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (sender, lines) = channel();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        thread::spawn(move || stderr.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { child, lines, seen: Vec::new() }
    }

    /// What follows `start` in the next line that begins so.
    pub(super) fn until(&mut self, start: &str) -> String {
        self.until_line(start, |line| line.strip_prefix(start).map(str::to_owned))
    }

    /// What `wanted` makes of the next line of which it makes something.
    pub(super) fn until_line<T>(&mut self, name: &str, wanted: impl Fn(&str) -> Option<T>) -> T {
        loop {
            let line = self.lines.recv().unwrap_or_else(|_| panic!("no {name:?} in {:#?}", self.seen));
            self.seen.push(line.clone());
            if let Some(found) = wanted(&line) {
                return found;
            }
        }
    }

    /// The exit status, and what was printed to standard output and error.
    pub(super) fn end(mut self) -> (Option<i32>, String, String) {
        let mut stdout = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut stdout).unwrap();
        self.seen.extend(self.lines.iter());
        (self.child.wait().unwrap().code(), stdout, self.seen.join("\n"))
    }
}
