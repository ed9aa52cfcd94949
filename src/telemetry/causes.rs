use std::error::Error;
use std::fmt;

/// Shows an error with its causes, for a line of the log or for the operator: `what failed: why: why`.
pub struct WithCauses<'e>(pub &'e (dyn Error + 'static));

impl fmt::Display for WithCauses<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.0.to_string();
        for cause in std::iter::successors(self.0.source(), |&cause| cause.source()) {
            let cause = cause.to_string();
            // An error that adds nothing to its cause has the same text.
            if !text.ends_with(&cause) {
                text.push_str(": ");
                text.push_str(&cause);
            }
        }
        f.write_str(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Failed {
        text: &'static str,
        source: Option<Box<Failed>>,
    }

    #[track_caller]
    fn check(texts: &[&'static str], expected: &str) {
        let caused = |source: Option<Box<Failed>>, text: &&'static str| Some(Box::new(Failed { text, source }));
        let error = texts.iter().rev().fold(None, caused).unwrap();
        assert_eq!(WithCauses(&*error).to_string(), expected);
    }

    #[test]
    fn each_cause_is_told_once() {
        check(&["no answer"], "no answer");
        check(&["no login", "no answer", "refused"], "no login: no answer: refused");
        check(&["no answer", "no answer", "refused"], "no answer: refused");
        check(&["no login: no answer", "no answer", "refused"], "no login: no answer: refused");
    }
}
