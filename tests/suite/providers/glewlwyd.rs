//! Glewlwyd, as Debian packages it: shares no code with the other provider, and has habits of its own.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::LazyLock;

use http::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use url::Url;

use crate::support::port::reserved_address;
use crate::support::tool::{self, Running, START_DEADLINE};
use crate::support::{Browser, Reply};

/// The scheme of its database, with an administrator whose password is not secret.
const SCHEME: &str = "/usr/share/dbconfig-common/data/glewlwyd/install/sqlite3";
const WEBAPP: &str = "/usr/share/glewlwyd/webapp";
const SCOPES: [&str; 4] = ["openid", "profile", "email", "groups"];

/// A running provider, where one client is registered.
#[derive(Debug)]
pub(super) struct Glewlwyd {
    pub(super) issuer: String,
    pub(super) address: SocketAddr,
    running: Option<Running>,
    folder: TempDir,
}

impl Glewlwyd {
    pub(super) const CLIENT_ID: &str = "proxy";
    /// It does not decode Basic's form encoding, so nothing here may need any.
    pub(super) const CLIENT_SECRET: &str = "the-secret_of.a-test";

    /// Starts a provider that knows the application at `origin`, alice and bob.
    pub(super) async fn start(origin: &str) -> Self {
        let address = reserved_address();
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("database");
        let mut sqlite = tool::command("sqlite3");
        // No test needs this database after a crash, and waiting for the disk is most of the work.
        sqlite.args(["-cmd", "PRAGMA synchronous = OFF;", "-cmd", "PRAGMA journal_mode = WAL;"]);
        let status = sqlite.arg(&database).stdin(fs::File::open(SCHEME).unwrap()).status().unwrap();
        assert!(status.success(), "{status}");
        fs::write(folder.path().join("configuration"), configuration(address.port(), &database)).unwrap();
        let issuer = format!("http://idp.localhost:{}/api/oidc", address.port());
        let mut provider = Self { issuer, address, running: None, folder };
        provider.resume().await;
        provider.provision(origin).await;
        provider
    }

    /// Ends it; what it knows stays.
    pub(super) fn stop(&mut self) {
        self.running = None;
    }

    /// Starts it where it was before.
    pub(super) async fn resume(&mut self) {
        let mut command = tool::command("glewlwyd");
        command.arg(format!("--config-file={}", self.folder.path().join("configuration").display()));
        let mut running = Running::start(command, self.folder.path());
        running.until_ready("glewlwyd", START_DEADLINE, async || tool::listens(self.address).await).await;
        self.running = Some(running);
    }

    /// One call of the API that its own pages use.
    async fn call(&self, browser: &mut Browser, method: Method, path: &str, body: &Value) -> Reply {
        let url = format!("http://idp.localhost:{}/api/{path}", self.address.port());
        browser.send(method, &url, &[("content-type", "application/json")], Some(&body.to_string())).await
    }

    /// A browser where its administrator has signed in.
    async fn administrator(&self) -> Browser {
        let mut browser = Browser::new().route("*", self.address);
        let credentials = json!({"username": "admin", "password": "password"});
        self.call(&mut browser, Method::POST, "auth/", &credentials).await.is(200);
        browser
    }

    async fn provision(&self, origin: &str) {
        let admin = &mut self.administrator().await;
        for name in SCOPES {
            let scope = json!({"name": name, "display_name": name, "password_required": true, "password_max_age": 0, "scheme": {}});
            // This one it brings along.
            let (method, path) =
                if name == "openid" { (Method::PUT, "scope/openid") } else { (Method::POST, "scope/") };
            self.call(admin, method, path, &scope).await.is(200);
        }
        self.call(admin, Method::POST, "mod/plugin/", &plugin(&self.issuer)).await.is(200);

        let mut users = self.call(admin, Method::GET, "mod/user/database", &Value::Null).await.is(200).json();
        users["parameters"]["data-format"]["groups"] = json!({"multiple": true, "read": true, "write": true});
        self.call(admin, Method::PUT, "mod/user/database", &users).await.is(200);
        self.call(admin, Method::PUT, "mod/user/database/reset", &Value::Null).await.is(200);
        for (login, name, groups) in [("alice", "Alice Ärger", &["admins", "staff"][..]), ("bob", "Bob", &["staff"])] {
            let user = json!({
                "username": login, "password": password(login), "name": name, "email": format!("{login}@example.test"),
                "enabled": true, "scope": SCOPES, "groups": groups,
            });
            self.call(admin, Method::POST, "user/?source=database", &user).await.is(200);
        }
        let client = json!({
            "client_id": Self::CLIENT_ID, "client_secret": Self::CLIENT_SECRET, "name": "proxy", "enabled": true,
            "confidential": true, "authorization_type": ["code", "refresh_token"], "scope": SCOPES,
            "token_endpoint_auth_method": ["client_secret_basic"],
            "redirect_uri": [format!("{origin}/outpost.goauthentik.io/callback?X-authentik-auth-callback=true")],
            "post_logout_redirect_uri": format!("{origin}/outpost.goauthentik.io/signed_out"),
        });
        self.call(admin, Method::POST, "client/?source=database", &client).await.is(200);
    }

    /// Signs in as its login page would, up to the redirect that leaves the provider.
    pub(super) async fn sign_in(&self, browser: &mut Browser, authorization: &Url, user: &str) -> Reply {
        let credentials = json!({"username": user, "password": password(user)});
        self.call(browser, Method::POST, "auth/", &credentials).await.is(200);
        let path = format!("auth/grant/{}", Self::CLIENT_ID);
        self.call(browser, Method::PUT, &path, &json!({"scope": SCOPES.join(" ")})).await.is(200);
        browser.get(Self::continued(authorization).as_str()).await
    }

    /// The authorisation request after its login page has done its part.
    pub(super) fn continued(authorization: &Url) -> Url {
        let mut authorization = authorization.clone();
        authorization.query_pairs_mut().append_pair("g_continue", "");
        authorization
    }

    /// Signs out as its logout page would, up to where that page sends the browser.
    pub(super) async fn sign_out(&self, browser: &mut Browser, page: &Reply) -> Reply {
        let parameter = |name| page.url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned());
        assert_eq!(parameter("prompt").as_deref(), Some("end_session"), "{page:#?}");
        let session = parameter("sid").unwrap();
        self.end_session(browser, &session).await;
        self.call(browser, Method::DELETE, "auth/", &Value::Null).await
    }

    /// Ends the provider's session that an ID token named, as its logout page does once a user confirmed.
    pub(super) async fn end_session(&self, browser: &mut Browser, session: &str) {
        self.call(browser, Method::DELETE, &format!("oidc/session/{session}/"), &Value::Null).await.is(200);
    }

    /// Has logouts sent there (OpenID Connect Back-Channel Logout 1.0 §2.2), with the session named.
    pub(super) async fn tell_logouts(&self, uri: &str) {
        let admin = &mut self.administrator().await;
        let path = format!("client/{}?source=database", Self::CLIENT_ID);
        let mut client = self.call(admin, Method::GET, &path, &Value::Null).await.is(200).json();
        client["backchannel_logout_uri"] = json!(uri);
        client["backchannel_logout_session_required"] = json!("1");
        self.call(admin, Method::PUT, &path, &client).await.is(200);
    }

    /// Ends all refresh tokens of who is signed in.
    pub(super) async fn end_grants(&self, browser: &mut Browser) {
        let tokens = self.call(browser, Method::GET, "oidc/token/", &Value::Null).await.is(200).json();
        for token in tokens.as_array().unwrap().iter().filter(|token| token["enabled"] == true) {
            let name: String =
                url::form_urlencoded::byte_serialize(token["token_hash"].as_str().unwrap().as_bytes()).collect();
            self.call(browser, Method::DELETE, &format!("oidc/token/{name}"), &Value::Null).await.is(200);
        }
    }

    /// New signing keys; the old ones are gone.
    pub(super) async fn rotate(&self) {
        let admin = &mut self.administrator().await;
        let mut plugin = self.call(admin, Method::GET, "mod/plugin/oidc", &Value::Null).await.is(200).json();
        let (private, public) = new_key();
        plugin["parameters"]["key"] = json!(private);
        plugin["parameters"]["cert"] = json!(public);
        self.call(admin, Method::PUT, "mod/plugin/oidc", &plugin).await.is(200);
        self.call(admin, Method::PUT, "mod/plugin/oidc/reset", &Value::Null).await.is(200);
    }
}

fn password(login: &str) -> String {
    format!("the password of {login}")
}

/// An RSA key pair as PEM.
fn new_key() -> (String, String) {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
    (key.serialize_pem(), key.public_key_pem())
}

fn configuration(port: u16, database: &Path) -> String {
    let database = database.display();
    format!(
        r#"
port = {port}
bind_address = "127.0.0.1"
external_url = "http://idp.localhost:{port}"
login_url = "login.html"
api_prefix = "api"
log_mode = "console"
log_level = "ERROR"
cookie_secure = 0
cookie_same_site = "lax"
session_expiration = 3600
session_key = "GLEWLWYD2_SESSION_ID"
admin_scope = "g_admin"
profile_scope = "g_profile"
static_files_path = "{WEBAPP}"
static_files_mime_types = ({{ extension = ".html"; mime_type = "text/html"; }});
user_module_path = "/usr/lib/glewlwyd/user"
client_module_path = "/usr/lib/glewlwyd/client"
user_auth_scheme_module_path = "/usr/lib/glewlwyd/scheme"
plugin_module_path = "/usr/lib/glewlwyd/plugin"
hash_algorithm = "SHA512"
database = {{ type = "sqlite3"; path = "{database}"; }};
"#
    )
}

/// Its OpenID Connect plugin: all that a code flow needs, and claims only for those who ask.
fn plugin(issuer: &str) -> Value {
    const ON: [&str; 8] = [
        "auth-type-code-enabled",
        "auth-type-id-token-enabled",
        "auth-type-refresh-enabled",
        "refresh-token-rolling",
        "jwks-show",
        "pkce-allowed",
        "session-management-allowed",
        "back-channel-logout-allowed",
    ];
    const OFF: [&str; 6] = [
        "allow-non-oidc",
        "auth-type-client-enabled",
        "auth-type-device-enabled",
        "auth-type-token-enabled",
        "auth-type-none-enabled",
        "auth-type-password-enabled",
    ];
    const SECONDS: [(&str, u32); 4] = [
        ("access-token-duration", 3600),
        ("refresh-token-duration", 3600),
        ("code-duration", 60),
        ("session-cookie-expiration", 3600),
    ];
    // RSA keys take their time, so tests share the first one.
    static FIRST_KEY: LazyLock<(String, String)> = LazyLock::new(new_key);
    let (private, public) = &*FIRST_KEY;
    let mut parameters = json!({
        "iss": issuer,
        "jwt-type": "rsa",
        "jwt-key-size": "256",
        "key": private,
        "cert": public,
        "jwks-x5c": [],
        "refresh-token-one-use": "always",
        "scope": [],
        "allowed-scope": SCOPES,
        "subject-type": "public",
        "session-cookie-name": "GLEWLWYD2_OIDC_SESSION",
        "name-claim": "on-demand",
        "name-claim-scope": [],
        "email-claim": "on-demand",
        "email-claim-scope": [],
        "address-claim": {"type": "no"},
        "additional-parameters": [],
    });
    parameters["claims"] = json!([{
        "name": "groups", "type": "string", "user-property": "groups", "on-demand": true, "mandatory": false, "scope": [],
    }]);
    for (names, value) in [(&ON[..], true), (&OFF[..], false)] {
        for name in names {
            parameters[name] = json!(value);
        }
    }
    for (name, seconds) in SECONDS {
        parameters[name] = json!(seconds);
    }
    json!({"module": "oidc", "name": "oidc", "display_name": "oidc", "enabled": true, "parameters": parameters})
}
