use std::sync::{Arc, Mutex};

use super::*;

const HOSTILE: &str = "a\nb\r\nc\x1b[2Jd\u{2028}e\u{2029}f\u{9b}g\x7fh\u{202e}i\0j\"k\\l";

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl io::Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn capture(style: Style, level: &str, log: impl FnOnce()) -> String {
    let captured = Captured::default();
    let writer = captured.clone();
    let flood = Box::leak(Box::new(Flood::default()));
    let dispatch = dispatch(style, filter(level).unwrap(), move || writer.clone(), flood);
    tracing::dispatcher::with_default(&dispatch, log);
    let bytes = captured.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

fn check_line(text: &str) -> RequestLine<'_> {
    RequestLine {
        request_id: &"0198",
        application: Some("grafana"),
        route: "auth",
        dialect: Some("traefik"),
        outcome: "allow",
        status: 200,
        method: &Method::GET,
        host: text,
        path: text,
        client: None,
        user: Some(text),
        duration: Duration::from_nanos(1_234_567),
    }
}

#[test]
fn json_lines_are_flat() {
    let client = std::net::Ipv4Addr::LOCALHOST.into();
    let text = capture(Style::Json, "info", || {
        RequestLine { client: Some(client), path: "/a?code=secret", ..check_line("grafana.example.test") }.write();
    });
    let mut line: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert!(line["timestamp"].take().is_string());
    let expected = serde_json::json!({
        "timestamp": null, "level": "INFO", "target": "forepost::access", "message": "request", "route": "auth",
        "request_id": "0198", "application": "grafana", "dialect": "traefik", "outcome": "allow", "status": 200,
        "method": "GET", "host": "grafana.example.test", "path": "/a", "client": "127.0.0.1",
        "user": "grafana.example.test", "duration_ms": 1.235,
    });
    assert_eq!(line, expected);
}

#[test]
fn what_is_unknown_is_left_out() {
    let text = capture(Style::Json, "info", || {
        RequestLine {
            request_id: &"0198",
            application: None,
            route: "callback",
            dialect: None,
            outcome: "bad_request",
            status: 400,
            method: &Method::GET,
            host: "a.test",
            path: "/outpost.goauthentik.io/callback?code=secret",
            client: None,
            user: None,
            duration: Duration::ZERO,
        }
        .write();
    });
    let line: serde_json::Value = serde_json::from_str(&text).unwrap();
    let fields = line.as_object().unwrap();
    for absent in ["application", "client", "user"] {
        assert!(!fields.contains_key(absent), "{absent}");
    }
    assert!(!text.contains("secret"));
}

#[test]
fn no_value_makes_a_second_line_or_moves_the_terminal() {
    for style in [Style::Json, Style::Human { color: false }, Style::Human { color: true }] {
        let text = capture(style, "info", || {
            check_line(HOSTILE).write();
            RequestLine { request_id: &HOSTILE, ..check_line("a") }.write();
            tracing::info!("message {HOSTILE}");
            tracing::info!(shown = %HOSTILE, debugged = ?HOSTILE, owned = String::from(HOSTILE), "fields");
            let error = io::Error::other(HOSTILE);
            tracing::error!(error = &error as &dyn std::error::Error, "error");
            tracing::info_span!("span", field = HOSTILE, shown = %HOSTILE).in_scope(|| tracing::info!("inside"));
        });
        let mut plain = text.clone();
        if let Style::Human { color: true } = style {
            for code in ["0", "1", "2", "3", "31", "32"] {
                plain = plain.replace(&format!("\x1b[{code}m"), "");
            }
        }
        assert_eq!(plain.matches('\n').count(), 6, "{plain}");
        assert!(plain.ends_with('\n'));
        let unsafe_character = plain.chars().find(|c| *c != '\n' && is_unsafe(*c));
        assert_eq!(unsafe_character, None, "{plain:?}");
        if let Style::Json = style {
            for line in text.lines() {
                let line: serde_json::Value = serde_json::from_str(line).unwrap();
                if line["message"] == "check" && line["host"] != "a" {
                    assert_eq!(line["user"], HOSTILE);
                }
            }
        }
    }
}

/// The values of a client have bounded sizes in the log.
#[test]
fn long_values_are_cut() {
    let long = "/ü".repeat(45_000);
    for style in [Style::Json, Style::Human { color: false }] {
        let text = capture(style, "info", || {
            check_line(&long).write();
            tracing::warn!(error = %long, debugged = ?long, "message {long}");
        });
        assert_eq!(text.matches('\n').count(), 2);
        let longest = text.lines().map(|line| line.chars().count()).max().unwrap();
        assert!(longest < 5 * MOST && text.contains("/ü…"), "{longest}");
        if let Style::Json = style {
            for line in text.lines() {
                serde_json::from_str::<serde_json::Value>(line).unwrap();
            }
        }
    }
}

/// The limit is for each event and outcome by itself, and the audit log has none.
#[test]
fn floods_are_left_out_and_counted() {
    let captured = Captured::default();
    let (writer, flood): (_, &'static Flood) = (captured.clone(), Box::leak(Box::new(Flood::default())));
    let dispatch = dispatch(Style::Json, filter("debug").unwrap(), move || writer.clone(), flood);
    tracing::dispatcher::with_default(&dispatch, || {
        for _ in 0..10_000 {
            RequestLine { outcome: "start_login", ..check_line("a") }.write();
            tracing::warn!("question refused");
        }
        for _ in 0..1000 {
            check_line("a").write();
            tracing::info!(target: crate::telemetry::audit::AUDIT, "audit");
            tracing::debug!("detail");
        }
        RequestLine { outcome: "login", ..check_line("a") }.write();
        flood.tell();
        flood.tell();
    });
    let bytes = captured.0.lock().unwrap().clone();
    let lines: Vec<serde_json::Value> =
        String::from_utf8(bytes).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let count = |name: &str, value: &str| lines.iter().filter(|line| line[name] == value).count() as u64;
    for (name, value, all) in
        [("outcome", "allow", 1000), ("message", "audit", 1000), ("message", "detail", 1000), ("outcome", "login", 1)]
    {
        assert_eq!(count(name, value), all, "{value}");
    }
    let (logins, refusals) = (count("outcome", "start_login"), count("message", "question refused"));
    assert!((100..1000).contains(&logins) && (100..1000).contains(&refusals), "{logins}, {refusals}");
    let told: Vec<_> = lines.iter().filter(|line| line["message"] == "lines were left out of the log").collect();
    assert_eq!(told.len(), 2, "{told:?}");
    for (event, written) in [("request (start_login)", logins), ("question refused", refusals)] {
        assert!(told.iter().any(|line| line["event"] == event && line["lines"] == 10_000 - written), "{told:?}");
    }
    assert_eq!(flood.left_out.get(), 20_000 - logins - refusals);
}

#[test]
fn lines_for_people_read_well() {
    let text = capture(Style::Human { color: false }, "info", || {
        check_line("a.test").write();
    });
    let (_, line) = text.split_once("  INFO ").unwrap();
    assert_eq!(
        line,
        "forepost::access: request request_id=0198 application=\"grafana\" route=\"auth\" dialect=\"traefik\" outcome=\"allow\" \
         status=200 method=\"GET\" host=\"a.test\" path=\"a.test\" user=\"a.test\" duration_ms=1.235\n"
    );
}

#[test]
fn nothing_is_formatted_when_the_level_is_off() {
    struct Never;
    impl fmt::Display for Never {
        fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            panic!("formatted")
        }
    }
    for level in ["warn", "off", "info,forepost::access=off"] {
        let text = capture(Style::Json, level, || {
            RequestLine { request_id: &Never, ..check_line("a") }.write();
        });
        assert_eq!(text, "");
    }
}

#[track_caller]
fn level(text: &str, wrong: Option<&str>) {
    match (filter(text), wrong) {
        (Ok(_), None) => {}
        (Err(LogError::Level { part }), Some(wrong)) => assert_eq!(part, wrong),
        (got, _) => panic!("{text:?}: {:?}", got.err()),
    }
}

#[test]
fn levels() {
    level("info", None);
    level("INFO", None);
    level("off", None);
    level("warn,forepost=debug", None);
    level("warn, forepost::access=off", None);
    level("inof", Some("inof"));
    level("", Some(""));
    level("info,", Some(""));
    level("forepost", Some("forepost"));
    level("info,forepost=loud", Some("forepost=loud"));
    level("info,[span=debug", Some("[span=debug"));
    let error = filter("inof").unwrap_err().to_string();
    assert!(error.starts_with("\"inof\""), "{error}");
}

#[track_caller]
fn sampled(allowed: RoutineChecks, expected: [bool; 6]) {
    let sampler = Sampler::new(allowed);
    assert_eq!([(); 6].map(|()| sampler.wants(true)), expected);
    assert!((0..6).all(|_| sampler.wants(false)));
}

#[test]
fn routine_checks_are_sampled_and_others_never() {
    sampled(RoutineChecks::All, [true; 6]);
    sampled(RoutineChecks::Off, [false; 6]);
    sampled(RoutineChecks::OneIn(3), [true, false, false, true, false, false]);
    sampled(RoutineChecks::OneIn(0), [true; 6]);
}

/// Set for the process that [`a_panic_is_one_line`] starts.
const PANICS: &str = "FOREPOST_TEST_PANIC";

/// Has a process of its own, because it changes what the whole process does at a panic.
#[test]
fn panics_in_a_thread() {
    if std::env::var_os(PANICS).is_none() {
        return;
    }
    init(&Log { format: LogFormat::Json, level: "info".into(), routine_checks: RoutineChecks::All }).unwrap();
    let reader = std::thread::Builder::new().name("reader".to_owned());
    assert!(reader.spawn(|| panic!("its parts\ndo not fit")).unwrap().join().is_err());
}

#[test]
fn a_panic_is_one_line() {
    let mut again = std::process::Command::new(std::env::current_exe().unwrap());
    again.args(["--exact", "telemetry::log::tests::panics_in_a_thread", "--nocapture"]).env(PANICS, "1");
    let output = again.env("RUST_BACKTRACE", "1").output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{text}");
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [line] = &lines[..] else { panic!("{text}") };
    assert_eq!((&line["message"], &line["level"]), (&"a thread panicked".into(), &"ERROR".into()));
    assert_eq!((&line["thread"], &line["error"]), (&"reader".into(), &"its parts\ndo not fit".into()));
    assert!(line["location"].as_str().unwrap().contains("tests.rs:"), "{line}");
}

#[test]
fn logging_is_set_up_once() {
    let log = Log { format: LogFormat::Json, level: "off".into(), routine_checks: RoutineChecks::All };
    // Another test of this process may have set it first.
    drop(init(&log));
    assert!(matches!(init(&log), Err(LogError::AlreadySet)));
}
