//! Rules as text: for command lines and environment variables.

use core::fmt;
use core::str::FromStr;

use crate::contract::adapter::AdapterId;
use crate::contract::pattern::TagPattern;
use crate::contract::verify::rule::{Guard, Rule};

/// Bytes of a word that an error keeps.
const KEPT: usize = 40;

/// Why a text is no rule: the wrong word, and what it should be. It displays as one line.
///
/// ```
/// use storport_pool::Rule;
/// let error = "tags=Vio* trak".parse::<Rule>().unwrap_err();
/// assert_eq!(error.word(), "trak");
/// assert!(error.to_string().starts_with("'trak' is no word of a rule; the words are adapter=, tags=, special,"));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RuleError {
    word: [u8; KEPT],
    len: u8,
    fault: Fault,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Fault {
    Unknown,
    Twice,
    TakesNoValue,
    Number { least: u64, most: u64 },
    Adapter,
    Tags,
    Special,
    Idle,
    Nothing,
}

impl RuleError {
    fn new(word: &str, fault: Fault) -> RuleError {
        let mut len = word.len().min(KEPT);
        while !word.is_char_boundary(len) {
            len -= 1;
        }
        let mut kept = [0; KEPT];
        kept[..len].copy_from_slice(&word.as_bytes()[..len]);
        RuleError { word: kept, len: len as u8, fault }
    }

    /// The wrong word: its first 40 bytes. Empty if no word is wrong, but one is missing. Any IRQL.
    #[must_use]
    pub fn word(&self) -> &str {
        core::str::from_utf8(&self.word[..usize::from(self.len)]).unwrap_or("")
    }
}

impl fmt::Debug for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RuleError({self})")
    }
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.fault == Fault::Nothing {
            return f.write_str("the rule does nothing: add a check or low resources to it");
        }
        // A line stays one line.
        f.write_str("'")?;
        for character in self.word().chars() {
            fmt::Write::write_char(f, if character.is_control() { '?' } else { character })?;
        }
        f.write_str("' ")?;
        match self.fault {
            Fault::Unknown => f.write_str(
                "is no word of a rule; the words are adapter=, tags=, special, all, canary, track, quarantine, irql, \
                 overwrite, probability=, every=, only=, after=, once-per-stack, seed=",
            ),
            Fault::Twice => f.write_str("comes twice in one rule"),
            Fault::TakesNoValue => f.write_str("takes no value"),
            Fault::Number { least, most: u64::MAX } => write!(f, "wants a number from {least} on"),
            Fault::Number { least, most } => write!(f, "wants a number from {least} to {most}"),
            Fault::Adapter => f.write_str("wants 'any' or an adapter's number"),
            Fault::Tags => f.write_str("wants 1 to 16 printable characters, * and ? among them"),
            Fault::Special => f.write_str("wants 'after' or 'before'"),
            Fault::Idle => f.write_str("does nothing without probability=, every=, only= or once-per-stack"),
            Fault::Nothing => Ok(()),
        }
    }
}

impl core::error::Error for RuleError {}

/// A decimal number within these bounds.
fn number(word: &str, value: Option<&str>, least: u64, most: u64) -> Result<u64, RuleError> {
    let digits = value.filter(|value| value.bytes().all(|digit| digit.is_ascii_digit()));
    let number = digits.and_then(|digits| digits.parse().ok());
    number
        .filter(|number| (least..=most).contains(number))
        .ok_or(RuleError::new(word, Fault::Number { least, most }))
}

/// The words' names; a word's place is its bit among those that were seen.
const NAMES: [&str; 15] = [
    "adapter",
    "tags",
    "special",
    "all",
    "canary",
    "track",
    "quarantine",
    "irql",
    "overwrite",
    "probability",
    "every",
    "only",
    "after",
    "once-per-stack",
    "seed",
];

/// A rule with one word more.
fn with(rule: Rule, name: &str, word: &str, value: Option<&str>) -> Result<Rule, RuleError> {
    let wrong = |fault| RuleError::new(word, fault);
    let within = |least, most| number(word, value, least, most);
    let low = rule.low;
    Ok(match name {
        "adapter" if value == Some("any") => rule,
        "adapter" => match within(1, u32::MAX.into()).map(|raw| AdapterId::from_raw(raw as u32)) {
            Ok(adapter) if adapter.raw() != 0 => rule.adapter(adapter),
            _ => return Err(wrong(Fault::Adapter)),
        },
        "tags" => rule.tags(TagPattern::new(value.unwrap_or("")).map_err(|_| wrong(Fault::Tags))?),
        "special" => match value {
            None | Some("after") => rule.guard(Guard::After),
            Some("before") => rule.guard(Guard::Before),
            Some(_) => return Err(wrong(Fault::Special)),
        },
        "probability" => rule.low_resources(low.probability(within(0, 10_000)? as u32)),
        "every" => rule.low_resources(low.every(within(1, u32::MAX.into())? as u32)),
        "only" => rule.low_resources(low.only(within(1, u64::MAX)?)),
        "after" => rule.low_resources(low.after(within(0, u64::MAX)?)),
        "seed" => rule.low_resources(low.seed(within(0, u64::MAX)?)),
        _ if value.is_some() => return Err(wrong(Fault::TakesNoValue)),
        "all" => rule.all_checks(),
        "canary" => rule.canary(),
        "track" => rule.track(),
        "quarantine" => rule.quarantine(),
        "irql" => rule.irql(),
        "overwrite" => rule.overwrite(),
        "once-per-stack" => rule.low_resources(low.once_per_stack(true)),
        _ => return Err(wrong(Fault::Unknown)),
    })
}

impl FromStr for Rule {
    type Err = RuleError;

    /// A rule in one line: words with spaces or commas between, in any order, each once at most.
    ///
    /// | word | what it stands for |
    /// |---|---|
    /// | `adapter=any`, `adapter=3` | all adapters, which is the default; [`Rule::adapter`], by its number ([`AdapterId::raw`]) |
    /// | `tags=Vio*` | [`Rule::tags`]. A tag's spaces and commas are written as `?` |
    /// | `special`, `special=after`, `special=before` | [`Rule::guard`]; behind the block by default |
    /// | `all` | [`Rule::all_checks`]; before the block if `special=before` is there too |
    /// | `canary`, `track`, `quarantine`, `irql`, `overwrite` | the functions of these names |
    /// | `probability=600`, `every=10`, `only=3`, `after=1000`, `once-per-stack`, `seed=7` | [`LowResources`](crate::LowResources) |
    ///
    /// # Errors
    /// [`RuleError`], which names the word that is wrong. A text whose rule would do nothing is none.
    ///
    /// ```
    /// use storport_pool::{Guard, LowResources, Rule, TagPattern};
    /// let rule: Rule = "adapter=any tags=Vio* special=after track quarantine".parse()?;
    /// assert_eq!(rule, Rule::new().tags(TagPattern::new("Vio*")?).guard(Guard::After).track().quarantine());
    /// let rule: Rule = "probability=600,after=1000".parse()?;
    /// assert_eq!(rule, Rule::new().low_resources(LowResources::new().probability(600).after(1000)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    fn from_str(text: &str) -> Result<Rule, RuleError> {
        let (mut rule, mut seen, mut idle) = (Rule::new(), 0u32, None);
        let words = text.split([' ', ',', '\t', '\n', '\r']);
        for word in words.filter(|word| !word.is_empty()) {
            let (name, value) = match word.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (word, None),
            };
            let place = NAMES.iter().position(|known| *known == name);
            let bit = 1 << place.ok_or(RuleError::new(word, Fault::Unknown))?;
            if seen & bit != 0 {
                return Err(RuleError::new(word, Fault::Twice));
            }
            seen |= bit;
            rule = with(rule, name, word, value)?;
            if matches!(name, "after" | "seed") {
                idle = Some(word);
            }
        }
        match idle {
            Some(word) if !rule.low.is_on() => Err(RuleError::new(word, Fault::Idle)),
            _ if rule.does_something() => Ok(rule),
            _ => Err(RuleError::new("", Fault::Nothing)),
        }
    }
}

impl Rule {
    /// The rules of a text that separates them by `;`, one after the other. Empty parts are left out. Any IRQL.
    ///
    /// ```
    /// use storport_pool::Rule;
    /// let rules: Result<Vec<Rule>, _> = Rule::list("tags=Srb? special; probability=600 after=1000;").collect();
    /// assert_eq!(rules?.len(), 2);
    /// assert_eq!(Rule::list(" ; ").count(), 0);
    /// # Ok::<(), storport_pool::RuleError>(())
    /// ```
    pub fn list(text: &str) -> impl Iterator<Item = Result<Rule, RuleError>> {
        text.split(';').map(str::trim).filter(|rule| !rule.is_empty()).map(str::parse)
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;
    use crate::contract::verify::rule::LowResources;

    #[test]
    fn each_word_is_its_function() {
        let low = LowResources::new();
        for (text, rule) in [
            ("special", Rule::new().guard(Guard::After)),
            ("special=before", Rule::new().guard(Guard::Before)),
            ("special=before all", Rule::new().guard(Guard::Before).all_checks()),
            ("all special=before", Rule::new().guard(Guard::Before).all_checks()),
            ("all", Rule::new().all_checks()),
            ("canary", Rule::new().canary()),
            ("track", Rule::new().track()),
            ("quarantine", Rule::new().quarantine()),
            ("irql", Rule::new().irql()),
            ("overwrite", Rule::new().overwrite()),
            ("adapter=any,track", Rule::new().track()),
            ("adapter=7 track", Rule::new().adapter(AdapterId::from_raw(7)).track()),
            ("track,tags=?o*", Rule::new().track().tags(TagPattern::new("?o*").unwrap())),
            ("  ,track ,\tcanary\n", Rule::new().track().canary()),
            ("probability=10000", Rule::new().low_resources(low.probability(10_000))),
            ("every=4294967295", Rule::new().low_resources(low.every(u32::MAX))),
            ("only=18446744073709551615", Rule::new().low_resources(low.only(u64::MAX))),
            ("seed=9 after=0 every=2", Rule::new().low_resources(low.seed(9).every(2))),
            ("after=5 once-per-stack", Rule::new().low_resources(low.after(5).once_per_stack(true))),
        ] {
            assert_eq!(text.parse(), Ok(rule), "{text}");
        }
    }

    #[test]
    fn each_wrong_word_is_named() {
        let long = "x".repeat(100);
        for (text, word, line) in [
            ("trak", "trak", "is no word of a rule; the words are adapter=, tags=, special, all, canary,"),
            ("track Canary", "Canary", "is no word of a rule"),
            ("=5", "=5", "is no word of a rule"),
            ("track;canary", "track;canary", "is no word of a rule"),
            (&long, &long[..40], "is no word of a rule"),
            ("é\u{7}", "é\u{7}", "is no word of a rule"),
            ("track canary track", "track", "comes twice in one rule"),
            ("special=after special=before", "special=before", "comes twice in one rule"),
            ("track=1", "track=1", "takes no value"),
            ("once-per-stack=", "once-per-stack=", "takes no value"),
            ("special=behind", "special=behind", "wants 'after' or 'before'"),
            ("tags= track", "tags=", "wants 1 to 16 printable characters, * and ? among them"),
            ("tags track", "tags", "wants 1 to 16"),
            ("tags=12345678901234567 track", "tags=12345678901234567", "wants 1 to 16"),
            ("adapter=disk0 track", "adapter=disk0", "wants 'any' or an adapter's number"),
            ("adapter=0 track", "adapter=0", "wants 'any'"),
            ("adapter=262144 track", "adapter=262144", "wants 'any'"),
            ("probability=10001", "probability=10001", "wants a number from 0 to 10000"),
            ("every=0", "every=0", "wants a number from 1 to 4294967295"),
            ("every", "every", "wants a number from 1 to 4294967295"),
            ("only=", "only=", "wants a number from 1 on"),
            ("every=2 seed=+1", "seed=+1", "wants a number from 0 on"),
            ("every=2 after=99999999999999999999", "after=99999999999999999999", "wants a number from 0 on"),
            ("seed=3 canary", "seed=3", "does nothing without probability=, every=, only= or once-per-stack"),
            ("probability=0 after=3", "after=3", "does nothing without"),
        ] {
            let error = text.parse::<Rule>().unwrap_err();
            assert_eq!(error.word(), word);
            let said = error.to_string();
            let shown = word.replace('\u{7}', "?");
            assert!(said.starts_with(&std::format!("'{shown}' {line}")), "{said}");
            // The C interface's sentences have 239 bytes.
            assert!(said.len() < 239 && !said.contains('\u{7}'), "{said}");
        }
        for text in ["", " , ", "tags=Vio*", "adapter=any", "probability=0"] {
            let error = text.parse::<Rule>().unwrap_err();
            assert_eq!(
                error.to_string(),
                "the rule does nothing: add a check or low resources to it",
                "{text}"
            );
            assert_eq!(error.word(), "");
        }
    }
}
