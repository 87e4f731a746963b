//! Tags by a pattern, as PoolMon's `/i` and `/x` take it.

use std::str::FromStr;

/// A pattern: `*` stands for any characters, `?` for one. Upper and lower case differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pattern(String);

impl FromStr for Pattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Pattern, String> {
        match text.chars().count() {
            0 => Err("a tag or a pattern is wanted, as 'Vio*' or 'Lk??'".to_owned()),
            1..=32 => Ok(Pattern(text.to_owned())),
            _ => Err("a pattern has 32 characters at most; a tag has four".to_owned()),
        }
    }
}

impl std::fmt::Display for Pattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl Pattern {
    /// Whether the tag fits. Spaces behind it may be left out.
    pub(crate) fn fits(&self, tag: &str) -> bool {
        let pattern: Vec<char> = self.0.chars().collect();
        let fits = |tag: &str| matches(&pattern, &tag.chars().collect::<Vec<_>>());
        fits(tag) || fits(tag.trim_end())
    }
}

/// Both have few characters, so each way is tried.
fn matches(pattern: &[char], tag: &[char]) -> bool {
    match (pattern.split_first(), tag.split_first()) {
        (None, None) => true,
        (Some(('*', rest)), _) => (0..=tag.len()).any(|at| matches(rest, &tag[at..])),
        (Some((wanted, rest)), Some((found, behind))) => {
            (*wanted == '?' || wanted == found) && matches(rest, behind)
        }
        _ => false,
    }
}

/// What is shown: what fits one of the first, if there are any, and none of the second.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    pub(crate) include: Vec<Pattern>,
    pub(crate) exclude: Vec<Pattern>,
}

impl Filter {
    pub(crate) fn shows(&self, tag: &str) -> bool {
        let any = |patterns: &[Pattern]| patterns.iter().any(|pattern| pattern.fits(tag));
        (self.include.is_empty() || any(&self.include)) && !any(&self.exclude)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_as_poolmons() {
        for (pattern, fits, not) in [
            ("VioS", &["VioS"][..], &["VioB", "vioS", "Vio "][..]),
            ("Vio*", &["VioS", "Vio ", "Vio*"], &["AVio", "Vi  "]),
            ("?io?", &["VioS", "Dios"], &["VVio"]),
            ("*", &["", "Abcd", "    "], &[]),
            ("Lk??", &["LkRq"], &["Lk", "LkR"]),
            ("Ab", &["Ab  ", "Ab"], &["Abc ", " Ab "]),
            ("*q", &["LkRq"], &["LkRp"]),
            ("*a*b*", &["xaxb", "ab"], &["ba"]),
        ] {
            let it: Pattern = pattern.parse().unwrap();
            assert!(fits.iter().all(|tag| it.fits(tag)), "{pattern} of {fits:?}");
            assert!(!not.iter().any(|tag| it.fits(tag)), "{pattern} of {not:?}");
        }
        assert!("".parse::<Pattern>().is_err() && "x".repeat(33).parse::<Pattern>().is_err());
    }

    #[test]
    fn what_is_excluded_is_not_shown() {
        let patterns = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        let filter = Filter { include: patterns(&["A*", "B*"]), exclude: patterns(&["?x*"]) };
        assert!(filter.shows("Aaaa") && filter.shows("Bbbb"));
        assert!(!filter.shows("Axxx") && !filter.shows("Cccc"));
        assert!(Filter::default().shows("Cccc"));
    }
}
