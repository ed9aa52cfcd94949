//! Further headers: those that an application gets beside the twelve.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

use super::claims::{list, scalar};
use super::header_block::{header_value, identifier, join};
use super::{ClaimPath, PackedIdentity, WantedClaims};
use crate::identity::{BasicAuth, FurtherHeader, HeaderSource, IdentityField};

/// The claim in which authentik's proxy scope has the headers of users and groups.
const ATTRIBUTES: &str = "ak_proxy.user_attributes.additionalHeaders";

/// Separates the names of a list in further headers.
const SEPARATOR: char = ',';

/// The further headers of one application.
#[derive(Clone, Debug, Default)]
pub struct FurtherHeaders {
    headers: Vec<FurtherHeader>,
    basic_auth: Option<BasicAuth>,
}

impl FurtherHeaders {
    /// Makes those of the settings.
    #[must_use]
    pub(crate) const fn new(headers: Vec<FurtherHeader>, basic_auth: Option<BasicAuth>) -> Self {
        Self { headers, basic_auth }
    }

    /// All names; the proxy must not pass a client's field with one of them.
    pub(crate) fn names(&self) -> impl Iterator<Item = HeaderName> {
        let basic_auth = self.basic_auth.as_ref().map(|_| AUTHORIZATION);
        self.headers.iter().map(|header| header.name.clone()).chain(basic_auth)
    }

    /// Adds the claims that the headers are made of.
    pub(crate) fn add_wanted_claims(&self, wanted: &mut WantedClaims) {
        for header in &self.headers {
            match &header.source {
                HeaderSource::Claim(path) => wanted.add(path),
                HeaderSource::Attribute => wanted.add(&ClaimPath::new(ATTRIBUTES)),
                HeaderSource::Text(_) | HeaderSource::Groups { .. } | HeaderSource::Identity(_) => {}
            }
        }
        if let Some(BasicAuth { username, password }) = &self.basic_auth {
            wanted.add(username);
            wanted.add(password);
        }
    }

    /// Inserts the values of a user into `headers`.
    pub(crate) fn fill(&self, identity: &PackedIdentity, headers: &mut HeaderMap) {
        for header in &self.headers {
            headers.insert(header.name.clone(), value(header, identity));
        }
        if let Some(basic_auth) = &self.basic_auth {
            headers.insert(AUTHORIZATION, basic(basic_auth, identity));
        }
    }
}

fn value(header: &FurtherHeader, identity: &PackedIdentity) -> HeaderValue {
    match &header.source {
        HeaderSource::Attribute => attribute(header.name.as_str(), identity).map_or_else(empty, claim),
        HeaderSource::Text(text) => header_value(text),
        HeaderSource::Claim(path) => path.find(identity.claims()).map_or_else(empty, claim),
        HeaderSource::Groups { groups, default } => {
            let found = groups.iter().find(|(group, _)| identity.is_in_any(std::slice::from_ref(group)));
            header_value(found.map_or(default, |(_, value)| value))
        }
        HeaderSource::Identity(field) => {
            let identity = identity.identity();
            match field {
                IdentityField::Username => header_value(&identifier(&identity.username)),
                IdentityField::Email => header_value(&identifier(&identity.email)),
                IdentityField::Name => header_value(&identity.name),
                IdentityField::Groups => header_value(&join(&identity.groups, SEPARATOR)),
            }
        }
    }
}

/// Looks a name up without case: field names have no case, and administrators write the attributes.
fn attribute<'i>(name: &str, identity: &'i PackedIdentity) -> Option<&'i Value> {
    let attributes = ClaimPath::new(ATTRIBUTES).find(identity.claims())?.as_object()?;
    attributes.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

const fn empty() -> HeaderValue {
    HeaderValue::from_static("")
}

/// A value as text: the elements of a list and the names of an object's members with commas between them.
fn claim(value: &Value) -> HeaderValue {
    match value {
        Value::Array(_) | Value::Object(_) => header_value(&join(&list(value), SEPARATOR)),
        other => scalar(other).map_or_else(empty, |text| header_value(&identifier(&text))),
    }
}

/// `Basic` credentials (RFC 7617 §2). None if the name or the password is missing, because an application may accept an empty one, and
/// none if the name has a colon, which separates the two.
fn basic(basic_auth: &BasicAuth, identity: &PackedIdentity) -> HeaderValue {
    let text = |path: &ClaimPath| match path.find(identity.claims()) {
        Some(Value::String(text)) => Some(text.clone()),
        Some(_) | None => None,
    };
    let username = text(&basic_auth.username).unwrap_or_else(|| identity.identity().email.clone());
    let password = text(&basic_auth.password).unwrap_or_default();
    if username.is_empty() || password.is_empty() || username.contains(':') {
        return empty();
    }
    let mut value = header_value(&format!("Basic {}", STANDARD.encode(format!("{username}:{password}"))));
    value.set_sensitive(true);
    value
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::identity::Identity;

    fn alice(claims: &Value) -> PackedIdentity {
        let identity = Identity {
            subject: "s".into(),
            username: "alice".into(),
            email: "alice@example.test".into(),
            name: "Alice Ärger".into(),
            groups: ["staff", "Küche", "a,b", "50%", "%2C", " c"].map(String::from).to_vec(),
            ..Identity::default()
        };
        PackedIdentity::new(identity, "id.to.ken", None).with_claims(claims.as_object().unwrap().clone())
    }

    #[track_caller]
    fn check(source: HeaderSource, claims: &Value, expected: &str) {
        let header = FurtherHeader { name: HeaderName::from_static("x-team"), source };
        assert_eq!(value(&header, &alice(claims)).as_bytes(), expected.as_bytes(), "{header:?}");
    }

    #[test]
    fn values_come_from_where_the_settings_say() {
        let none = json!({});
        let claim = |path| HeaderSource::Claim(ClaimPath::new(path));
        check(HeaderSource::Text("fixed".into()), &none, "fixed");
        check(claim("a.b"), &json!({"a": {"b": "text"}}), "text");
        check(claim("a"), &json!({"a": 7}), "7");
        check(claim("a"), &json!({"a": 0.5}), "0.5");
        check(claim("a"), &json!({"a": true}), "true");
        check(claim("a"), &json!({"a": ["x", 1, "y,z", "Ärger|Spaß"]}), "x,1,y%2Cz,Ärger|Spaß");
        check(claim("a"), &json!({"a": {"b": 1, "c,d": {}, "e": false}}), "b,c%2Cd");
        check(claim("a"), &json!({"a": null}), "");
        check(claim("a"), &none, "");
        check(claim("a"), &json!({"a": "x\r\nSet-Cookie: y"}), "x%0D%0ASet-Cookie: y");
        let attributes = |value: Value| json!({"ak_proxy": {"user_attributes": {"additionalHeaders": value}}});
        check(HeaderSource::Attribute, &attributes(json!({"X-Team": "blue", "x-other": "red"})), "blue");
        check(HeaderSource::Attribute, &attributes(json!({"x-team": 7})), "7");
        check(HeaderSource::Attribute, &attributes(json!({"x-team": {"a": 1}})), "a");
        check(HeaderSource::Attribute, &attributes(json!(["X-Team"])), "");
        check(HeaderSource::Attribute, &none, "");
        check(HeaderSource::Identity(IdentityField::Username), &none, "alice");
        check(HeaderSource::Identity(IdentityField::Name), &none, "Alice Ärger");
        check(HeaderSource::Identity(IdentityField::Groups), &none, "staff,Küche,a%2Cb,50%,%252C,%20c");
    }

    #[test]
    fn the_first_group_that_fits_counts() {
        let of = |groups: &[(&str, &str)], default: &str| HeaderSource::Groups {
            groups: groups.iter().map(|(group, value)| ((*group).to_owned(), (*value).to_owned())).collect(),
            default: default.to_owned(),
        };
        check(of(&[("admins", "Admin"), ("staff", "Editor")], "Viewer"), &json!({}), "Editor");
        check(of(&[("admins", "Admin")], "Viewer"), &json!({}), "Viewer");
        check(of(&[("staff", "one"), ("staff", "two")], ""), &json!({}), "one");
        check(of(&[("sta", "x")], ""), &json!({}), "");
    }

    #[track_caller]
    fn basic_is(claims: &Value, expected: Option<&str>) {
        let basic_auth =
            BasicAuth { username: ClaimPath::new("attributes.user"), password: ClaimPath::new("attributes.password") };
        let expected = expected.map_or_else(String::new, |pair| format!("Basic {}", STANDARD.encode(pair)));
        assert_eq!(basic(&basic_auth, &alice(claims)), expected, "{claims}");
    }

    #[test]
    fn basic_credentials_are_those_of_the_claims() {
        basic_is(&json!({"attributes": {"user": "foo", "password": "bar"}}), Some("foo:bar"));
        basic_is(&json!({"attributes": {"password": "b:ar"}}), Some("alice@example.test:b:ar"));
        basic_is(&json!({"attributes": {"user": 7, "password": "bar"}}), Some("alice@example.test:bar"));
        for password in [json!(null), json!(""), json!(7), json!(["x"]), json!({"x": "y"}), json!(true)] {
            basic_is(&json!({"attributes": {"user": "foo", "password": password}}), None);
        }
        basic_is(&json!({}), None);
        basic_is(&json!({"attributes": {"user": "foo"}}), None);
        basic_is(&json!({"attributes": {"user": "", "password": "bar"}}), Some("alice@example.test:bar"));
        let nameless = Identity { subject: "s".into(), ..Identity::default() };
        let claims = json!({"p": "bar"}).as_object().unwrap().clone();
        let nameless = PackedIdentity::new(nameless, "", None).with_claims(claims);
        let basic_auth = BasicAuth { username: ClaimPath::new("u"), password: ClaimPath::new("p") };
        assert_eq!(basic(&basic_auth, &nameless), "");
        basic_is(&json!({"attributes": {"user": "a:b", "password": "c"}}), None);
    }

    #[test]
    fn every_name_is_sent_to_everybody() {
        let header = |name, source| FurtherHeader { name: HeaderName::from_static(name), source };
        let further = FurtherHeaders::new(
            vec![
                header("x-role", HeaderSource::Claim(ClaimPath::new("missing"))),
                header("x-fixed", HeaderSource::Text("t".into())),
            ],
            Some(BasicAuth { username: ClaimPath::new("u"), password: ClaimPath::new("p") }),
        );
        let mut headers = HeaderMap::new();
        further.fill(&alice(&json!({})), &mut headers);
        let names: Vec<_> = further.names().collect();
        assert_eq!(names.len(), 3);
        assert!(names.iter().all(|name| headers.contains_key(name)));
        assert!(!format!("{headers:?}").contains("Basic"), "passwords are not printed");
    }
}
