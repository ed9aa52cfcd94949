//! What people see, on standard error: standard output is for the token alone.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use qrcode::{Color, EcLevel, QrCode};

use super::device::Codes;
use crate::telemetry::log::escaped;

/// Light modules around a code; the standard wants four, cameras are content with less.
const QUIET: usize = 2;
/// What fits into a usual terminal.
const WIDEST: usize = 80;

/// Standard error, which may be a terminal.
pub(super) struct Screen {
    /// Whether lines can be written over.
    terminal: bool,
    qr: bool,
    /// Whether the last line is to be written over.
    open_line: bool,
}

impl Screen {
    /// What standard error is now; `qr` is whether pictures are wanted.
    pub(super) fn new(qr: bool) -> Self {
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        let terminal = io::stderr().is_terminal() && !dumb;
        Self { terminal, qr: qr && terminal, open_line: false }
    }

    /// A line for the user, which may hold words of the provider.
    pub(super) fn say(&mut self, line: &str) {
        self.end_line();
        print(&format!("{}\n", escaped(line)));
    }

    /// Where to confirm the login.
    pub(super) fn invite(&mut self, codes: &Codes) {
        self.say(&format!("Open {}", codes.address));
        self.say(&format!("and enter the code {}", codes.user_code));
        if let Some(complete) = &codes.complete {
            self.say(&format!("or open {complete}"));
        }
        let target = codes.complete.as_ref().unwrap_or(&codes.address);
        match qr(target.as_str()) {
            Some(picture) if self.qr => print(&picture),
            Some(_) | None => {}
        }
        if !self.terminal {
            self.say(&format!("within {}.", spoken(codes.lifetime)));
        }
    }

    /// How long the code lives.
    pub(super) fn waiting(&mut self, left: Duration) {
        if self.terminal {
            print(&format!("\r\x1b[KWaiting for the login; the code lives for {}.", spoken(left)));
            self.open_line = true;
        }
    }

    /// The provider does not answer, and is asked again.
    pub(super) fn trouble(&mut self, why: &str) {
        self.say(&format!("{why}; trying again"));
    }

    /// Begins a new line, where one is open.
    pub(super) fn end_line(&mut self) {
        if self.open_line {
            print("\n");
            self.open_line = false;
        }
    }
}

/// There is no better place to report a failure.
fn print(text: &str) {
    let mut stderr = io::stderr().lock();
    let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
}

fn spoken(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..=99 => format!("{seconds} s"),
        seconds => format!("{} min {} s", seconds / 60, seconds % 60),
    }
}

/// The text as a picture of half blocks, dark on light whatever the terminal's colours are; `None` when it would be too wide.
fn qr(text: &str) -> Option<String> {
    let code = QrCode::with_error_correction_level(text, EcLevel::L).ok()?;
    let width = code.width();
    let whole = width + 2 * QUIET;
    if whole > WIDEST {
        return None;
    }
    let modules = code.into_colors();
    let dark = |x: usize, y: usize| {
        let inside = (QUIET..QUIET + width).contains(&x) && (QUIET..QUIET + width).contains(&y);
        inside && modules[(y - QUIET) * width + x - QUIET] == Color::Dark
    };
    let mut picture = String::new();
    for y in (0..whole).step_by(2) {
        let line = (0..whole).map(|x| match (dark(x, y), dark(x, y + 1)) {
            (true, true) => '█',
            (true, false) => '▀',
            (false, true) => '▄',
            (false, false) => ' ',
        });
        // Writing to a text does not fail.
        let _ = writeln!(picture, "\x1b[30;107m{}\x1b[0m", line.collect::<String>());
    }
    Some(picture)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_drawn_with_its_margin() {
        let picture = qr("https://idp.test/device?user_code=WDJB-MJHT").unwrap();
        let lines: Vec<Vec<char>> = picture
            .lines()
            .map(|line| line.strip_prefix("\x1b[30;107m").unwrap().strip_suffix("\x1b[0m").unwrap().chars().collect())
            .collect();
        let width = lines[0].len();
        assert!((25..=WIDEST).contains(&width) && lines.len() == width.div_ceil(2), "{picture}");
        assert!(lines[0].iter().all(|it| *it == ' '), "{picture}");
        assert!(lines.iter().all(|line| line.len() == width && line[..2] == [' ', ' ']), "{picture}");
        // The finder pattern in the corner: seven dark modules.
        assert_eq!(lines[1][2..10].iter().collect::<String>(), "█▀▀▀▀▀█ ", "{picture}");
        assert!(qr(&"x".repeat(1000)).is_none());
    }

    #[test]
    fn times_are_spoken() {
        for (seconds, expected) in [(0, "0 s"), (99, "99 s"), (100, "1 min 40 s"), (600, "10 min 0 s")] {
            assert_eq!(spoken(Duration::from_secs(seconds)), expected);
        }
    }
}
