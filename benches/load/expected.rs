//! Which answer is right; a benchmark that does not look would one day time a refusal.

use super::Fallible;
use super::sessions::{Known, PROOF_LENGTH, USER_LENGTH};

/// Of a body, so much is compared.
const BODY_START: usize = 24;

/// Digits that the number of a request may gain, where it is said twice.
const MOST_VARIATION: usize = 24;

/// Where an answer says whose it is.
#[derive(Clone, Copy, Debug)]
struct Marks {
    user: usize,
    /// Of the ID token, where it is told.
    proof: Option<usize>,
}

/// What every answer of a target has to be.
#[derive(Clone, Debug)]
pub(crate) struct Expected {
    length: usize,
    start: Vec<u8>,
    marks: Option<Marks>,
    /// What the body begins with.
    body: Vec<u8>,
    /// By how much the length may vary.
    variation: usize,
}

impl Expected {
    /// As `sample`: the same first line and length and, where it is the answer to a session, that session's own user and
    /// the end of its ID token at the same places.
    pub(crate) fn like(sample: &[u8], of: Option<&Known>) -> Fallible<Self> {
        let line = find(sample, b"\r\n").ok_or("an answer without a line")?;
        let head = find(sample, b"\r\n\r\n").ok_or("an answer without an end")?;
        let marks = match of {
            None => None,
            Some(known) => {
                let user = find(sample, b"x-authentik-username: ").ok_or("no user in the answer")?;
                let proof = find(sample, &known.proof).ok_or("no ID token in the answer")? - PROOF_LENGTH;
                Some(Marks { user, proof: Some(proof) })
            }
        };
        let body = sample[head..].iter().copied().take(BODY_START).collect();
        let start = sample[..line].to_vec();
        let expected = Self { length: sample.len(), start, marks, body, variation: MOST_VARIATION };
        expected.check(sample, of)?;
        Ok(expected)
    }

    /// As `sample`: 200, just as long, with exactly this `body` and, where sessions ask, a header in which the page says that
    /// it was asked by the session's own user.
    pub(crate) fn page(sample: &[u8], body: &[u8], of: Option<&Known>) -> Fallible<Self> {
        let user = find(sample, b"x-authentik-username: ");
        if user.is_some() != of.is_some() {
            return Err(format!("the page was told a wrong user:\n{}", String::from_utf8_lossy(sample)).into());
        }
        let marks = user.map(|user| Marks { user, proof: None });
        let start = b"HTTP/1.1 200 OK\r\n".to_vec();
        let expected = Self { length: sample.len(), start, marks, body: body.to_vec(), variation: 0 };
        expected.check(sample, of)?;
        Ok(expected)
    }

    /// Whether `answer` has come to its end; if it has, it is looked at by [`Expected::check`].
    pub(crate) fn is_whole(&self, answer: &[u8]) -> bool {
        if self.body.is_empty() {
            return answer.len() >= self.length;
        }
        let length = find(answer, b"content-length: ").and_then(|at| {
            let digits = answer[at..].split(|byte| *byte == b'\r').next()?;
            std::str::from_utf8(digits).ok()?.parse::<usize>().ok()
        });
        find(answer, b"\r\n\r\n").zip(length).is_some_and(|(head, body)| answer.len() >= head + body)
    }

    /// Whether `answer` is right for who asked.
    pub(crate) fn check(&self, answer: &[u8], asked: Option<&Known>) -> Fallible<()> {
        let whole = if self.body.is_empty() {
            answer.len() == self.length && answer.ends_with(b"\r\n\r\n")
        } else {
            answer.len().abs_diff(self.length) <= self.variation
                && find(answer, b"\r\n\r\n").is_some_and(|head| answer[head..].starts_with(&self.body))
        };
        let personal = match (self.marks, asked) {
            (Some(marks), Some(known)) if whole => {
                answer[marks.user..].starts_with(&known.user)
                    && answer[marks.user + USER_LENGTH..].starts_with(b"\r\n")
                    && marks.proof.is_none_or(|proof| answer[proof..].starts_with(&known.proof))
            }
            _ => true,
        };
        if whole && personal && answer.starts_with(&self.start) {
            return Ok(());
        }
        let whom = asked.map_or("", |known| std::str::from_utf8(&known.user).unwrap_or_default());
        let shown = String::from_utf8_lossy(&answer[..answer.len().min(400)]);
        let (length, wanted) = (answer.len(), self.length);
        Err(format!("a wrong answer to {whom:?}, {length} bytes in place of {wanted}:\n{shown}").into())
    }
}

/// The place behind `part`, whatever the case of its letters.
pub(crate) fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    let first = part.first()?;
    let begins = |it: &[u8]| it[0].eq_ignore_ascii_case(first) && it.eq_ignore_ascii_case(part);
    text.windows(part.len()).position(begins).map(|at| at + part.len())
}
