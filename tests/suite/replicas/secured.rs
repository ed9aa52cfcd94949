//! A Redis that speaks TLS alone, and knows forepost by the user that the documentation gives it.

use std::fs;
use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use super::ends::{End, Orders};
use super::scene::{Scene, user};
use crate::provider::User;
use crate::proxies::proxy::Proxy;
use crate::support::redis::{Redis, until};

const DOCUMENTATION: &str = include_str!("../../../docs/SESSIONS.md");

/// The words of the order that makes the user, as printed.
pub(super) fn printed_user() -> Vec<&'static str> {
    let block = DOCUMENTATION.split("```").find(|block| block.trim_start().starts_with("ACL SETUSER ")).unwrap();
    block.split_whitespace().collect()
}

/// An authority, and what it signed for this machine: the files are `ca`, `certificate` and `key`.
fn certify(folder: &Path) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "An authority of one test");
    let key = KeyPair::generate().unwrap();
    fs::write(folder.join("ca"), params.self_signed(&key).unwrap().pem()).unwrap();
    let authority = Issuer::new(params, key);
    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
    fs::write(folder.join("certificate"), certificate.pem()).unwrap();
    fs::write(folder.join("key"), key.serialize_pem()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_and_the_user_of_the_documentation_are_enough() {
    let folder = tempfile::tempdir().unwrap();
    certify(folder.path());
    let [ca, certificate, key, url, users] =
        ["ca", "certificate", "key", "url", "users"].map(|name| folder.path().join(name).display().to_string());
    // As in a file of users; no other user can do anything.
    let [_, _, name, rules @ ..] = &printed_user()[..] else { panic!("no user") };
    assert_eq!(*name, "forepost");
    fs::write(&users, format!("user default off\nuser forepost {}\n", rules.join(" "))).unwrap();
    let redis = Redis::secured(&certificate, &key, &["--appendonly", "yes", "--aclfile", &users]).await;
    fs::write(&url, format!("rediss://forepost:password@localhost:{}/1\n", redis.address.port())).unwrap();
    let environment = vec![
        ("FOREPOST_SESSION__REDIS__URL_FILE", url),
        ("FOREPOST_SESSION__REDIS__CA_FILE", ca),
        ("FOREPOST_SESSION__REVALIDATE_AFTER", "1s".to_owned()),
        ("FOREPOST_SESSION__REVALIDATE_WITHIN", "1h".to_owned()),
        // Ten times in it, sessions are counted and lists cut.
        ("FOREPOST_SESSION__IDLE_TIMEOUT", "20s".to_owned()),
    ];
    let mut scene = Scene::start(Proxy::Nginx, vec![environment.clone(), environment]).await;

    let mut browsers = Vec::new();
    for number in 0..=End::ALL.len() {
        browsers.push(scene.sign_in(&user(number)).await);
    }
    for replica in &mut scene.replicas {
        let log = replica.kill();
        assert!(!log.iter().any(|line| line.contains("password") || line.contains("NOPERM")), "{log:#?}");
        replica.run();
    }
    for replica in 0..2 {
        until("readiness", async || scene.health(replica).await == (200, true)).await;
        for browser in &browsers {
            scene.check(browser, replica).await.is(200);
        }
    }
    scene.provider.add_user(User::new(&user(0), "A Name", &["staff", "new"]));
    until("a refresh", async || scene.check(&browsers[0], 0).await.is(200).header("x-authentik-groups") == "staff|new")
        .await;
    until("a count", async || scene.metrics(0).await.contains("\nforepost_sessions 5\n")).await;
    let list = scene.sessions();
    let [stays, leave @ ..] = &browsers[..] else { panic!("no browser") };
    for (at, browser) in leave.iter().enumerate() {
        let name = user(at + 1);
        let orders = Orders::new(End::ALL[at], name.clone(), list[&name].clone());
        let ended = orders.give(&scene, browser, at % 2).await;
        let ended = ended.unwrap_or_else(|| panic!("{:?} is refused", End::ALL[at]));
        for replica in 0..2 {
            scene.until_denied(browser, replica, ended).await;
        }
    }
    for replica in 0..2 {
        scene.check(stays, replica).await.is(200);
    }
    for replica in &mut scene.replicas {
        let log = replica.kill();
        let complaints = ["password", "NOPERM", "Redis is away", "Redis refuses"];
        assert!(!log.iter().any(|line| complaints.iter().any(|it| line.contains(it))), "{log:#?}");
        replica.run();
    }
    // What has ended stays so.
    for replica in 0..2 {
        for browser in leave {
            scene.check(browser, replica).await.is(302);
        }
        scene.check(stays, replica).await.is(200);
    }
}
