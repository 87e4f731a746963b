//! Who is compared, a line for each, for who does not know them.

/// What an allocator does about what its caller does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Checks {
    /// Each call, exactly: the pool's ways.
    All,
    /// Some misuse.
    Some,
    /// What costs next to nothing.
    Little,
    None,
}

impl Checks {
    fn words(self) -> &'static str {
        match self {
            Checks::All => "Checks every call for misuse.",
            Checks::Some => "Checks for some misuse.",
            Checks::Little => "Checks for little (glibc's ends the program at some double frees).",
            Checks::None => "Does not check for misuse.",
        }
    }
}

/// All that this program knows.
const KNOWN: [(&str, &str, Checks); 16] = [
    ("storport-pool", "The pool: this project.", Checks::All),
    ("system", "The C library's malloc, as it comes.", Checks::Little),
    ("mimalloc", "Microsoft's general allocator, as it is released.", Checks::None),
    ("jemalloc", "The general allocator of FreeBSD.", Checks::None),
    ("rpmalloc", "A general allocator with caches for each thread.", Checks::None),
    ("snmalloc", "Microsoft Research's general allocator, made for frees by other threads.", Checks::None),
    ("smalloc", "The Rust crate smmalloc: the size and place of a block are in its address.", Checks::None),
    ("talc", "A Rust allocator for programs without an operating system, behind one lock.", Checks::None),
    (
        "textbook",
        "What most would write from the brief: a lock-free stack for each size, safe by epochs.",
        Checks::None,
    ),
    ("textbook-tagged", "The same, safe by a count beside the head of each stack.", Checks::None),
    (
        "pool-checked",
        "The pool with its feature checked: two frees of one block in the same instant are told, too.",
        Checks::All,
    ),
    (
        "pool-portable",
        "The pool as it works where there are no restartable sequences: by locked instructions.",
        Checks::All,
    ),
    ("pool-masked", "The pool as in a kernel that masks interrupts, on a simulated machine.", Checks::All),
    ("pool-watched", "The pool while another process may watch it.", Checks::All),
    (
        "mimalloc-secure",
        "mimalloc built to be secure: guard pages, encoded lists, checks for double frees.",
        Checks::Some,
    ),
    ("snmalloc-check", "snmalloc built with its checks for corrupted lists and double frees.", Checks::Some),
];

fn known(name: &str) -> Option<(&'static str, Checks)> {
    KNOWN.iter().find(|(known, ..)| *known == name).map(|&(_, about, checks)| (about, checks))
}

/// A line about an allocator; of one that the program does not know, nothing.
pub(super) fn about(name: &str) -> Option<String> {
    known(name).map(|(about, checks)| format!("{about} {}", checks.words()))
}

/// Whether it looks for misuse.
pub(super) fn checks(name: &str) -> bool {
    known(name).is_some_and(|(_, checks)| matches!(checks, Checks::All | Checks::Some))
}

/// Whom a picture shows that nobody chose for: three general allocators that most readers know, and the faster one of the
/// two that look for misuse.
pub(super) const PICTURED: [&str; 4] = ["mimalloc", "rpmalloc", "jemalloc", "snmalloc-check"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers;

    #[test]
    fn each_allocator_has_its_line() {
        for name in peers::names() {
            assert!(about(name).is_some(), "nothing is said of {name}");
        }
        assert_eq!(KNOWN.len(), peers::names().count());
        assert!(about("mimalloc").unwrap().ends_with("not check for misuse."));
        assert!(about("of a trace of the future").is_none() && !checks("mimalloc"));
    }

    #[test]
    fn the_picture_has_one_that_checks() {
        assert!(PICTURED.iter().all(|name| known(name).is_some()));
        assert_eq!(PICTURED.iter().filter(|name| checks(name)).count(), 1);
    }
}
