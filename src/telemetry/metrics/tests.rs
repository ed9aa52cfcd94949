use std::collections::BTreeMap;

use super::*;

const DIALECTS: [&str; 2] = ["traefik", "nginx"];
const OUTCOMES: [&str; 3] = ["allow", "login", "forbid"];

fn metrics() -> Metrics {
    let metrics = Metrics::new("edge \"one\"\n\\", &DIALECTS, &OUTCOMES);
    metrics.add_provider("main");
    for slug in ["grafana", "wiki"] {
        application(&metrics, slug);
    }
    metrics
}

fn application(metrics: &Metrics, slug: &str) -> ApplicationMetrics {
    match slug {
        "wiki" => metrics.application("wiki", "wiki.example.test:8443"),
        _ => metrics.application(slug, &format!("{slug}.example.test")),
    }
}

/// Counts a check by names; a name that [`metrics`] does not have gets a number beyond the last one.
fn check(metrics: &Metrics, slug: Option<&str>, dialect: &str, outcome: &str, method: &Method, elapsed: Duration) {
    let position = |names: &[&str], name: &str| names.iter().position(|it| *it == name).unwrap_or(99);
    let application = slug.map_or_else(|| metrics.unknown().clone(), |slug| application(metrics, slug));
    application.check(position(&DIALECTS, dialect), position(&OUTCOMES, outcome), method, elapsed);
}

/// Parses the lines strictly: each series is there once, under its `TYPE`.
fn parse(text: &str) -> BTreeMap<String, f64> {
    let mut series = BTreeMap::new();
    let mut family = String::new();
    let body = text.strip_suffix("# EOF\n").unwrap();
    for line in body.lines() {
        if let Some(comment) = line.strip_prefix("# ") {
            let mut words = comment.split(' ');
            let kind = words.next().unwrap();
            assert!(["HELP", "TYPE", "UNIT"].contains(&kind), "{line}");
            if kind == "TYPE" {
                words.next().unwrap().clone_into(&mut family);
            }
            continue;
        }
        let (name, value) = line.rsplit_once(' ').unwrap();
        assert!(name.starts_with(&family), "{line} under {family}");
        assert!(!name.contains('{') || name.ends_with('}'), "{line}");
        let twin = series.insert(name.to_owned(), value.parse().unwrap());
        assert_eq!(twin, None, "{name}");
    }
    series
}

#[track_caller]
fn value(metrics: &Metrics, series: &str, expected: Option<f64>) {
    let all = parse(&metrics.encode(7));
    let got = all.get(series).copied();
    let same = match (got, expected) {
        (Some(got), Some(expected)) => (got - expected).abs() < 1e-9,
        (got, expected) => got == expected,
    };
    assert!(same, "{series} is {got:?} in {all:#?}");
}

#[test]
fn checks_add_up() {
    let metrics = metrics();
    for millis in [1, 1, 2, 2000] {
        let elapsed = Duration::from_millis(millis);
        check(&metrics, Some("grafana"), "traefik", "allow", &Method::GET, elapsed);
    }
    check(&metrics, Some("wiki"), "nginx", "forbid", &Method::PUT, Duration::from_micros(50));
    check(&metrics, None, "nginx", "login", &Method::GET, Duration::ZERO);
    let of = |part: &str, labels: &str| format!("forepost_check_duration_seconds_{part}{{{labels}}}");
    let grafana = "application=\"grafana\",dialect=\"traefik\",outcome=\"allow\"";
    let wiki = "application=\"wiki\",dialect=\"nginx\",outcome=\"forbid\"";
    let unknown = "application=\"unknown\",dialect=\"nginx\",outcome=\"login\"";
    value(&metrics, &of("count", grafana), Some(4.0));
    value(&metrics, &of("sum", grafana), Some(2.004));
    value(&metrics, &of("bucket", &format!("le=\"0.0005\",{grafana}")), Some(0.0));
    value(&metrics, &of("bucket", &format!("le=\"0.001\",{grafana}")), Some(2.0));
    value(&metrics, &of("bucket", &format!("le=\"1.0\",{grafana}")), Some(3.0));
    value(&metrics, &of("bucket", &format!("le=\"+Inf\",{grafana}")), Some(4.0));
    value(&metrics, &of("count", wiki), Some(1.0));
    value(&metrics, &of("bucket", &format!("le=\"0.00005\",{wiki}")), Some(1.0));
    value(&metrics, &of("count", unknown), Some(1.0));
    value(&metrics, &of("count", &grafana.replace("grafana", "wiki")), None);
}

#[test]
fn every_cell_is_found_under_its_own_labels() {
    let metrics = metrics();
    for application in [Some("grafana"), Some("wiki"), None] {
        for dialect in DIALECTS {
            for outcome in OUTCOMES {
                check(&metrics, application, dialect, outcome, &Method::GET, Duration::ZERO);
                let application = application.unwrap_or(UNKNOWN);
                let series = format!(
                    "forepost_check_duration_seconds_count{{application=\"{application}\",dialect=\"{dialect}\",\
                     outcome=\"{outcome}\"}}"
                );
                value(&metrics, &series, Some(1.0));
            }
        }
    }
}

#[test]
fn dashboards_for_authentik_find_their_names() {
    let metrics = metrics();
    check(&metrics, Some("wiki"), "nginx", "allow", &Method::POST, Duration::from_millis(5));
    metrics.ping(&Method::HEAD, Duration::ZERO);
    let name = r#"outpost_name="edge \"one\"\n\\""#;
    let of = |labels: &str| format!("authentik_outpost_proxy_request_duration_seconds_count{{{name},{labels}}}");
    value(&metrics, &of(r#"method="POST",host="wiki.example.test:8443",type="app""#), Some(1.0));
    value(&metrics, &of(r#"method="HEAD",host="unknown",type="ping""#), Some(1.0));
    value(
        &metrics,
        &format!(r#"authentik_outpost_info{{{name},outpost_type="proxy",uuid="",version="{VERSION}",build=""}}"#),
        Some(1.0),
    );
}

#[test]
fn no_label_takes_a_value_from_outside() {
    let metrics = metrics();
    let odd = "evil\"} 1\n";
    let method = Method::from_bytes(b"EVIL").unwrap();
    check(&metrics, None, "evil", "evil", &method, Duration::ZERO);
    metrics.ping(&method, Duration::ZERO);
    metrics.login(odd, "ok");
    metrics.provider_request(odd, "token", "ok", Duration::ZERO);
    metrics.jwks_refresh(odd, "unknown_key", "ok");
    metrics.set_provider_ready(odd, true);
    let text = metrics.encode(0);
    assert!(!text.to_lowercase().contains("evil"), "{text}");
    value(
        &metrics,
        "forepost_check_duration_seconds_count{application=\"unknown\",dialect=\"other\",outcome=\"other\"}",
        Some(1.0),
    );
}

#[test]
fn events_of_applications_and_connections_are_counted() {
    let metrics = metrics();
    let wiki = |name: &str| format!("forepost_{name}{{application=\"wiki\"}}");
    value(&metrics, "forepost_sessions", Some(7.0));
    value(&metrics, &format!("forepost_build_info{{version=\"{VERSION}\"}}"), Some(1.0));
    value(&metrics, &wiki("sign_outs_total"), Some(0.0));
    value(&metrics, &wiki("header_block_too_large_total"), Some(0.0));
    application(&metrics, "wiki").sign_out();
    application(&metrics, "wiki").header_block_too_large();
    value(&metrics, &wiki("sign_outs_total"), Some(1.0));
    value(&metrics, &wiki("header_block_too_large_total"), Some(1.0));
    metrics.connection_closed(1);
    metrics.connection_closed(3);
    value(&metrics, "forepost_requests_per_connection_bucket{le=\"2.0\"}", Some(1.0));
    value(&metrics, "forepost_requests_per_connection_count", Some(2.0));
}

#[test]
fn events_of_identity_providers_are_counted() {
    let metrics = metrics();
    let main = |name: &str, more: &str| format!("forepost_{name}{{identity_provider=\"main\"{more}}}");
    value(&metrics, &main("provider_ready", ""), Some(0.0));
    metrics.set_provider_ready("main", true);
    value(&metrics, &main("provider_ready", ""), Some(1.0));
    for result in ["ok", "ok", "invalid_token"] {
        metrics.login("main", result);
    }
    value(&metrics, &main("logins_total", ",result=\"ok\""), Some(2.0));
    value(&metrics, &main("logins_total", ",result=\"invalid_token\""), Some(1.0));
    metrics.provider_request("main", "token", "ok", Duration::from_millis(30));
    let token = ",operation=\"token\"";
    value(&metrics, &main("provider_requests_total", &format!("{token},result=\"ok\"")), Some(1.0));
    value(&metrics, &main("provider_request_duration_seconds_sum", token), Some(0.03));
    metrics.jwks_refresh("main", "unknown_key", "ok");
    let refresh = ",reason=\"unknown_key\",result=\"ok\"";
    value(&metrics, &main("jwks_refreshes_total", refresh), Some(1.0));
}

#[test]
fn equal_names_share_a_series() {
    let twins = [("a", "a.test"), ("a", "b.test"), ("b", "a.test"), ("unknown", "unknown")];
    let metrics = Metrics::new("edge", &DIALECTS, &OUTCOMES);
    for (application, host) in twins {
        metrics.application(application, host).check(1, 0, &Method::GET, Duration::ZERO);
        metrics.add_provider("main");
    }
    check(&metrics, None, "nginx", "allow", &Method::GET, Duration::ZERO);
    value(
        &metrics,
        "forepost_check_duration_seconds_count{application=\"unknown\",dialect=\"nginx\",outcome=\"allow\"}",
        Some(2.0),
    );
    value(
        &metrics,
        "forepost_check_duration_seconds_count{application=\"a\",dialect=\"nginx\",outcome=\"allow\"}",
        Some(2.0),
    );
}

#[test]
fn checks_on_many_threads_are_all_counted() {
    let metrics = metrics();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..1000 {
                    check(&metrics, Some("wiki"), "nginx", "allow", &Method::GET, Duration::ZERO);
                }
            });
        }
    });
    value(
        &metrics,
        "forepost_check_duration_seconds_count{application=\"wiki\",dialect=\"nginx\",outcome=\"allow\"}",
        Some(4000.0),
    );
}

#[test]
fn what_is_gone_has_no_series() {
    let metrics = metrics();
    let check_wiki = || check(&metrics, Some("wiki"), "nginx", "allow", &Method::GET, Duration::from_millis(1));
    let count = r#"forepost_check_duration_seconds_count{application="wiki",dialect="nginx",outcome="allow"}"#;
    check_wiki();
    check_wiki();
    value(&metrics, count, Some(2.0));
    metrics.forget_application("wiki");
    metrics.forget_host("wiki.example.test:8443");
    let left = metrics.encode(7);
    assert!(!left.contains("wiki") && left.contains("grafana"), "{left}");
    check_wiki();
    value(&metrics, count, Some(1.0));
}
