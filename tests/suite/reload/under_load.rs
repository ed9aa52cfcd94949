//! Many changes in a row while clients ask and users sign in.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::watch::{self, Receiver};
use tokio::task::JoinSet;

use super::{APP, Scene, application, check, sign_in, write};
use crate::support::Browser;

const CHANGES: usize = 500;
const CLIENTS: usize = 20;
const LOGINS: usize = 5;

/// The changes so far.
#[derive(Clone)]
struct Progress {
    /// The last one that the file has; closed at the end.
    begun: Receiver<usize>,
    /// The last one that counts.
    done: Arc<AtomicUsize>,
}

/// The application of a change: each answer tells to which change it belongs, and every other change adds another application.
fn applications(change: usize) -> String {
    let header = format!("[[application.header]]\nname = \"X-Change\"\ntext = \"{change}\"\n");
    let other = if change.is_multiple_of(2) { String::new() } else { application("other.example.com", "") };
    application("app.example.com", &header) + &other
}

/// Asks while each change is made: each answer lets the user in, by a configuration that counted while the question was asked.
async fn asks(mut browser: Browser, mut progress: Progress) -> usize {
    let mut answers = 0;
    while progress.begun.changed().await.is_ok() {
        let earliest = progress.done.load(Ordering::SeqCst);
        let reply = check(&mut browser, APP).await;
        let latest = *progress.begun.borrow();
        assert_eq!(reply.is(200).header("x-authentik-username"), "alice");
        let change: usize = reply.header("x-change").parse().unwrap();
        assert!((earliest..=latest).contains(&change), "{change} is not in {earliest}..={latest}");
        answers += 1;
    }
    answers
}

/// Signs in again and again, and is let in each time.
async fn signs_in(browser: Browser, mut progress: Progress) -> usize {
    let mut logins = 0;
    while progress.begun.changed().await.is_ok() {
        let mut browser = browser.clone();
        sign_in(&mut browser).await;
        check(&mut browser, APP).await.is(200);
        logins += 1;
    }
    logins
}

/// Has the daemon read its configuration again, as `forepost reload` does; its log leaves lines out when there are many.
fn reload(socket: &Path) -> String {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.write_all(b"POST /configuration HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// The memory of a process, in kilobytes.
fn resident(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn many_changes_disturb_no_request_and_no_login() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("admin.sock");
    let server = format!("watch = false\nadmin = \"unix:{}\"\n", socket.display());
    let scene = Scene::with(&applications(0), &server).await;
    let (begin, begun) = watch::channel(0);
    let progress = Progress { begun, done: Arc::default() };
    let fresh = scene.browser();
    let mut alice = fresh.clone();
    sign_in(&mut alice).await;
    let (mut clients, mut logins) = (JoinSet::new(), JoinSet::new());
    for _ in 0..CLIENTS {
        clients.spawn(asks(alice.clone(), progress.clone()));
    }
    for _ in 0..LOGINS {
        logins.spawn(signs_in(fresh.clone(), progress.clone()));
    }
    let mut early = 0;
    for change in 1..=CHANGES {
        begin.send_replace(change);
        write(&scene.folder, &scene.provider, &scene.server, &applications(change));
        let answer = reload(&socket);
        assert!(answer.contains(&format!("\"revision\":{},", change + 1)), "{answer}");
        progress.done.store(change, Ordering::SeqCst);
        if change == CHANGES / 5 {
            early = resident(scene.daemon.id());
        }
    }
    let late = resident(scene.daemon.id());
    drop(begin);
    let (answers, logins) = (clients.join_all().await, logins.join_all().await);
    assert!(answers.iter().all(|answers| *answers > 0) && logins.iter().all(|logins| *logins > 0));
    // Sessions of the logins take some of it.
    assert!(late < early + 16 * 1024, "{early} kB became {late} kB after {} logins", logins.iter().sum::<usize>());
}
