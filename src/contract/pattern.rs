//! Patterns that tags match, as `!poolfind` takes them.

use core::fmt::{self, Write};

use super::tag::{PoolTag, TagError};

/// A pattern that tags match, as `!poolfind` takes it: `?` stands for any one character, `*` for any number of them.
///
/// Spaces and zero bytes at a tag's end do not count, as in PoolMon. So `Ab` matches the tags `Ab` and `Ab  `, and
/// `Ab?` matches neither. A tag may itself contain `?` or `*`; the pattern's `?` matches that. The functions run at any
/// IRQL. A match looks at four characters of a tag and 16 of a pattern at most.
///
/// ```
/// use storport_pool::{TagPattern, tag};
/// let pattern = TagPattern::new("A?c*")?;
/// assert!(pattern.matches(tag!("Ahci")) && pattern.matches(tag!("Abc")) && !pattern.matches(tag!("Acpi")));
/// assert!(TagPattern::ALL.is_all() && !pattern.is_all());
/// assert!(TagPattern::new("much longer than 16").is_err());
/// assert_eq!(TagPattern::MAX, 16);
/// # Ok::<(), storport_pool::TagError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TagPattern {
    bytes: [u8; TagPattern::MAX],
    len: usize,
}

impl TagPattern {
    /// The most characters that a pattern has.
    pub const MAX: usize = 16;

    /// The pattern `*`, which all tags match.
    pub const ALL: TagPattern = TagPattern { bytes: *b"*\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", len: 1 };

    /// The pattern as two words: its characters, and zero bytes behind them.
    pub(crate) const fn words(&self) -> [u64; 2] {
        let all = u128::from_le_bytes(self.bytes);
        [all as u64, (all >> 64) as u64]
    }

    /// The pattern with these words.
    pub(crate) const fn from_words([low, high]: [u64; 2]) -> TagPattern {
        let bytes = ((high as u128) << 64 | low as u128).to_le_bytes();
        let mut len = 0;
        while len < Self::MAX && bytes[len] != 0 {
            len += 1;
        }
        TagPattern { bytes, len }
    }

    /// The pattern with these characters.
    ///
    /// # Errors
    /// [`TagError`]: the text is empty, longer than [`MAX`](TagPattern::MAX) characters, or not printable ASCII.
    pub const fn new(text: &str) -> Result<TagPattern, TagError> {
        let text = text.as_bytes();
        if text.is_empty() || text.len() > Self::MAX {
            return Err(TagError::Length);
        }
        let mut bytes = [0; Self::MAX];
        let mut n = 0;
        while n < text.len() {
            if text[n] < 0x20 || text[n] > 0x7E {
                return Err(TagError::Character);
            }
            bytes[n] = text[n];
            n += 1;
        }
        let mut len = text.len();
        while len > 1 && bytes[len - 1] == b' ' {
            len -= 1;
        }
        let mut end = Self::MAX;
        while end > len {
            end -= 1;
            bytes[end] = 0;
        }
        Ok(TagPattern { bytes, len })
    }

    /// Whether this tag matches.
    #[must_use]
    pub fn matches(&self, tag: PoolTag) -> bool {
        let text = tag.bytes();
        let end = text.iter().rposition(|byte| !matches!(byte, 0 | b' ')).map_or(0, |last| last + 1);
        let (text, pattern) = (&text[..end], &self.bytes[..self.len]);
        // Where the last star was, and what it stood for so far.
        let (mut at, mut in_pattern, mut star) = (0, 0, None);
        loop {
            match pattern.get(in_pattern) {
                Some(b'*') => {
                    star = Some((in_pattern, at));
                    in_pattern += 1;
                    continue;
                }
                None if at == text.len() => return true,
                Some(&wanted) if at < text.len() && (wanted == b'?' || wanted == text[at]) => {
                    (at, in_pattern) = (at + 1, in_pattern + 1);
                    continue;
                }
                _ => {}
            }
            // Else the star stands for one character more.
            match star {
                Some((place, stood)) if stood < text.len() => {
                    star = Some((place, stood + 1));
                    (at, in_pattern) = (stood + 1, place + 1);
                }
                _ => return false,
            }
        }
    }

    /// Whether the pattern is `*`. Then every block matches, even one whose tag is not known.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.bytes[..self.len].iter().all(|&byte| byte == b'*')
    }
}

impl core::str::FromStr for TagPattern {
    type Err = TagError;

    fn from_str(text: &str) -> Result<TagPattern, TagError> {
        TagPattern::new(text)
    }
}

impl fmt::Display for TagPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.bytes[..self.len].iter().try_for_each(|&byte| f.write_char(char::from(byte)))
    }
}

impl fmt::Debug for TagPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{self}'")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_its_words() {
        for text in ["*", "A?c*", "1234567890123456", "Ab  "] {
            let pattern = TagPattern::new(text).unwrap();
            assert_eq!(TagPattern::from_words(pattern.words()), pattern, "{text}");
        }
        assert_eq!(TagPattern::new("*"), Ok(TagPattern::ALL));
    }

    #[test]
    fn what_matches() {
        let tag = |text: &[u8; 4]| PoolTag::from_raw(u32::from_le_bytes(*text));
        let matches = |pattern: &str, text| TagPattern::new(pattern).unwrap().matches(tag(text));
        for (pattern, text) in [
            ("Ahci", b"Ahci"),
            ("A*", b"Ahci"),
            ("*", b"Ahci"),
            ("*", b"\0\0\0\0"),
            ("*i", b"Ahci"),
            ("*h*i*", b"Ahci"),
            ("????", b"Ahci"),
            ("A??i", b"Ahci"),
            ("Ab", b"Ab\0\0"),
            ("Ab", b"Ab  "),
            ("Ab  ", b"Ab\0\0"),
            ("*ab", b"aaab"),
            ("a?*", b"ab\0\0"),
            ("?", b"*   "),
        ] {
            assert!(matches(pattern, text), "{pattern} {text:?}");
        }
        for (pattern, text) in [
            ("Ahc", b"Ahci"),
            ("Ahci", b"ahci"),
            ("Ab?", b"Ab\0\0"),
            ("*a", b"aaab"),
            ("?", b"\0\0\0\0"),
            ("?????", b"Ahci"),
            ("A*b", b"Ahci"),
            ("Ahci", b"Ahcj"),
        ] {
            assert!(!matches(pattern, text), "{pattern} {text:?}");
        }
        assert!(TagPattern::new("**").unwrap().is_all() && !TagPattern::new("*a").unwrap().is_all());
        assert_eq!(TagPattern::new(""), Err(TagError::Length));
        assert_eq!(TagPattern::new("12345678901234567"), Err(TagError::Length));
        assert_eq!(TagPattern::new("\u{e9}"), Err(TagError::Character));
    }
}
