//! What the provider remembers: clients, users, sign-ons, codes, tokens.

use std::collections::{BTreeSet, HashMap};

use serde_json::{Map, Value};

use super::{Client, Refreshing, User, keys};

/// Seconds that a code is valid.
pub(super) const CODE_LIFETIME: u64 = 60;

/// Seconds that tokens are valid.
pub(super) const TOKEN_LIFETIME: u64 = 3600;

/// A demo that runs for weeks forgets everything now and then instead of growing.
const MOST: usize = 10_000;

/// A user who is signed in at the provider.
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
    /// The `acr` claim: the first that was asked for, because a demo can vouch for anything.
    pub(super) acr: Option<String>,
    /// The `sid` claim.
    pub(super) session: String,
    /// Shared by all tokens that come from one code: they end together.
    pub(super) family: String,
    /// When the code ends, in seconds since the epoch.
    pub(super) until: u64,
}

impl Grant {
    /// Whether it outlives the session that it was given in.
    pub(super) fn is_offline(&self) -> bool {
        self.scope.split(' ').any(|scope| scope == "offline_access")
    }
}

#[derive(Debug)]
struct Offline {
    grant: Grant,
    /// Whether another one took its place.
    spent: bool,
}

/// What an access token opens.
#[derive(Clone, Debug)]
pub(super) struct Access {
    pub(super) client: String,
    pub(super) login: String,
    pub(super) scope: String,
    pub(super) family: String,
    /// When it ends, in seconds since the epoch.
    pub(super) until: u64,
}

/// All of it.
#[derive(Debug)]
pub(super) struct State {
    clients: HashMap<String, Client>,
    users: Vec<User>,
    sign_ons: HashMap<String, SignOn>,
    /// The clients that have a part in a session, by its `sid`.
    parties: HashMap<String, BTreeSet<String>>,
    /// Nothing for those that are spent.
    codes: HashMap<String, Option<Grant>>,
    access: HashMap<String, Access>,
    offline: HashMap<String, Offline>,
    /// ID tokens that were given, and to which client.
    id_tokens: HashMap<String, String>,
    /// By device code.
    devices: HashMap<String, Device>,
}

/// A login that is confirmed elsewhere.
#[derive(Clone, Debug)]
pub(super) struct Device {
    pub(super) user_code: String,
    pub(super) client: String,
    pub(super) scope: String,
    /// In seconds since the epoch.
    pub(super) until: u64,
    pub(super) answer: Option<DeviceAnswer>,
    /// How many questions for its tokens were answered.
    pub(super) asked: usize,
}

/// What the user said to it.
#[derive(Clone, Debug)]
pub(super) enum DeviceAnswer {
    Denied,
    Confirmed(SignOn),
}

impl State {
    pub(super) fn new(clients: Vec<Client>, users: Vec<User>) -> Self {
        let clients = clients.into_iter().map(|client| (client.id.clone(), client));
        Self {
            clients: clients.collect(),
            users,
            sign_ons: HashMap::new(),
            parties: HashMap::new(),
            codes: HashMap::new(),
            access: HashMap::new(),
            offline: HashMap::new(),
            id_tokens: HashMap::new(),
            devices: HashMap::new(),
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

    pub(super) fn remove_user(&mut self, login: &str) {
        self.users.retain(|known| known.login != login);
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

    /// Ends a session; who it was of, its `sid`, and the clients that had a part in it.
    pub(super) fn sign_off(&mut self, token: &str) -> Option<(SignOn, String, Vec<Client>)> {
        let sign_on = self.sign_ons.remove(token)?;
        let session = keys::s256(token);
        let parties = self.parties.remove(&session).unwrap_or_default();
        let clients = parties.iter().filter_map(|id| self.client(id)).collect();
        Some((sign_on, session, clients))
    }

    /// Takes a client out of a session, which ends with the last one.
    fn leave(&mut self, session: &str, client: &str) {
        let Some(parties) = self.parties.get_mut(session) else { return };
        parties.remove(client);
        if parties.is_empty() {
            self.parties.remove(session);
            self.sign_ons.retain(|token, _| keys::s256(token) != session);
        }
    }

    pub(super) fn end_sessions(&mut self) {
        self.sign_ons.clear();
    }

    pub(super) fn add_code(&mut self, code: String, grant: Grant) {
        insert(&mut self.codes, code, Some(grant));
    }

    /// Spends a code; a second use ends the tokens of the first (RFC 6749 §4.1.2).
    pub(super) fn spend(&mut self, code: &str) -> Option<Grant> {
        let grant = self.codes.get_mut(code)?.take();
        match &grant {
            None => self.end_family(code),
            Some(grant) => {
                if self.parties.len() >= MOST {
                    self.parties.clear();
                }
                self.parties.entry(grant.session.clone()).or_default().insert(grant.client.clone());
            }
        }
        grant
    }

    pub(super) fn add_refresh_token(&mut self, token: String, grant: Grant) {
        insert(&mut self.offline, token, Offline { grant, spent: false });
    }

    /// What a refresh token of `client` stands for; a spent one ends its family (RFC 9700 §4.14.2), or only fails.
    pub(super) fn refresh(&mut self, token: &str, client: &str, refreshing: &Refreshing) -> Option<Grant> {
        let known = self.offline.get_mut(token).filter(|known| known.grant.client == client)?;
        let grant = known.grant.clone();
        if known.spent {
            if !refreshing.forgive_reuse {
                self.end_family(&grant.family);
            }
            return None;
        }
        known.spent = !refreshing.keep_token;
        let lives = grant.is_offline() || self.sign_ons.keys().any(|token| keys::s256(token) == grant.session);
        (lives && self.knows(&grant.sign_on.login)).then_some(grant)
    }

    /// Ends a token of `client`, whichever it is; a refresh token takes its family with it (RFC 7009 §2.1).
    pub(super) fn revoke(&mut self, token: &str, client: &str, refreshing: &Refreshing) {
        let offline = self.offline.get(token).filter(|known| known.grant.client == client);
        match offline.map(|known| (known.grant.family.clone(), known.grant.session.clone())) {
            Some((family, session)) => {
                self.end_family(&family);
                if refreshing.revocation_leaves_session {
                    self.leave(&session, client);
                }
            }
            None => drop(self.access.remove(token)),
        }
    }

    pub(super) fn end_grants(&mut self) {
        self.offline.clear();
    }

    fn end_family(&mut self, family: &str) {
        self.offline.retain(|_, known| known.grant.family != family);
        self.access.retain(|_, known| known.family != family);
    }

    pub(super) fn add_device(&mut self, code: String, device: Device) {
        insert(&mut self.devices, code, device);
    }

    /// Changes the login that waits under this user code; whether there is one.
    pub(super) fn answer_device(&mut self, user_code: &str, now: u64, answer: DeviceAnswer) -> bool {
        let mut waiting = self.devices.values_mut().filter(|device| device.answer.is_none() && now < device.until);
        let device = waiting.find(|device| device.user_code == user_code);
        device.map(|device| device.answer = Some(answer)).is_some()
    }

    /// The login of a device code, and that it was asked for once more.
    pub(super) fn device(&mut self, code: &str) -> Option<Device> {
        let device = self.devices.get_mut(code)?;
        device.asked += 1;
        Some(device.clone())
    }

    pub(super) fn remove_device(&mut self, code: &str) {
        self.devices.remove(code);
    }

    /// The cookies of who is signed in as `login`.
    pub(super) fn sign_ons_of(&self, login: &str) -> Vec<String> {
        let theirs = self.sign_ons.iter().filter(|(_, sign_on)| sign_on.login == login);
        theirs.map(|(token, _)| token.clone()).collect()
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
