//! Where the token comes from: what is kept, a refresh, a login.

use secrecy::SecretString;
use url::Url;

use super::client::{Client, Refusal, Tokens};
use super::discovery::{self, Target, address, covers};
use super::kept::{self, Kept, Lock};
use super::{Run, TokenArguments, device};
use crate::cli::command_error::CommandError;
use crate::oidc::{Metadata, ends_grant};

impl Run<'_> {
    /// A kept token, else a refreshed one, else one of a new login.
    pub(super) async fn token(&mut self) -> Result<SecretString, CommandError> {
        let mut ignored = None;
        let mut locked = None;
        if let Some((name, kept)) = self.kept()? {
            ignored = kept.access_token.clone().filter(|_| self.arguments.renew);
            if let Some(token) = self.usable(&kept, ignored.as_deref()) {
                return Ok(token);
            }
            let lock = self.lock(&name).await?;
            // Another run may have been here meanwhile.
            if let Some(mut kept) = self.read(&name)? {
                if let Some(token) = self.usable(&kept, ignored.as_deref()) {
                    return Ok(token);
                }
                if let Some(token) = self.refreshed(&mut kept, lock.as_ref()).await? {
                    return Ok(token);
                }
            }
            locked = Some((name, lock));
        }
        let target = self.interrupt.or(discovery::target(&self.http, &self.url)).await?;
        let name = self.name(&target.resource);
        let lock = match locked {
            Some((known, lock)) if known == name => lock,
            other => {
                drop(other);
                let lock = self.lock(&name).await?;
                let kept = self.read(&name)?;
                if let Some(token) = kept.and_then(|kept| self.usable(&kept, ignored.as_deref())) {
                    return Ok(token);
                }
                lock
            }
        };
        self.login(target, lock.as_ref()).await
    }

    fn usable(&self, kept: &Kept, ignored: Option<&str>) -> Option<SecretString> {
        kept.usable(self.world.now()).filter(|token| Some(*token) != ignored).map(SecretString::from)
    }

    /// What is kept of the login for the smallest application that holds the address.
    fn kept(&self) -> Result<Option<(String, Kept)>, CommandError> {
        let mut resource = self.url.clone();
        loop {
            let name = self.name(resource.as_str());
            if let Some(kept) = self.read(&name)?
                && covers(&kept.resource, &self.url)
            {
                return Ok(Some((name, kept)));
            }
            let Some((above, _)) = resource.path().trim_end_matches('/').rsplit_once('/') else {
                return Ok(None);
            };
            let above = above.to_owned();
            resource.set_path(&above);
        }
    }

    /// Logins that were asked for in other ways are others.
    fn name(&self, resource: &str) -> String {
        let TokenArguments { client_id, scope, resource_indicator, .. } = self.arguments;
        let resource = Url::parse(resource).map_or_else(|_| resource.to_owned(), String::from);
        kept::name(&resource, &(client_id, scope, resource_indicator))
    }

    fn read(&self, name: &str) -> Result<Option<Kept>, CommandError> {
        self.store.as_ref().map_or(Ok(None), |store| store.read(name))
    }

    async fn lock(&mut self, name: &str) -> Result<Option<Lock>, CommandError> {
        match &self.store {
            Some(store) => store.lock(name, &self.interrupt, &mut self.screen).await.map(Some),
            None => Ok(None),
        }
    }

    /// Keeps the tokens before anybody uses them: the refresh token of before may be worth nothing any more.
    fn keep(&mut self, lock: Option<&Lock>, kept: &Kept) {
        let (Some(store), Some(lock)) = (&self.store, lock) else {
            self.screen.say("Nothing is kept for the next time: neither XDG_STATE_HOME nor HOME is set.");
            return;
        };
        if let Err(error) = store.write(lock, kept) {
            self.screen.say(&format!("Nothing is kept for the next time: {error}."));
        }
    }

    /// Spends the refresh token; `None` when there is none that counts.
    ///
    /// An interruption waits for the end: a new refresh token could be lost on its way.
    async fn refreshed(&mut self, kept: &mut Kept, lock: Option<&Lock>) -> Result<Option<SecretString>, CommandError> {
        let Some(refresh_token) = kept.refresh_token.clone() else {
            return Ok(None);
        };
        let metadata = self.interrupt.or(discovery::provider(&self.http, &kept.issuer)).await?;
        let endpoint = address(metadata.token_endpoint(), "token_endpoint").map_err(CommandError::unavailable)?;
        let client = Client::new(&kept.client_id, self.secret.as_ref(), &metadata);
        let mut parameters = vec![("grant_type", "refresh_token"), ("refresh_token", refresh_token.as_str())];
        parameters.extend(self.arguments.resource_indicator.then_some(("resource", kept.resource.as_str())));
        let asked = self.world.now();
        let answer = match client.post(&self.http, &endpoint, &parameters).await {
            Ok(answer) => answer,
            Err(Refusal::Error { code, .. }) if ends_grant(&code) => {
                self.screen.say("The provider has ended the last login.");
                return Ok(None);
            }
            Err(refusal) => {
                return Err(CommandError::unavailable(format!("the provider does not refresh the login: {refusal}")));
            }
        };
        let tokens = Tokens::read(&answer)?;
        kept.take(&tokens, asked);
        self.keep(lock, kept);
        Ok(Some(tokens.access))
    }

    async fn login(&mut self, target: Target, lock: Option<&Lock>) -> Result<SecretString, CommandError> {
        let metadata = self.interrupt.or(discovery::provider(&self.http, &target.issuer)).await?;
        let unavailable = |why: &str| CommandError::unavailable(format!("the provider {}: {why}", target.issuer));
        let device_endpoint = metadata
            .device_authorization_endpoint()
            .ok_or_else(|| unavailable("its metadata has no device_authorization_endpoint, so it has no such login"))?;
        let device_endpoint = address(device_endpoint.as_str(), "device_authorization_endpoint");
        let device_endpoint = device_endpoint.map_err(|why| unavailable(&why))?;
        let token_endpoint = address(metadata.token_endpoint(), "token_endpoint").map_err(|why| unavailable(&why))?;
        let client_id = self.arguments.client_id.clone().or(target.client_id).ok_or_else(|| {
            CommandError::usage("the application names no client for programs; --client-id names one")
        })?;
        let client = Client::new(&client_id, self.secret.as_ref(), &metadata);
        let scope = self.scope(&target.scopes, &metadata);
        let request = device::Request {
            client: &client,
            device_endpoint: &device_endpoint,
            token_endpoint: &token_endpoint,
            scope: &scope,
            resource: self.arguments.resource_indicator.then_some(target.resource.as_str()),
        };
        self.screen.say(&format!("A login at {} is needed for {}.", target.issuer, target.resource));
        let login = device::login(&self.http, &request, &mut self.screen);
        let tokens = self.interrupt.or(login).await?;
        self.screen.end_line();
        let mut kept = Kept { resource: target.resource, issuer: target.issuer, client_id, ..Kept::default() };
        kept.take(&tokens, self.world.now());
        self.keep(lock, &kept);
        Ok(tokens.access)
    }

    /// What the application wants, and what brings a refresh token where the provider has such a thing.
    fn scope(&self, wanted: &[String], metadata: &Metadata) -> String {
        if !self.arguments.scope.is_empty() {
            return self.arguments.scope.join(" ");
        }
        let more = metadata.offers_offline_access().then_some("offline_access");
        let wanted = wanted.iter().map(String::as_str).filter(|scope| !["openid", "offline_access"].contains(scope));
        ["openid"].into_iter().chain(wanted).chain(more).collect::<Vec<_>>().join(" ")
    }
}
