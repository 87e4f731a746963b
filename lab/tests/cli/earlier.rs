//! Earlier runs, compared and drawn.

use std::fs::File;
use std::process::Command;

use crate::common::{folder, run, text};
use crate::{json, refused};

/// Two runs of one scenario: shown, and written only where asked to.
#[test]
fn runs_are_compared() {
    let folder = folder("compare");
    for file in ["a.json", "b.json"] {
        let output =
            run(&folder, &["latency", "--quick", "--scenario", "hot", "--json", file, "--html", "page.html"]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    }
    std::fs::remove_file(folder.join("page.html")).unwrap();
    let output = run(&folder, &["compare", "a.json", "b.json"]);
    let shown = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    for part in [
        "a: a.json: ",
        "b: b.json: ",
        "version 0.1.0",
        " UTC",
        "quick run",
        "B OVER A: FREE, MEAN",
        "storport-pool: 3 figures",
        "beyond the noise within a run",
    ] {
        assert!(shown.contains(part), "no {part} in {shown}");
    }
    // What that noise is not.
    let words = shown.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(words.matches("Two runs of the same program differ by more").count(), 1, "{shown}");
    assert!(!words.contains("beyond noise"), "{shown}");
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 2, "a file was written");

    let output = run(&folder, &["compare", "a.json", "b.json", "--html", "page.html"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let page = std::fs::read_to_string(folder.join("page.html")).unwrap();
    assert!(page.starts_with("<!doctype html>") && page.contains("class=\"heat\""));
    assert!(page.contains("Two runs of the same program differ by more"));

    let output = run(&folder, &["chart", "a.json", "free.svg"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(std::fs::read_to_string(folder.join("free.svg")).unwrap().starts_with("<svg "));
    let output = run(&folder, &["chart", "a.json", "a.json"]);
    assert!(text(&output.stderr).contains("would replace the run"), "{}", text(&output.stderr));

    // What is no run of this program's kind is refused.
    let mut older = json(&folder.join("a.json"));
    older["schema"] = 1.into();
    std::fs::write(folder.join("older.json"), older.to_string()).unwrap();
    std::fs::write(folder.join("foreign.json"), "[1, 2]").unwrap();
    for (file, message) in [
        ("older.json", "'older.json' has schema 1; this program reads 2"),
        ("foreign.json", "'foreign.json' is no result of this program"),
        ("none.json", "cannot read 'none.json'"),
    ] {
        refused(&run(&folder, &["compare", "a.json", file]), message);
    }
}

/// A dash is the standard input, where a run is read.
#[test]
fn a_run_is_read_from_the_standard_input() {
    let folder = folder("input");
    let pair = ["latency", "--quick", "--scenario", "hot", "--peers", "system", "--json", "a.json"];
    assert_eq!(run(&folder, &pair).status.code(), Some(0));
    let piped = |arguments: &[&str], file: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_storport-pool"));
        let input = File::open(folder.join(file)).unwrap();
        command.current_dir(&folder).args(arguments).stdin(input).output().unwrap()
    };
    for arguments in [["compare", "-", "a.json"], ["compare", "a.json", "-"]] {
        let output = piped(&arguments, "a.json");
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        assert!(text(&output.stdout).contains(": -: "), "{}", text(&output.stdout));
    }
    let output = piped(&["chart", "-", "-"], "a.json");
    assert!(text(&output.stdout).starts_with("<svg "), "{}", text(&output.stderr));
    std::fs::write(folder.join("text"), "no run").unwrap();
    refused(&piped(&["chart", "-", "-"], "text"), "'-' is no result of this program");
}
