//! The program as a user meets it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// An empty folder of the test's own, where the program runs.
fn folder(test: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(test);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

fn run(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_storport-pool")).current_dir(folder).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn json(file: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
}

#[test]
fn the_contract_holds() {
    let folder = folder("contract");
    let output = run(&folder, &["contract"]);
    let shown = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{shown}");
    let checks =
        json(&folder.join("target/storport-pool/contract.json"))["contract"].as_array().unwrap().clone();
    assert!(checks.len() > 40);
    assert!(checks.iter().all(|check| check["ok"] == true));
    assert!(shown.contains(&format!("{0} of {0} as documented", checks.len())), "{shown}");
    assert!(!shown.contains('✗'));
    for status in
        ["SUCCESS", "INVALID_PARAMETER", "INVALID_IRQL", "INSUFFICIENT_RESOURCES", "NOT_IMPLEMENTED"]
    {
        assert!(shown.contains(status), "{status}");
    }
    assert!(folder.join("target/storport-pool/contract.html").exists());
}

#[test]
fn the_replay_ends_with_the_tag_table() {
    let folder = folder("replay");
    let output = run(&folder, &["replay", "--quick"]);
    let shown = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    for column in ["Tag", "Type", "Allocs", "Frees", "Diff", "Bytes", "Per Alloc", "Nonp"] {
        assert!(shown.contains(column), "no {column} in {shown}");
    }
    let report = json(&folder.join("target/storport-pool/replay.json"));
    for part in ["scenarios", "phases", "tags", "leaks"] {
        assert!(!report[part].as_array().unwrap().is_empty(), "no {part}");
    }
    for tag in report["tags"].as_array().unwrap() {
        let count = |key: &str| tag[key].as_u64().unwrap();
        assert_eq!(count("allocs") - count("frees"), count("diff"), "{tag}");
    }
    let longest = shown.lines().map(|line| line.chars().count()).max();
    assert!(longest <= Some(120), "{longest:?}");
}

#[test]
fn bad_arguments_are_named() {
    let folder = folder("arguments");
    for (arguments, message) in [
        (&["nonsense"][..], "unrecognized subcommand 'nonsense'"),
        (&["--speed"], "unexpected argument '--speed'"),
        (&["latency", "--scenario", "warm"], "[possible values: pair, hot, cold"),
        (&["contract", "--json"], "a value is required"),
        (&["contract", "--json", "same", "--html", "same"], "are both 'same'"),
    ] {
        let output = run(&folder, arguments);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {error}");
        assert!(error.starts_with("error: ") && error.contains(message), "{arguments:?}: {error}");
    }
}

#[test]
fn unwritable_files_are_found_before_the_work() {
    let folder = folder("unwritable");
    std::fs::write(folder.join("file"), "").unwrap();
    for option in ["--json", "--html"] {
        // A folder that is a file: nobody can write there, root neither.
        let output = run(&folder, &["--quick", option, "file/results"]);
        assert_eq!(output.status.code(), Some(2));
        assert!(output.stdout.is_empty(), "the work began");
        let error = text(&output.stderr);
        assert!(error.starts_with("error: cannot write 'file/results"), "{error}");
    }
}

#[test]
fn every_command_explains_itself() {
    let folder = folder("help");
    for arguments in [&["--help"][..], &["contract", "--help"], &["replay", "--help"], &["latency", "--help"]]
    {
        let output = run(&folder, arguments);
        let shown = text(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        for word in ["Usage:", "--json", "--html", "--quick", "Exit status"] {
            assert!(shown.contains(word), "{arguments:?}: no {word} in {shown}");
        }
    }
}

#[test]
fn latency_writes_what_it_measured() {
    let folder = folder("latency");
    let output = run(&folder, &["latency", "--quick", "--scenario", "pair", "--json", "out/pair.json"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let report = json(&folder.join("out/pair.json"));
    assert_eq!(report["schema"], 1);
    assert!(report["null_ns"]["p50"].is_number());
    let scenarios = report["scenarios"].as_array().unwrap();
    assert_eq!(scenarios.len(), 1);
    assert_eq!(scenarios[0]["name"], "pair");
    let allocators = scenarios[0]["allocators"].as_array().unwrap();
    assert!(allocators.len() >= 3);
    for allocator in allocators {
        assert!(allocator["name"].is_string());
        let measured = ["alloc_ns", "free_ns", "pair_ns"].iter().any(|key| !allocator[key].is_null());
        assert!(measured, "{allocator}");
        for measure in ["alloc_ns", "free_ns"]
            .map(|key| &allocator[key])
            .into_iter()
            .filter(|measure| !measure.is_null())
        {
            for key in ["mean", "p50", "p99", "p999", "p9999", "max"] {
                assert!(measure[key].is_number(), "{key} in {allocator}");
            }
        }
    }
    let page = std::fs::read_to_string(folder.join("out/pair.html")).unwrap();
    assert!(page.starts_with("<!doctype html>") && page.contains("<svg"));
    for foreign in ["<script", "<link", "src=", "url("] {
        assert!(!page.contains(foreign), "the page is not self-contained: {foreign}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_short_soak_passes() {
    let folder = folder("soak");
    for commit in ["auto", "portable"] {
        let output = run(&folder, &["soak", "--minutes", "0.05", "--seed", "7", "--commit", commit]);
        let shown = text(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{shown}{}", text(&output.stderr));
        assert!(shown.contains("seed 7") && shown.contains("resident when empty"), "{shown}");
        // Every kind of traffic came by.
        assert!(!shown.lines().any(|line| line.trim_start().starts_with("0 ")), "{shown}");
        assert!(commit == "auto" || shown.contains("portable twin"), "{shown}");
    }
    let refused = run(&folder, &["soak", "--json", "x.json"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused.stderr).contains("writes no files"));
    assert_eq!(run(&folder, &["soak", "--minutes", "0"]).status.code(), Some(2));
}
