//! A miniport is verified without being built anew: each misuse that Windows' verifier knows, planted in
//! tests/c/misuses.c, under the variable STORPORT_POOL_VERIFY, and all that the host says of it.

mod common;

use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, ExitStatus};
use std::sync::OnceLock;

use common::{here, program as program_of};

/// The host with the miniport, built once.
fn program() -> &'static PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| program_of("misuses", &[], &here().join("tests/c/misuses.c"), 10))
}

/// All that the host says, with its addresses masked, and how it ended.
fn run(misuse: &str, rules: &str, arguments: &[&str]) -> (String, ExitStatus) {
    let mut command = Command::new(program());
    command.env_remove("LD_LIBRARY_PATH").env("MISUSE", misuse).env("STORPORT_POOL_VERIFY", rules);
    let output = command.args(arguments).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (String::from_utf8(said).unwrap().lines().map(|line| masked(line) + "\n").collect(), output.status)
}

/// The line without what differs from run to run: addresses, and which places a call stack names. Its innermost frames are
/// checked: they are places in this program.
fn masked(line: &str) -> String {
    for what in ["allocated", "freed"] {
        if let Some(stack) = line.strip_prefix(&format!("    {what}: ")) {
            let frames: Vec<_> = stack.split(' ').collect();
            assert!(
                frames.len() > 3 && frames[..3].iter().all(|frame| frame.starts_with("misuses+0x")),
                "{line}"
            );
            return format!("    {what}: PLACES");
        }
    }
    let words = line.split(' ').map(|word| {
        let inner = word.trim_start_matches('(').trim_end_matches([',', ')', ':', ';']);
        let digits = inner.strip_prefix("0x").filter(|digits| digits.len() > 8);
        let is_hex = |digits: &str| digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        if digits.is_some_and(is_hex) { word.replace(inner, "ADDRESS") } else { word.to_owned() }
    });
    words.collect::<Vec<_>>().join(" ")
}

/// What stands below the findings: the tag's row, what was verified, and the sums, in which one count or two are not 0.
fn below(row: &str, verified: &str, allocations: u32, counts: &[(&str, u32)]) -> String {
    let count = |name: &str| {
        let count = counts.iter().find(|(of, _)| *of == name);
        format!("{} {name}", count.map_or(0, |(_, count)| *count))
    };
    let names = [
        "leaked",
        "freed twice",
        "through another adapter",
        "other bad frees",
        "above DISPATCH_LEVEL",
        "suspected overwritten",
        "corrupted",
        "other",
    ];
    assert!(counts.iter().all(|(name, _)| names.contains(name)));
    let names: Vec<_> = names.into_iter().map(count).collect();
    format!(
        " Tag  Type     Allocs            Frees      Diff     Bytes\n{row}{verified} refused on \
         purpose\n8021 requests, {allocations} allocation{}: {}\n",
        if allocations == 1 { "" } else { "s" },
        names.join(", ")
    )
}

const ONE: &str = " Mini Nonp          1                1         0         0\n";
const TWO: &str = " Mini Nonp          2                2         0         0\n";
const LEFT: &str = " Mini Nonp          1                0         1        40\n";
const ALL: &str = "special track quarantine irql overwrite";
const BLOCK: &str = "block ADDRESS (tag 'Mini', 40 bytes), allocated in HwStorFindAdapter";
const HINT: &str =
    "hint: for the line that allocates what leaks, build with -g and run with --fail-each --most=1 --stop\n";
const STACKS: &str = "    allocated: PLACES\n    freed: PLACES\n";
const GUARDED: &str = "1 block verified, 1 of them guarded; 0 allocations";
const PLAIN: &str = "1 block verified, 0 of them guarded; 0 allocations";

/// The host says this, and that.
#[track_caller]
fn says(misuse: &str, rules: &str, finding: &str, below: &str) {
    let (said, status) = run(misuse, rules, &["strict"]);
    assert_eq!(said, finding.to_owned() + below, "{misuse}");
    assert_eq!(status.code(), Some(i32::from(!finding.is_empty())), "{misuse}");
}

#[test]
fn without_misuse() {
    says("none", ALL, "", &below(ONE, GUARDED, 1, &[]));
    says(
        "none",
        "tags=Other track",
        "",
        &below(ONE, "0 blocks verified, 0 of them guarded; 0 allocations", 1, &[]),
    );
}

#[test]
fn frees_of_what_is_no_block() {
    let twice = format!(
        "double free: {BLOCK}, freed in HwStorFindAdapter, freed again in HwStorFindAdapter\n{STACKS}"
    );
    says("double-free", ALL, &twice, &below(ONE, GUARDED, 1, &[("freed twice", 1)]));
    says("double-free", "track", &twice, &below(ONE, PLAIN, 1, &[("freed twice", 1)]));
    for (misuse, words) in [
        ("interior", "free of an address inside a block"),
        ("foreign", "free of an address outside the pool"),
        ("wild", "free of an address where no block is"),
    ] {
        let finding = format!("bad free: ADDRESS in HwStorFindAdapter: {words}\n");
        says(misuse, ALL, &finding, &below(ONE, GUARDED, 1, &[("other bad frees", 1)]));
    }
    let other = format!("wrong adapter: {BLOCK} for hba0, freed in HwStorFindAdapter through hba1\n");
    says("wrong-owner", ALL, &other, &below(ONE, GUARDED, 1, &[("through another adapter", 1)]));
}

#[test]
fn calls_above_dispatch() {
    let free = format!("free above DISPATCH_LEVEL: in HwStorInitialize, at IRQL 5: {BLOCK}\n");
    says("free-at-dirql", ALL, &free, &below(ONE, GUARDED, 1, &[("above DISPATCH_LEVEL", 1)]));
    let allocation =
        "allocation above DISPATCH_LEVEL: in HwStorInitialize, at IRQL 5: tag 'Mini', 64 bytes\n";
    says("allocate-at-dirql", ALL, allocation, &below(ONE, GUARDED, 1, &[("above DISPATCH_LEVEL", 1)]));
}

#[test]
fn sizes_and_tags() {
    for (misuse, words) in [
        ("zero-size", "allocation of zero bytes"),
        ("zero-tag", "allocation with tag 0"),
        ("big-tag", "allocation with tag \"BIG\""),
        ("unreadable-tag", "allocation with a tag without letter or digit"),
    ] {
        let finding = format!("misuse: {words}, in HwStorFindAdapter\n");
        says(misuse, ALL, &finding, &below(ONE, GUARDED, 1, &[("other", 1)]));
    }
}

#[test]
fn writes_outside_of_blocks_and_after_their_free() {
    let allocated = "    allocated: PLACES\n";
    let overrun = |stops: &str| {
        format!(
            "write behind the end of a block: {BLOCK}: 0x58 at ADDRESS in place of 0xfd, found in HwStorFindAdapter; \
             Windows stops with {stops}\n{allocated}"
        )
    };
    let guarded = overrun("0xC1 (ADDRESS, ADDRESS, 0x0, 0x24)");
    says("overrun", ALL, &guarded, &below(ONE, GUARDED, 1, &[("corrupted", 1)]));
    let plain = overrun("0x19 (0x21, ADDRESS, 0x28, ADDRESS)");
    says("overrun", "canary,track", &plain, &below(ONE, PLAIN, 1, &[("corrupted", 1)]));
    // The tagged pool's block is freed all the same: it is no leak.
    says("executive-overrun", "canary,track", &plain, &below(ONE, PLAIN, 1, &[("corrupted", 1)]));
    let underrun = format!(
        "write before the beginning of a block: {BLOCK}: 0x58 at ADDRESS in place of 0xfd, found in \
         HwStorFindAdapter; Windows stops with 0xC1 (ADDRESS, ADDRESS, 0x0, 0x23)\n{allocated}"
    );
    says("underrun", ALL, &underrun, &below(ONE, GUARDED, 1, &[("corrupted", 1)]));
    let late = format!(
        "write to a block after it was freed: {BLOCK}, freed in HwStorFindAdapter: 0x58 at ADDRESS in place of 0xdd, \
         found in the host; Windows stops with 0xC6 (ADDRESS, 0x1, 0x0, 0x0)\n{STACKS}"
    );
    says("write-after-free", "canary track quarantine", &late, &below(ONE, PLAIN, 1, &[("corrupted", 1)]));
}

#[test]
fn leaks_and_overwritten_pointers() {
    let leak = format!("leak: {BLOCK} for hba0\n");
    says("leak", ALL, &leak, &(below(LEFT, GUARDED, 1, &[("leaked", 1)]) + HINT));
    // What lies behind a leaked block is looked at in the end.
    let overrun = format!(
        "write behind the end of a block: {BLOCK}: 0x58 at ADDRESS in place of 0xfd, found in the host; Windows stops \
         with 0x19 (0x21, ADDRESS, 0x28, ADDRESS)\n    allocated: PLACES\n"
    );
    let counts = [("leaked", 1), ("corrupted", 1)];
    says("overrun-and-leak", "canary track", &(leak + &overrun), &(below(LEFT, PLAIN, 1, &counts) + HINT));
    let overwritten = format!(
        "suspected overwrite: allocation in HwStorFindAdapter into a pointer that holds a live {BLOCK}\n"
    );
    let two = "2 blocks verified, 2 of them guarded; 0 allocations";
    says("overwritten", ALL, &overwritten, &below(TWO, two, 2, &[("suspected overwritten", 1)]));
}

#[test]
fn low_resources_are_no_misuse() {
    says(
        "low-resources",
        "only=1",
        "",
        &below(ONE, "0 blocks verified, 0 of them guarded; 1 allocation", 1, &[]),
    );
}

/// The process ends by SIGSEGV, with a report.
#[test]
fn guard_pages() {
    for (misuse, finding, stop, stacks) in [
        ("access-beyond", "access beside a block", "0xCD", "    allocated: PLACES\n"),
        ("access-freed", "access to a block after it was freed", "0xCC", STACKS),
    ] {
        let (said, status) = run(misuse, "special=after", &[]);
        let expected = format!(
            "in HwStorFindAdapter: {finding} at ADDRESS, tag 'Mini', 40 bytes, of adapter hba0; Windows stops with \
             {stop} (ADDRESS, 0x0, 0x0, 0x0)\n{stacks}"
        );
        assert_eq!(said, expected, "{misuse}");
        assert_eq!(status.signal(), Some(11), "{misuse}");
    }
}

#[test]
fn rules_that_are_none() {
    for (rules, why) in [
        (
            "tags=Mini specail",
            "'specail' is no word of a rule; the words are adapter=, tags=, special, all, canary, ",
        ),
        ("track;special=behind", "'special=behind' wants 'after' or 'before'\n"),
        (";", "the rule does nothing: add a check or low resources to it\n"),
        ("adapter=9 track", "the rule's adapter is unknown or removed\n"),
    ] {
        let (said, status) = run("none", rules, &[]);
        assert!(said.starts_with(&format!("the pool cannot be verified: {why}")), "{said}");
        assert_eq!((said.lines().count(), status.code()), (1, Some(2)), "{said}");
    }
    let (said, status) = run("none", "", &["nonsense"]);
    assert_eq!(said, "nonsense: no such argument; --help has them all\n");
    assert_eq!(status.code(), Some(2));
    // An empty variable is none.
    let (said, status) = run("none", "", &[]);
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(said.starts_with(" Tag  ") && !said.contains("verified"), "{said}");
}
