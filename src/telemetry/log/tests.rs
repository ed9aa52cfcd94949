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
    let dispatch = dispatch(style, filter(level).unwrap(), move || writer.clone());
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

#[test]
fn logging_is_set_up_once() {
    let log = Log { format: LogFormat::Json, level: "off".into(), routine_checks: RoutineChecks::All };
    // Whoever comes first in this process may set it.
    drop(init(&log));
    assert!(matches!(init(&log), Err(LogError::AlreadySet)));
}
