//! Keycloak, started once for all tests of this process; each test has a realm of its own.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::LazyLock;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use url::Url;

use super::whole::is_healthy;
use crate::support::port::reserved_address;
use crate::support::tool::{self, Running};
use crate::support::{Browser, Reply};

/// A server that takes longer does not become ready. It takes about 15 s on two idle cores.
const START_DEADLINE: Duration = Duration::from_mins(4);

static SERVER: LazyLock<SocketAddr> = LazyLock::new(start);

/// Starts the server on a thread that lives as long as the process: the kernel kills a tool when its thread ends.
fn start() -> SocketAddr {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let (address, management) = (reserved_address(), reserved_address());
        let folder = tempfile::tempdir().unwrap();
        let mut running = Running::start(command(address, management), folder.path());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(running.until_ready("Keycloak", START_DEADLINE, async || is_healthy(management).await));
        sender.send(address).unwrap();
        loop {
            thread::park();
        }
    });
    receiver.recv().expect("Keycloak starts; the reason is above")
}

/// What `kc.sh start --optimized` runs, without the shell, which would leave Java behind when a test is killed.
fn command(address: SocketAddr, management: SocketAddr) -> Command {
    let home = PathBuf::from(tool::folder()).join("keycloak");
    let mut command = tool::command("java");
    command
        .args(["-Xms64m", "-Xmx512m", "-XX:TieredStopAtLevel=1", "-Dfile.encoding=UTF-8"])
        .args(["-Djava.util.logging.manager=org.jboss.logmanager.LogManager", "-Dpicocli.disable.closures=true"])
        .args(
            ["java.util", "java.util.concurrent", "java.security", "java.lang"]
                .map(|package| format!("--add-opens=java.base/{package}=ALL-UNNAMED")),
        )
        .arg(format!("-Dkc.home.dir={}", home.display()))
        .arg(format!("-Djboss.server.config.dir={}", home.join("conf").display()))
        .arg("-cp")
        .arg(home.join("lib/quarkus-run.jar"))
        .args(["io.quarkus.bootstrap.runner.QuarkusEntryPoint", "start", "--optimized", "--http-enabled=true"])
        .args(["--http-host=127.0.0.1", "--http-management-host=127.0.0.1"])
        .arg(format!("--http-port={}", address.port()))
        .arg(format!("--http-management-port={}", management.port()))
        .arg(format!("--hostname=http://idp.localhost:{}", address.port()))
        .env("KC_BOOTSTRAP_ADMIN_USERNAME", "admin")
        .env("KC_BOOTSTRAP_ADMIN_PASSWORD", "admin");
    command
}

/// A realm with one client and the users alice (realm roles admins and staff) and bob (staff).
#[derive(Debug)]
pub(super) struct Realm {
    pub(super) issuer: String,
    pub(super) address: SocketAddr,
    name: String,
}

impl Realm {
    pub(super) const CLIENT_SECRET: &str = "the-secret_of.a-test";

    /// Makes a realm whose client `client_id` has the applications at `origins`; `attributes` are further attributes of the
    /// client, by Keycloak's names.
    pub(super) async fn new(name: &str, client_id: &str, origins: &[&str], attributes: Value) -> Self {
        let address = tokio::task::spawn_blocking(|| *SERVER).await.unwrap();
        let issuer = format!("http://idp.localhost:{}/realms/{name}", address.port());
        let realm = Self { issuer, address, name: name.to_owned() };
        realm.admin(Method::POST, "/admin/realms", &representation(name, client_id, origins, attributes)).await.is(201);
        realm
    }

    /// One call of the administration API, with a token of its own: they live a minute.
    async fn admin(&self, method: Method, path: &str, body: &Value) -> Reply {
        let origin = format!("http://idp.localhost:{}", self.address.port());
        let mut admin = Browser::new().route("*", self.address);
        let form = "grant_type=password&client_id=admin-cli&username=admin&password=admin";
        let token = admin.post(&format!("{origin}/realms/master/protocol/openid-connect/token"), form).await;
        let bearer = format!("Bearer {}", token.is(200).json()["access_token"].as_str().unwrap());
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        let body = (!body.is_null()).then(|| body.to_string());
        admin.send(method, &format!("{origin}{path}"), &headers, body.as_deref()).await
    }

    /// The same, below this realm.
    pub(super) async fn call(&self, method: Method, path: &str, body: &Value) -> Reply {
        self.admin(method, &format!("/admin/realms/{}{path}", self.name), body).await
    }

    /// The representation of a client.
    async fn client(&self, client_id: &str) -> Value {
        let clients = self.call(Method::GET, &format!("/clients?clientId={client_id}"), &Value::Null).await;
        clients.is(200).json()[0].clone()
    }

    /// Puts a user's groups into the claim `groups` of the client's documents that are named: `id.token`, `userinfo.token`.
    pub(super) async fn tell_groups(&self, client_id: &str, document: &str) {
        let mut configuration = json!({"claim.name": "groups", "full.path": "false", "access.token.claim": "false"});
        for each in ["id.token", "userinfo.token"] {
            configuration[format!("{each}.claim")] = json!((each == document).to_string());
        }
        let mapper = json!({
            "name": "groups", "protocol": "openid-connect", "protocolMapper": "oidc-group-membership-mapper",
            "config": configuration,
        });
        let path = format!("/clients/{}/protocol-mappers/models", self.client(client_id).await["id"].as_str().unwrap());
        self.call(Method::POST, &path, &mapper).await.is(201);
    }

    /// Changes members of the client's representation; those of `attributes` one by one.
    pub(super) async fn change_client(&self, client_id: &str, changes: &Value) {
        let mut client = self.client(client_id).await;
        merge(&mut client, changes);
        let path = format!("/clients/{}", client["id"].as_str().unwrap());
        self.call(Method::PUT, &path, &client).await.is(204);
    }

    /// The administration's id of a user.
    pub(super) async fn user_id(&self, user: &str) -> String {
        let users = self.call(Method::GET, &format!("/users?exact=true&username={user}"), &Value::Null).await;
        users.is(200).json()[0]["id"].as_str().unwrap().to_owned()
    }

    /// Makes a group with one member, and says where the membership is.
    pub(super) async fn add_to_new_group(&self, user: &str, group: &str) -> String {
        self.call(Method::POST, "/groups", &json!({"name": group})).await.is(201);
        let groups = self.call(Method::GET, &format!("/groups?exact=true&search={group}"), &Value::Null).await;
        let id = groups.is(200).json()[0]["id"].as_str().unwrap().to_owned();
        let path = format!("/users/{}/groups/{id}", self.user_id(user).await);
        self.call(Method::PUT, &path, &json!({})).await.is(204);
        path
    }

    /// How many sessions Keycloak has of a user.
    pub(super) async fn sessions(&self, user: &str) -> usize {
        let path = format!("/users/{}/sessions", self.user_id(user).await);
        self.call(Method::GET, &path, &Value::Null).await.is(200).json().as_array().unwrap().len()
    }

    /// Answers an authorization request as a person would, up to the redirect that leaves Keycloak.
    pub(super) async fn sign_in(&self, browser: &mut Browser, authorization: &Url, user: &str) -> Reply {
        let page = browser.get(authorization.as_str()).await;
        let page = browser.follow_on_host(page).await;
        if page.status.is_redirection() {
            return page;
        }
        self.submit(browser, &page, user).await
    }

    /// The login form that an authorization request leads to.
    pub(super) async fn form(&self, browser: &mut Browser, authorization: &Url) -> Reply {
        let page = browser.get(authorization.as_str()).await;
        let page = browser.follow_on_host(page).await;
        page.is(200).contains("kc-form-login");
        page
    }

    /// Fills in the login form of `page`, up to the redirect that leaves Keycloak.
    pub(super) async fn submit(&self, browser: &mut Browser, page: &Reply, user: &str) -> Reply {
        let form = format!("username={user}&password=x&credentialId=");
        let reply = browser.post(&action(page.is(200), "id=\"kc-form-login\""), &form).await;
        browser.follow_on_host(reply).await
    }
}

/// The action of the form that has this attribute.
#[track_caller]
fn action(page: &Reply, attribute: &str) -> String {
    let form = page.body.split("<form").find(|form| form.contains(attribute));
    let action = form.and_then(|form| form.split_once("action=\"")?.1.split_once('"')).map(|(action, _)| action);
    let action = action.unwrap_or_else(|| panic!("no form with {attribute} in {page:#?}"));
    page.url.join(&action.replace("&amp;", "&")).unwrap().into()
}

/// Members of objects one by one, everything else as a whole.
fn merge(into: &mut Value, changes: &Value) {
    match (into, changes) {
        (Value::Object(into), Value::Object(changes)) => {
            for (name, change) in changes {
                merge(into.entry(name).or_insert(Value::Null), change);
            }
        }
        (into, change) => *into = change.clone(),
    }
}

fn representation(name: &str, client_id: &str, origins: &[&str], attributes: Value) -> Value {
    let each =
        |path: &str| origins.iter().map(|origin| format!("{origin}/outpost.goauthentik.io/{path}")).collect::<Vec<_>>();
    let mut client = json!({
        "clientId": client_id, "secret": Realm::CLIENT_SECRET, "redirectUris": each("callback?X-authentik-auth-callback=true"),
        "publicClient": false, "standardFlowEnabled": true, "frontchannelLogout": false,
        "attributes": {"post.logout.redirect.uris": each("signed_out").join("##")},
    });
    merge(&mut client["attributes"], &attributes);
    let user = |user: &str, name: (&str, &str), roles: &[&str]| {
        json!({
            "username": user, "enabled": true, "email": format!("{user}@example.test"), "emailVerified": true,
            "firstName": name.0, "lastName": name.1, "realmRoles": roles, "clientRoles": {client_id: ["editors"]},
            "credentials": [{"type": "password", "value": "x", "temporary": false}],
        })
    };
    json!({
        "realm": name, "enabled": true, "sslRequired": "none", "clients": [client],
        "roles": {"realm": [{"name": "admins"}, {"name": "staff"}], "client": {client_id: [{"name": "editors"}]}},
        "users": [
            user("alice", ("Alice", "Ärger"), &["admins", "staff"]),
            user("bob", ("Bob", "Builder"), &["staff"]),
        ],
    })
}
