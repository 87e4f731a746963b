//! The run without a command.

use crate::common::{folder, text};
use crate::{files, json, run_with};

/// What the summary answers, and nothing else; all the rest is in the files.
#[test]
fn a_run_ends_with_a_summary() {
    let folder = folder("summary");
    let output = run_with(&folder, ("COLUMNS", "80"), &["--quick"]);
    let shown = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let lines: Vec<_> = shown.lines().collect();
    assert!(lines.len() <= 13, "{} lines: {shown}", lines.len());
    assert!(lines.iter().all(|line| line.chars().count() <= 80), "{shown}");
    let words = shown.split_whitespace().collect::<Vec<_>>().join(" ");
    let report = json(&folder.join("storport-pool-results/results.json"));
    for part in [
        &format!("Contract Kept: all {} checks", report["contract"].as_array().unwrap().len()),
        " Free ",
        "system malloc (",
        " of its time)",
        "mimalloc (",
        "Slowest Of 1000 frees: ",
        " Allocate ",
        "Unsure Nothing in this run tells",
        "Leak A driver leaked 15 blocks, on purpose. The pool listed all, by tag.",
        "storport-pool-results/results.html",
        "storport-pool-results/results.json",
        "--verbose",
    ] {
        assert!(words.contains(part), "no {part} in {shown}");
    }
    assert!(!shown.contains('│'), "a table: {shown}");
    assert_eq!(files(&folder), ["storport-pool-results"]);
    for part in ["scenarios", "contract", "phases", "tags", "leaks"] {
        assert!(!report[part].as_array().unwrap().is_empty(), "no {part}");
    }
}

/// All tables, the summary at the end, and no line too long.
#[test]
fn all_tables_are_shown_when_asked_for() {
    let folder = folder("verbose");
    for columns in [60, 120] {
        let arguments = ["--quick", "--verbose", "--json", "all.json"];
        let output = run_with(&folder, ("COLUMNS", &columns.to_string()), &arguments);
        let shown = text(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        for part in [
            "CONTRACT: MISUSE",
            "LATENCY: FREE, MEAN",
            "BULK CALLS",
            "REPLAY: THE TAG TABLE",
            "\nContract  Kept:",
        ] {
            assert!(shown.contains(part), "no {part} in {shown}");
        }
        assert!(shown.trim_end().ends_with("Results: all.json"), "{shown}");
        let longest = shown.lines().max_by_key(|line| line.chars().count()).unwrap();
        assert!(longest.chars().count() <= columns, "{columns}: {longest}");
        assert_eq!(files(&folder), ["all.json"]);
    }
}
