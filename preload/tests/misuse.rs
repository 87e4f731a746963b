//! What a bad call says, and does.

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod common;

use std::os::unix::process::ExitStatusExt;

use common::{good, preloaded, program, reported, said};

/// The bug check, what the pool says, and the program's own line.
const BAD: [(&str, &str, &str, &str); 10] = [
    ("double", "0x000000C2 (0x0000000000000007,", "double free", "errno 77"),
    ("double-large", "0x000000C2 (0x0000000000000043,", "outside the pool", "errno 77"),
    ("interior", "0x000000C2 (0x0000000000000099,", "inside a block", "errno 77"),
    ("interior-large", "0x000000C2 (0x0000000000000043,", "outside the pool", "errno 77"),
    ("unaligned", "0x000000C2 (0x0000000000000099,", "inside a block", "errno 77"),
    ("foreign", "0x000000C2 (0x0000000000000043,", "outside the pool", "errno 77"),
    ("non-canonical", "0x000000C2 (0x0000000000000043,", "outside the pool", "errno 77"),
    ("wild", "0x000000C2 (0x0000000000000046,", "where no block is", "errno 77"),
    ("realloc", "0x000000C2 (0x0000000000000007,", "double free", "NULL"),
    ("realloc-large", "0x000000C2 (0x0000000000000043,", "outside the pool", "NULL"),
];

#[test]
fn each_is_told_and_changes_nothing() {
    for (what, check, text, own) in BAD {
        let mut command = preloaded(program("misuse.c"));
        let output = good(command.arg(what).env("STORPORT_PRELOAD_REPORT", "stderr"));
        let all = said(&output);
        assert!(all.contains(&format!("*** STOP: {check}")) && all.contains(text), "{what}: {all}");
        assert!(all.contains(own) && all.contains("goes on"), "{what}: {all}");
        assert_eq!(all.matches("*** STOP").count(), 1, "{what}: {all}");
        assert_eq!(reported(&output, "violations"), 1, "{what}");
    }
}

#[test]
fn ignore_says_nothing_and_abort_aborts() {
    for (what, check, _, own) in BAD {
        let mut command = preloaded(program("misuse.c"));
        let all = said(&good(command.arg(what).env("STORPORT_PRELOAD_MISUSE", "ignore")));
        assert_eq!(all, format!("{own}\ngoes on\n"), "{what}");
        let mut command = preloaded(program("misuse.c"));
        let output = command.arg(what).env("STORPORT_PRELOAD_MISUSE", "abort").output().unwrap();
        assert_eq!(output.status.signal(), Some(6), "{what}");
        assert!(said(&output).starts_with(&format!("*** STOP: {check}")), "{what}");
    }
}

#[test]
fn what_is_no_misuse_is_not_told() {
    for what in ["", "usable"] {
        let mut command = preloaded(program("misuse.c"));
        let output = good(command.arg(what).env("STORPORT_PRELOAD_REPORT", "stderr"));
        assert!(!said(&output).contains("STOP"), "{what}");
        assert_eq!(reported(&output, "violations"), 0, "{what}");
    }
}

/// To a path, to which it appends, or to a file descriptor.
#[test]
fn the_report_goes_where_it_is_told() {
    let path =
        std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("report-{}", std::process::id()));
    let _ = std::fs::remove_file(&path);
    for _ in 0..2 {
        good(preloaded(program("misuse.c")).env("STORPORT_PRELOAD_REPORT", &path));
    }
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(text.matches("storport-preload: process ").count(), 2, "{text}");
    assert_eq!(text.matches(" Main Nonp ").count(), 2, "{text}");
    assert_eq!(text.matches("violations=0").count(), 2, "{text}");
    std::fs::remove_file(&path).unwrap();
    let output = good(preloaded(program("misuse.c")).env("STORPORT_PRELOAD_REPORT", "1"));
    assert!(String::from_utf8_lossy(&output.stdout).contains(" Main Nonp "));
    let output = good(preloaded(program("misuse.c")).env("STORPORT_PRELOAD_REPORT", "/nonexistent/file"));
    assert_eq!(said(&output), "errno 77\ngoes on\n");
}

/// Standard error of a program that is verified, and how it ended.
fn verified(what: &str, rules: &str) -> (String, std::process::ExitStatus) {
    let mut command = preloaded(program("misuse.c"));
    let output = command.arg(what).env("STORPORT_POOL_VERIFY", rules).output().unwrap();
    (String::from_utf8_lossy(&output.stderr).into_owned(), output.status)
}

#[test]
fn a_program_is_verified_as_a_variable_says() {
    for (what, rules, check, text, stacks) in [
        (
            "overrun",
            "canary track",
            "0x00000019 (0x0000000000000021,",
            "write behind the end of a block at 0x",
            1,
        ),
        ("overrun", "special", "0x000000C1 (", "write behind the end of a block at 0x", 1),
        ("late", "track,quarantine", "0x000000C6 (", "write to a block after it was freed at 0x", 2),
        ("double", "track; canary", "0x000000C2 (0x0000000000000007,", "double free at 0x", 2),
    ] {
        let (said, status) = verified(what, rules);
        assert!(status.success(), "{what}: {said}");
        assert!(said.starts_with(&format!("*** STOP: {check}")), "{what}: {said}");
        assert!(said.contains(&format!("*** storport-pool: {text}")), "{what}: {said}");
        assert_eq!(said.matches("*** STOP").count(), 1, "{what}: {said}");
        // Where it was allocated, and freed: places in the program and the library among them.
        let places: Vec<_> = said.lines().filter(|line| line.starts_with("***   ")).collect();
        assert_eq!(places.len(), stacks, "{what}: {said}");
        for line in places {
            assert!(line.contains(" misuse-c-") && line.contains(" libstorport_preload.so+0x"), "{line}");
        }
    }
    for (what, check, text) in [
        ("beyond", "0x000000CD", "access beside a block"),
        ("freed", "0x000000CC", "access to a block after"),
    ] {
        let (said, status) = verified(what, "special=after");
        assert_eq!(status.signal(), Some(11), "{what}: {said}");
        assert!(said.starts_with(&format!("*** STOP: {check}")) && said.contains(text), "{what}: {said}");
    }
    // Two rules, one of which refuses what never comes.
    let output = preloaded(program("misuse.c"))
        .env("STORPORT_POOL_VERIFY", "special; every=1000000000")
        .env("STORPORT_PRELOAD_REPORT", "stderr")
        .output()
        .unwrap();
    let said = said(&output);
    assert!(said.contains("\nverifier: verified=") && !said.contains("STOP"), "{said}");
    assert!(!said.contains("verified=0 ") && said.contains(" unguarded=0 refused=0 "), "{said}");
}

#[test]
fn rules_that_are_none_are_told_in_one_line() {
    for (rules, why) in [
        ("tags=Main specail", "'specail' is no word of a rule; the words are "),
        ("every=0", "'every=0' wants a number from 1 to 4294967295; nothing is verified"),
        (" ", "the rule does nothing: add a check or low resources to it; nothing is verified"),
    ] {
        let (said, status) = verified("", rules);
        assert!(status.success() && said.lines().count() == 1, "{said}");
        assert!(said.starts_with(&format!("*** storport-pool: STORPORT_POOL_VERIFY: {why}")), "{said}");
        assert!(said.ends_with("; nothing is verified\n"), "{said}");
    }
    let (said, _) = verified("", "");
    assert_eq!(said, "");
}
