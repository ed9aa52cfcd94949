//! Which answer is right; a benchmark that does not look would one day time a refusal.

use super::Fallible;
use super::sessions::{Known, PROOF_LENGTH, USER_LENGTH};

/// Where an answer says whose it is.
#[derive(Clone, Copy, Debug)]
struct Marks {
    user: usize,
    proof: usize,
}

/// What every answer of a target has to be.
#[derive(Clone, Debug)]
pub(crate) struct Expected {
    /// Its length to the byte, body included.
    pub(crate) length: usize,
    start: Vec<u8>,
    marks: Option<Marks>,
}

impl Expected {
    /// As `sample`: the same length and first line and, where it is the answer to a session, that session's own user and
    /// the end of its ID token at the same places.
    pub(crate) fn like(sample: &[u8], of: Option<&Known>) -> Fallible<Self> {
        let line = sample.windows(2).position(|two| two == b"\r\n").ok_or("an answer without a line")?;
        let marks = match of {
            None => None,
            Some(known) => {
                let user = find(sample, b"x-authentik-username: ").ok_or("no user in the answer")?;
                let proof = find(sample, &known.proof).ok_or("no ID token in the answer")? - PROOF_LENGTH;
                Some(Marks { user, proof })
            }
        };
        let expected = Self { length: sample.len(), start: sample[..line + 2].to_vec(), marks };
        expected.check(sample, of)?;
        Ok(expected)
    }

    /// Whether `answer` is right for who asked.
    pub(crate) fn check(&self, answer: &[u8], asked: Option<&Known>) -> Fallible<()> {
        let right = answer.len() == self.length
            && answer.starts_with(&self.start)
            && match (self.marks, asked) {
                (Some(marks), Some(known)) => {
                    answer[marks.user..].starts_with(&known.user)
                        && answer[marks.user + USER_LENGTH..].starts_with(b"\r\n")
                        && answer[marks.proof..].starts_with(&known.proof)
                }
                _ => true,
            };
        if right {
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
    text.windows(part.len()).position(|it| it.eq_ignore_ascii_case(part)).map(|at| at + part.len())
}
