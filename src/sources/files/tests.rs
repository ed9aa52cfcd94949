use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::settings;
use crate::sources::contract::{self, Stage};

const PROVIDER: &str = "[identity_provider.main]\nissuer = \"https://id.example.com\"\nclient_id = \"proxy\"\nclient_secret_file = \"SECRET\"\n";

fn application(host: &str, group: &str) -> String {
    format!("[[application]]\nexternal_host = \"https://{host}\"\nrequired_groups = [\"{group}\"]\n")
}

/// A folder with a configuration file, `conf.d` and a secret.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        fs::create_dir(folder.path("conf.d")).unwrap();
        folder.write("secret", "one");
        folder.write("forepost.toml", &PROVIDER.replace("SECRET", folder.path("secret").to_str().unwrap()));
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// As editors do it: a new file with the name of the old one.
    fn replace(&self, name: &str, text: &str) {
        self.write("new", text);
        fs::rename(self.path("new"), self.path(name)).unwrap();
    }

    fn files(&self) -> Files {
        let layers = Layers { config: Some(self.path("forepost.toml")), ..Layers::default() };
        let running = settings::load(&layers).unwrap_or_else(|mistakes| panic!("{mistakes}"));
        Files::new(layers, running, mpsc::channel(1).1)
    }
}

/// One file for each application.
struct OfFiles {
    folder: Folder,
    files: Files,
}

impl OfFiles {
    fn write(folder: &Folder, applications: &[(&str, &str)]) {
        for (host, group) in applications {
            folder.replace(&format!("conf.d/{host}.toml"), &application(host, group));
        }
    }
}

impl Stage for OfFiles {
    type Source = Files;

    async fn new(applications: &[(&str, &str)]) -> Self {
        let folder = Folder::new();
        Self::write(&folder, applications);
        let files = folder.files();
        Self { folder, files }
    }

    fn source(&mut self) -> &mut Files {
        &mut self.files
    }

    fn set(&mut self, applications: &[(&str, &str)]) {
        for entry in fs::read_dir(self.folder.path("conf.d")).unwrap() {
            fs::remove_file(entry.unwrap().path()).unwrap();
        }
        Self::write(&self.folder, applications);
    }

    fn spoil(&mut self, host: &str, others: &[(&str, &str)]) {
        self.folder.replace(&format!("conf.d/{host}.toml"), &(application(host, "x") + "colour = 1\n"));
        Self::write(&self.folder, others);
    }
}

#[tokio::test]
async fn files_keep_the_promises_of_a_source() {
    contract::run::<OfFiles>().await;
}

/// What is declared, with where it is declared.
fn declared(files: &Files) -> Vec<String> {
    let name = |declaration: &Declaration| {
        let origin = Path::new(&*declaration.origin).file_name().unwrap().to_string_lossy().into_owned();
        match &declaration.declared {
            Declared::Provider { name, .. } => format!("{name} of {origin}"),
            Declared::Application(app) => format!("{} {} of {origin}", app.slug, app.required_groups.join(",")),
            Declared::Host { .. } => panic!("files declare hosts within applications"),
        }
    };
    files.declarations.iter().map(name).collect()
}

#[tokio::test]
async fn files_are_read_in_the_order_of_their_names() {
    let folder = Folder::new();
    folder.write("conf.d/20-b.toml", &application("b.example.com", "b"));
    folder.write("conf.d/10-a.toml", &(application("a.example.com", "a") + &application("c.example.com", "c")));
    for ignored in ["conf.d/.hidden.toml", "conf.d/a.toml~", "conf.d/a.toml.bak", "conf.d/README"] {
        folder.write(ignored, "[");
    }
    let expected = [
        "main of forepost.toml",
        "a-example-com a of 10-a.toml",
        "c-example-com c of 10-a.toml",
        "b-example-com b of 20-b.toml",
    ];
    assert_eq!(declared(&folder.files()), expected);
    // A key of a later file counts; mistakes are numbered in their own file.
    folder.write("conf.d/30-main.toml", "[identity_provider.main]\nclient_id = \"other\"\n");
    folder.write("conf.d/20-b.toml", "[[application]]\ncolour = 1\n");
    let layers = Layers { config: Some(folder.path("forepost.toml")), ..Layers::default() };
    let mistakes = settings::load(&layers).unwrap_err().lines();
    let both = ["application[0].colour: is an unknown key", "application[0].external_host: is missing"];
    assert_eq!(mistakes.len(), 2, "{mistakes:?}");
    for mistake in both {
        assert!(mistakes.iter().any(|it| it.contains(mistake) && it.contains("20-b.toml")), "{mistakes:?}");
    }
    folder.write("conf.d/20-b.toml", "");
    assert_eq!(settings::load(&layers).unwrap().identity_providers["main"].client_id, "other");
}

/// The next reading, and what is declared then.
async fn read(files: &mut Files) -> (Vec<String>, Vec<String>) {
    let reading = tokio::time::timeout(Duration::from_secs(30), files.next()).await.expect("a change is noticed");
    (declared(files), reading.mistakes)
}

#[tokio::test]
async fn every_kind_of_replacement_is_noticed() {
    let folder = Folder::new();
    folder.write("conf.d/a.toml", &application("a.example.com", "1"));
    let mut files = folder.files();
    let expected = |group: &str| vec!["main of forepost.toml".to_owned(), format!("a-example-com {group} of a.toml")];
    assert_eq!(read(&mut files).await.0, expected("1"));
    // Written in place, of the same length; replaced by another file.
    folder.write("conf.d/a.toml", &application("a.example.com", "2"));
    assert_eq!(read(&mut files).await.0, expected("2"));
    folder.replace("conf.d/a.toml", &application("a.example.com", "3"));
    assert_eq!(read(&mut files).await.0, expected("3"));
    // As Kubernetes does it: the file is a link through a folder that is a link, and that link is replaced.
    for (version, group) in [("v1", "4"), ("v2", "5")] {
        fs::create_dir(folder.path(version)).unwrap();
        folder.write(&format!("{version}/a.toml"), &application("a.example.com", group));
    }
    symlink(folder.path("v1"), folder.path("data")).unwrap();
    fs::remove_file(folder.path("conf.d/a.toml")).unwrap();
    symlink(folder.path("data/a.toml"), folder.path("conf.d/a.toml")).unwrap();
    assert_eq!(read(&mut files).await.0, expected("4"));
    symlink(folder.path("v2"), folder.path("data-new")).unwrap();
    fs::rename(folder.path("data-new"), folder.path("data")).unwrap();
    assert_eq!(read(&mut files).await.0, expected("5"));
    // A file that the configuration names.
    let secret = |files: &Files| match &files.declarations[0].declared {
        Declared::Provider { registration, .. } => {
            secrecy::ExposeSecret::expose_secret(registration.client_secret.as_ref().unwrap()).to_owned()
        }
        Declared::Application(_) | Declared::Host { .. } => panic!("the provider comes first"),
    };
    assert_eq!(secret(&files), "one");
    folder.write("secret", "two");
    read(&mut files).await;
    assert_eq!(secret(&files), "two");
    // What is gone stays as it was, and counts again when it is back.
    fs::remove_file(folder.path("secret")).unwrap();
    let (stays, mistakes) = read(&mut files).await;
    assert_eq!((stays, mistakes.len()), (expected("5"), 1), "{mistakes:?}");
    folder.write("secret", "three");
    assert_eq!(read(&mut files).await.1, Vec::<String>::new());
    assert_eq!(secret(&files), "three");
    fs::remove_file(folder.path("forepost.toml")).unwrap();
    let (stays, mistakes) = read(&mut files).await;
    assert_eq!((stays, mistakes.len()), (expected("5"), 1), "{mistakes:?}");
}

#[tokio::test]
async fn a_refused_application_keeps_only_hosts_that_it_had() {
    let folder = Folder::new();
    folder.write("conf.d/a.toml", &application("a.example.com", "1"));
    folder.write("conf.d/b.toml", &application("b.example.com", "1"));
    let mut files = folder.files();
    read(&mut files).await;
    let before = declared(&files);
    // A new application with a mistake, one at another host, and one that takes the name of another: nothing changes, because
    // other applications could answer for their hosts.
    let other_host = application("c.example.com", "2") + "slug = \"b-example-com\"\ncolour = 1\n";
    let same_name = application("c.example.com", "2") + "slug = \"a-example-com\"\n";
    for broken in [application("c.example.com", "2") + "colour = 1\n", other_host, same_name] {
        folder.write("conf.d/a.toml", &application("a.example.com", "2"));
        folder.write("conf.d/b.toml", &broken);
        let reading = files.reading(None).await;
        assert!(!reading.mistakes.is_empty());
        assert_eq!(declared(&files), before, "{broken}");
    }
}

#[test]
fn broken_configurations_change_nothing_or_one_application() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _context = runtime.enter();
    let folder = Folder::new();
    let text = application("a.example.com", "old") + &application("b.example.com", "old");
    folder.write("conf.d/a.toml", &text);
    let files = std::cell::RefCell::new(folder.files());
    let new = application("a.example.com", "new") + &application("b.example.com", "new");
    let junk = proptest::sample::select(vec!["[", "]", "=", "\"", "x", "\n", "[[application]]\n", "1", ""]);
    let cases = (0..new.len(), 0..20_usize, junk);
    // The text with a part of it replaced: 200 times more or less broken.
    let config = proptest::test_runner::Config { cases: 200, failure_persistence: None, ..Default::default() };
    let mut runner = proptest::test_runner::TestRunner::new(config);
    let result = runner.run(&cases, |(at, length, junk)| {
        let end = (at + length).min(new.len());
        folder.write("conf.d/a.toml", &[&new[..at], junk, &new[end..]].concat());
        let mut files = files.borrow_mut();
        let before = files.declarations.clone();
        let reading = runtime.block_on(files.reading(None));
        if reading.mistakes.is_empty() {
            // It is a configuration after all.
            folder.write("conf.d/a.toml", &text);
            runtime.block_on(files.reading(None));
            return Ok(());
        }
        prop_assert_eq!(files.declarations.len(), before.len());
        for slug in ["a-example-com", "b-example-com"] {
            prop_assert!(declared(&files).iter().any(|it| it.starts_with(slug)), "{} is gone", slug);
        }
        Ok(())
    });
    result.unwrap();
}
