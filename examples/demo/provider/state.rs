//! What the provider remembers: clients, users, sign-ons, codes, tokens.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::{Client, User};

/// Seconds that a code is valid.
pub(super) const CODE_LIFETIME: u64 = 60;

/// Seconds that tokens are valid.
pub(super) const TOKEN_LIFETIME: u64 = 3600;

/// A demo that runs for weeks forgets everything now and then instead of growing.
const MOST: usize = 10_000;

/// Somebody signed in at the provider.
#[derive(Clone, Debug)]
pub(super) struct SignOn {
    /// Who.
    pub(super) login: String,
    /// When, in seconds since the epoch.
    pub(super) since: u64,
}

/// What a code was given for.
#[derive(Clone, Debug)]
pub(super) struct Grant {
    pub(super) client: String,
    pub(super) redirect_uri: String,
    pub(super) scope: String,
    pub(super) nonce: Option<String>,
    /// The S256 challenge.
    pub(super) challenge: Option<String>,
    pub(super) sign_on: SignOn,
    /// The `sid` claim.
    pub(super) session: String,
    /// When the code ends, in seconds since the epoch.
    pub(super) until: u64,
}

#[derive(Debug)]
enum Code {
    Fresh(Grant),
    /// Spent, for this access token.
    Spent(String),
}

/// What an access token opens.
#[derive(Clone, Debug)]
pub(super) struct Access {
    pub(super) login: String,
    pub(super) scope: String,
    /// When it ends, in seconds since the epoch.
    pub(super) until: u64,
}

/// All of it.
#[derive(Debug)]
pub(super) struct State {
    clients: HashMap<String, Client>,
    users: Vec<User>,
    sign_ons: HashMap<String, SignOn>,
    codes: HashMap<String, Code>,
    access: HashMap<String, Access>,
    /// ID tokens that were given, and to which client.
    id_tokens: HashMap<String, String>,
}

impl State {
    pub(super) fn new(clients: Vec<Client>, users: Vec<User>) -> Self {
        let clients = clients.into_iter().map(|client| (client.id.clone(), client));
        Self {
            clients: clients.collect(),
            users,
            sign_ons: HashMap::new(),
            codes: HashMap::new(),
            access: HashMap::new(),
            id_tokens: HashMap::new(),
        }
    }

    pub(super) fn add_client(&mut self, client: Client) {
        self.clients.insert(client.id.clone(), client);
    }

    pub(super) fn client(&self, id: &str) -> Option<Client> {
        self.clients.get(id).cloned()
    }

    pub(super) fn add_user(&mut self, user: User) {
        self.users.retain(|known| known.login != user.login);
        self.users.push(user);
    }

    pub(super) fn knows(&self, login: &str) -> bool {
        self.users.iter().any(|user| user.login == login)
    }

    pub(super) fn logins(&self) -> Vec<String> {
        self.users.iter().map(|user| user.login.clone()).collect()
    }

    /// The claims of a user that these scopes open (OIDC Core §5.4; `groups` by `profile` too, as authentik has it).
    pub(super) fn claims(&self, login: &str, scope: &str) -> Map<String, Value> {
        let asked = |name: &str| scope.split(' ').any(|scope| scope == name);
        let Some(user) = self.users.iter().find(|user| user.login == login) else {
            return Map::new();
        };
        let open = |name: &str| match name {
            "sub" => true,
            "email" | "email_verified" => asked("email"),
            "groups" => asked("groups") || asked("profile"),
            _ => asked("profile"),
        };
        let claims = user.claims.iter().filter(|(name, _)| open(name));
        claims.map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    pub(super) fn sign_on(&mut self, token: String, sign_on: SignOn) {
        insert(&mut self.sign_ons, token, sign_on);
    }

    pub(super) fn signed_on(&self, token: &str) -> Option<SignOn> {
        self.sign_ons.get(token).cloned()
    }

    pub(super) fn sign_off(&mut self, token: &str) {
        self.sign_ons.remove(token);
    }

    pub(super) fn end_sessions(&mut self) {
        self.sign_ons.clear();
    }

    pub(super) fn add_code(&mut self, code: String, grant: Grant) {
        insert(&mut self.codes, code, Code::Fresh(grant));
    }

    /// Spends a code for `access_token`; a second use ends that token (RFC 6749 §4.1.2).
    pub(super) fn spend(&mut self, code: &str, access_token: &str) -> Option<Grant> {
        let known = self.codes.get_mut(code)?;
        match std::mem::replace(known, Code::Spent(access_token.to_owned())) {
            Code::Fresh(grant) => Some(grant),
            Code::Spent(earlier) => {
                self.access.remove(&earlier);
                None
            }
        }
    }

    pub(super) fn add_tokens(&mut self, access_token: String, access: Access, id_token: (String, String)) {
        insert(&mut self.access, access_token, access);
        insert(&mut self.id_tokens, id_token.0, id_token.1);
    }

    pub(super) fn access(&self, token: &str, now: u64) -> Option<Access> {
        self.access.get(token).filter(|access| now < access.until).cloned()
    }

    /// The client that an ID token was given to, however old it is (RP-Initiated Logout §2).
    pub(super) fn id_token_client(&self, id_token: &str) -> Option<String> {
        self.id_tokens.get(id_token).cloned()
    }
}

fn insert<T>(map: &mut HashMap<String, T>, key: String, value: T) {
    if map.len() >= MOST {
        map.clear();
    }
    map.insert(key, value);
}
