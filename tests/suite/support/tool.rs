//! The programs that `tests/run` installs, as children that end with their test.

use std::ffi::OsString;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

/// A program that takes longer does not become ready.
pub(crate) const START_DEADLINE: Duration = Duration::from_mins(1);
/// Between two looks at a starting program.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Where the tools are.
#[track_caller]
pub(crate) fn folder() -> OsString {
    std::env::var_os("FOREPOST_TEST_TOOLS").expect("the tests need other programs: run tests/run, which installs them")
}

/// A command that runs a tool; the kernel kills it when the thread that starts it ends, so nothing outlives even a test that is
/// killed itself.
#[track_caller]
pub(crate) fn command(name: &str) -> Command {
    let path = PathBuf::from(folder()).join("bin").join(name);
    assert!(path.exists(), "there is no {}: run tests/run, which installs it", path.display());
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(path).stdin(Stdio::null()).stdout(Stdio::null());
    command
}

/// Whether a process listens there.
pub(crate) async fn listens(address: SocketAddr) -> bool {
    TcpStream::connect(address).await.is_ok()
}

/// A running program; dropping it kills it.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) child: Child,
    log: PathBuf,
}

impl Running {
    /// Starts a program whose messages go to a file in `folder`.
    pub(crate) fn start(mut command: Command, folder: &Path) -> Self {
        let log = folder.join("log");
        let messages = File::create(&log).unwrap();
        command.stderr(messages);
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self { child, log }
    }

    /// What the program wrote to standard error so far.
    pub(crate) fn messages(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until the program, which messages call `name`, is ready; fails when it ends before, or takes longer than `deadline`.
    pub(crate) async fn until_ready(
        &mut self,
        name: &str,
        deadline: Duration,
        mut is_ready: impl AsyncFnMut() -> bool,
    ) {
        let ready = async {
            while !is_ready().await {
                self.still_runs();
                sleep(POLL_INTERVAL).await;
            }
        };
        let ready = timeout(deadline, ready).await;
        assert!(ready.is_ok(), "{name} is not ready:\n{}", self.messages());
        // Another program may have the address.
        self.still_runs();
    }

    /// Fails when the program has ended.
    #[track_caller]
    pub(crate) fn still_runs(&mut self) {
        if let Some(status) = self.child.try_wait().unwrap() {
            panic!("it ended with {status} and wrote:\n{}", self.messages());
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only when it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
