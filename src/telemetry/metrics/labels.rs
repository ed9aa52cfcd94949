//! Label sets and their values.

use http::Method;
use prometheus_client::encoding::EncodeLabelSet;

/// The value for an application, host or identity provider that is not configured.
pub(super) const UNKNOWN: &str = "unknown";

/// All other methods count as `OTHER`.
pub(super) const METHODS: [Method; 7] =
    [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS];

#[derive(Clone, Debug, EncodeLabelSet)]
pub(super) struct CheckLabels {
    pub(super) application: String,
    pub(super) dialect: &'static str,
    pub(super) outcome: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet)]
pub(super) struct OutpostLabels {
    pub(super) outpost_name: String,
    pub(super) method: String,
    pub(super) host: String,
    pub(super) r#type: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ApplicationLabels {
    pub(super) application: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ProviderLabels {
    pub(super) identity_provider: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct LoginLabels {
    pub(super) identity_provider: String,
    pub(super) result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct OperationLabels {
    pub(super) identity_provider: String,
    pub(super) operation: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ProviderRequestLabels {
    pub(super) identity_provider: String,
    pub(super) operation: &'static str,
    pub(super) result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct RefreshLabels {
    pub(super) identity_provider: String,
    pub(super) reason: &'static str,
    pub(super) result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct TokenLabels {
    pub(super) application: String,
    pub(super) result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct SourceLabels {
    pub(super) source: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct RevocationLabels {
    pub(super) reason: &'static str,
}

/// Constant values of a label, by their positions; after them is `other`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Words(pub(super) &'static [&'static str]);

impl Words {
    pub(super) fn len(self) -> usize {
        self.0.len() + 1
    }

    pub(super) fn bounded(self, number: usize) -> usize {
        number.min(self.0.len())
    }

    pub(super) fn all(self) -> impl Iterator<Item = &'static str> {
        self.0.iter().copied().chain(["other"])
    }
}

/// In the order that [`super::ApplicationMetrics::check`] counts in.
pub(super) fn check(application: &str, dialects: Words, outcomes: Words) -> impl Iterator<Item = CheckLabels> {
    dialects.all().flat_map(move |dialect| {
        outcomes.all().map(move |outcome| CheckLabels { application: application.to_owned(), dialect, outcome })
    })
}

/// Of one host, for each method.
pub(super) fn outpost(outpost_name: &str, host: &str, r#type: &'static str) -> impl Iterator<Item = OutpostLabels> {
    let methods = METHODS.iter().map(Method::as_str).chain(["OTHER"]);
    methods.map(move |method| OutpostLabels {
        outpost_name: outpost_name.to_owned(),
        method: method.to_owned(),
        host: host.to_owned(),
        r#type,
    })
}

pub(super) fn method_number(method: &Method) -> usize {
    METHODS.iter().position(|m| m == method).unwrap_or(METHODS.len())
}
