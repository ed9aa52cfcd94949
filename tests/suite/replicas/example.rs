//! The Valkey of the example and two foreposts, with the secrets that its script makes; no container can be started here.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use super::ends::{End, Orders};
use super::scene::{Scene, user};
use super::secured::printed_user;
use crate::proxies::proxy::Proxy;
use crate::proxies::replicas::{example, services};
use crate::support::redis::Redis;

/// Where secrets are in a container.
const SECRETS: &str = "/run/secrets";

#[tokio::test(flavor = "multi_thread")]
async fn two_share_the_valkey_of_the_example() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("secrets.sh");
    fs::write(&script, example("secrets.sh")).unwrap();
    let make = || Command::new("sh").arg(&script).stderr(std::process::Stdio::null()).status().unwrap().success();
    assert!(make());
    let secrets = folder.path().join("secrets");
    let made = ["session_secret", "redis_url", "valkey_users"].map(|name| secrets.join(name));
    let before = made.each_ref().map(|path| fs::read_to_string(path).unwrap());
    assert!(!make(), "what is there stays");
    assert_eq!(before, made.each_ref().map(|path| fs::read_to_string(path).unwrap()));
    let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&secrets), made.each_ref().map(mode)), (0o700, [0o444; 3]));

    // The user is the one of the documentation, with a password of its own.
    let [_, url, users] = before;
    let password = url.trim_end().strip_prefix("redis://forepost:").unwrap().strip_suffix("@valkey:6379/0").unwrap();
    assert_eq!(password.len(), 64);
    let printed = printed_user()[2..].join(" ").replace(">password", &format!(">{password}"));
    assert!(users.contains(&format!("user {printed}\n")), "{users}");

    let services = services();
    let here = |text: &str| text.replace(SECRETS, secrets.to_str().unwrap());
    let command: Vec<_> =
        services["valkey"]["command"].as_array().unwrap().iter().map(|it| here(it.as_str().unwrap())).collect();
    let [program, flags @ ..] = &command[..] else { panic!("no command") };
    assert_eq!(program, "valkey-server");
    // It says to any client that it is there, and nothing else: so the health of its container is asked for.
    let valkey = Redis::valkey(&flags.iter().map(String::as_str).collect::<Vec<_>>()).await;
    assert_eq!(services["valkey"]["healthcheck"]["test"], serde_json::json!(["CMD", "valkey-cli", "-e", "ping"]));
    assert_eq!(valkey.ask(&["DBSIZE"]).await, None);

    let [_, redis_url, _] = &made;
    fs::remove_file(redis_url).unwrap();
    fs::write(redis_url, url.replace("valkey:6379", &valkey.address.to_string())).unwrap();
    let variables = ["FOREPOST_SESSION__STORE", "FOREPOST_SESSION__SECRET_FILE", "FOREPOST_SESSION__REDIS__URL_FILE"];
    let all = services["forepost"]["environment"].as_object().unwrap();
    assert!(all.keys().all(|name| !name.starts_with("FOREPOST_SESSION__") || variables.contains(&name.as_str())));
    let environment = variables.map(|name| (name, here(all[name].as_str().unwrap())));
    for secret in ["session_secret", "redis_url"] {
        assert!(services["forepost"]["secrets"].as_array().unwrap().contains(&secret.into()), "{secret}");
    }
    let mut scene = Scene::start(Proxy::Nginx, vec![environment.to_vec(), environment.to_vec()]).await;
    let browsers = [scene.sign_in(&user(0)).await, scene.sign_in(&user(1)).await];
    let orders = Orders::new(End::RevokeUser, user(1), String::new());
    let since = orders.give(&scene, &browsers[1], 1).await.unwrap();
    scene.until_denied(&browsers[1], 0, since).await;
    for replica in 0..2 {
        scene.replicas[replica].kill();
        scene.replicas[replica].run();
        scene.check(&browsers[0], replica).await.is(200);
        scene.check(&browsers[1], replica).await.is(302);
    }
}
