//! Characters that a reader does not see, or that a system takes for others.

use icu_properties::CodePointSetData;
use icu_properties::props::DefaultIgnorableCodePoint;

/// Whether nothing is shown for `it` where it is not supported: joiners, fillers, variation selectors, tags (Unicode's
/// `Default_Ignorable_Code_Point`). Systems that compare texts often drop these characters first.
pub(crate) fn is_ignorable(it: char) -> bool {
    !it.is_ascii() && const { CodePointSetData::new::<DefaultIgnorableCodePoint>() }.contains(it)
}

/// Whether `it` is a control character, or ends a line as one does.
pub(crate) fn is_control(it: char) -> bool {
    it.is_control() || matches!(it, '\u{2028}' | '\u{2029}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_seen() {
        for it in ['\u{ad}', '\u{34f}', '\u{61c}', '\u{115f}', '\u{180e}', '\u{200b}', '\u{202e}', '\u{2060}'] {
            assert!(is_ignorable(it), "{it:?}");
        }
        for it in ['\u{206f}', '\u{3164}', '\u{fe0f}', '\u{feff}', '\u{ffa0}', '\u{1d173}', '\u{e0001}', '\u{e01ef}'] {
            assert!(is_ignorable(it), "{it:?}");
        }
        for it in ['a', ' ', '\n', '\u{e9}', '\u{301}', '\u{2028}', '\u{1f600}'] {
            assert!(!is_ignorable(it), "{it:?}");
        }
    }

    #[test]
    fn what_controls() {
        for it in ['\0', '\t', '\n', '\u{7f}', '\u{85}', '\u{2028}', '\u{2029}'] {
            assert!(is_control(it), "{it:?}");
        }
        assert!(!is_control(' ') && !is_control('\u{e9}'));
    }
}
