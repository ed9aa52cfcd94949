//! What an operator is told of a configuration that is not a mistake.

use http::HeaderName;

use crate::settings::Settings;

/// Logs which settings weaken protection, and which protect only with a second change at the proxy.
pub(crate) fn warn_about(settings: &Settings) {
    for key in settings.dangers() {
        tracing::warn!(key = %key, "a setting that weakens protection is on");
    }
    for app in &settings.applications {
        for (application, names) in app.further_names().filter(|(_, names)| !names.by_operator.is_empty()) {
            let headers = names.by_operator.iter().map(HeaderName::as_str).collect::<Vec<_>>().join(", ");
            tracing::warn!(
                application,
                headers,
                "the proxy must let the application have these headers from forepost alone (lines: examples/README.md)"
            );
        }
    }
}
