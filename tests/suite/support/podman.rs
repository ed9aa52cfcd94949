//! Podman, whose service speaks Docker's API. Containers are made and never run, so nothing of the system is needed for them.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use tempfile::TempDir;
use tokio::net::UnixStream;

use super::tool::{self, Running, START_DEADLINE};

/// An engine with a store of its own.
pub(crate) struct Podman {
    folder: TempDir,
    service: Option<Running>,
}

impl Podman {
    /// An engine that is not started, with an image.
    pub(crate) fn new() -> Self {
        let podman = Self { folder: tempfile::tempdir().unwrap(), service: None };
        let (file, archive) = (podman.folder.path().join("file"), podman.folder.path().join("image.tar"));
        fs::write(&file, "x").unwrap();
        let made =
            Command::new("tar").arg("-C").arg(podman.folder.path()).arg("-cf").arg(&archive).arg("file").status();
        assert!(made.unwrap().success());
        podman.run(&["import", "--quiet", archive.to_str().unwrap(), "image"]);
        podman
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("podman.sock")
    }

    fn command(&self) -> Command {
        let mut command = tool::command("podman");
        for (option, name) in [("--root", "root"), ("--runroot", "run"), ("--tmpdir", "tmp")] {
            command.arg(option).arg(self.folder.path().join(name));
        }
        command.args(["--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--events-backend", "file"]);
        command
    }

    /// Runs a command of Podman's to its end.
    #[track_caller]
    fn run(&self, arguments: &[&str]) {
        let output = self.command().args(arguments).stderr(Stdio::piped()).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Starts the service.
    pub(crate) async fn start(&mut self) {
        let mut command = self.command();
        command.args(["system", "service", "--time", "0", &format!("unix://{}", self.socket().display())]);
        let service = self.service.insert(Running::start(command, self.folder.path()));
        let socket = self.folder.path().join("podman.sock");
        service.until_ready("podman", START_DEADLINE, async || UnixStream::connect(&socket).await.is_ok()).await;
    }

    /// Ends the service as `kill -9` does.
    pub(crate) fn kill(&mut self) {
        self.service = None;
        fs::remove_file(self.socket()).unwrap();
    }

    /// Makes a container with labels.
    #[track_caller]
    pub(crate) fn create(&self, name: &str, labels: &[&str]) {
        let labels = labels.iter().flat_map(|label| ["--label", label]);
        let arguments: Vec<_> = ["create", "--network", "none", "--name", name].into_iter().chain(labels).collect();
        self.run(&[&arguments[..], &["image", "/file"]].concat());
    }

    #[track_caller]
    pub(crate) fn remove(&self, name: &str) {
        self.run(&["rm", name]);
    }

    #[track_caller]
    pub(crate) fn rename(&self, from: &str, to: &str) {
        self.run(&["rename", from, to]);
    }
}
