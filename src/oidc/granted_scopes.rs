//! Which scopes the provider grants.

use std::collections::BTreeSet;

use parking_lot::Mutex;

use super::OidcError;
use super::metadata::OFFLINE_ACCESS;

/// The scopes that the provider named as granted, at any login.
///
/// The authorization request passes through the browser, so a user can take a scope out of it, and with the scope the claims that
/// a rule denies. Whether a provider names a scope that it grants is its own affair (some name none, or another text): only what
/// it named once is missed later.
#[derive(Debug, Default)]
pub(super) struct GrantedScopes {
    named: Mutex<BTreeSet<String>>,
}

impl GrantedScopes {
    /// Compares the scopes that forepost asks for with the `scope` of a token response (RFC 6749 §5.1).
    ///
    /// `offline_access` may be granted now and then: with consent alone (OIDC Core §11). Without a `scope` in the response
    /// nothing is known.
    ///
    /// # Errors
    ///
    /// When one is missing that the provider named before.
    pub(super) fn verify(&self, asked: &[String], granted: Option<&str>) -> Result<(), OidcError> {
        let Some(granted) = granted else { return Ok(()) };
        let granted: BTreeSet<&str> = granted.split(' ').collect();
        let mut named = self.named.lock();
        for scope in asked.iter().filter(|scope| *scope != OFFLINE_ACCESS) {
            if granted.contains(scope.as_str()) {
                if !named.contains(scope) {
                    named.insert(scope.clone());
                }
            } else if named.contains(scope) {
                return Err(OidcError::ScopeNotGranted(scope.clone()));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_granted_once_is_missed() {
        let asked = ["openid", "profile", "groups", OFFLINE_ACCESS].map(str::to_owned);
        let scopes = GrantedScopes::default();
        let check = |granted: Option<&str>, missing: Option<&str>| {
            let found = scopes.verify(&asked, granted).err().map(|error| error.to_string());
            let expected = missing.map(|scope| format!("the scope {scope} was not granted, as it is to others"));
            assert_eq!(found, expected, "{granted:?}");
        };
        // Google names other texts for the scopes.
        check(Some("openid https://www.googleapis.com/auth/userinfo.profile"), None);
        check(Some("openid"), None);
        check(Some("openid profile groups offline_access"), None);
        check(Some("groups profile openid more"), None);
        check(Some("openid profile"), Some("groups"));
        check(Some(""), Some("openid"));
        check(None, None);
        check(Some("openid  profile groups"), None);
    }
}
