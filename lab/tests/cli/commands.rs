//! The other commands.

use crate::common::{folder, run, text};
use crate::{done, files, json, refused, run_with};

#[test]
fn the_contract_holds() {
    let folder = folder("contract");
    let shown = done(&folder, &["contract", "--json", "contract.json"]);
    let checks = json(&folder.join("contract.json"))["contract"].as_array().unwrap().clone();
    assert!(checks.len() > 40);
    assert!(checks.iter().all(|check| check["ok"] == true));
    assert!(shown.contains(&format!("{0} of {0} as documented", checks.len())), "{shown}");
    assert!(!shown.contains('✗'));
    for status in
        ["SUCCESS", "INVALID_PARAMETER", "INVALID_IRQL", "INSUFFICIENT_RESOURCES", "NOT_IMPLEMENTED"]
    {
        assert!(shown.contains(status), "{status}");
    }
    assert_eq!(files(&folder), ["contract.json"]);
}

#[test]
fn the_replay_ends_with_the_tag_table() {
    let folder = folder("replay");
    let shown = done(&folder, &["replay", "--quick", "--json", "replay.json"]);
    for column in ["Tag", "Type", "Allocs", "Frees", "Diff", "Bytes", "Per Alloc", "Nonp"] {
        assert!(shown.contains(column), "no {column} in {shown}");
    }
    let report = json(&folder.join("replay.json"));
    for part in ["scenarios", "phases", "tags", "leaks"] {
        assert!(!report[part].as_array().unwrap().is_empty(), "no {part}");
    }
    for tag in report["tags"].as_array().unwrap() {
        let count = |key: &str| tag[key].as_u64().unwrap();
        assert_eq!(count("allocs") - count("frees"), count("diff"), "{tag}");
    }
}

#[test]
fn the_replay_is_verified_as_a_variable_says() {
    let folder = folder("verified");
    let verified = |rules: &str| {
        run_with(&folder, ("STORPORT_POOL_VERIFY", rules), &["replay", "--quick", "--json", "replay.json"])
    };
    for (rules, why) in [
        ("tags=Kept specail", "'specail' is no word of a rule; the words are "),
        ("canary; tags=Vio*", "the rule does nothing: add a check or low resources to it\n"),
    ] {
        let output = verified(rules);
        let said = text(&output.stderr);
        assert_eq!((output.status.code(), said.lines().count()), (Some(2), 1), "{said}");
        assert!(said.starts_with(&format!("error: STORPORT_POOL_VERIFY: {why}")), "{said}");
    }
    let output = verified("tags=RamD special; tags=Down canary");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let report = json(&folder.join("replay.json"));
    let mut notes = report["notes"].as_array().unwrap().iter().map(|note| note.as_str().unwrap());
    let note =
        notes.find(|note| note.starts_with("The replay's pool was verified (tags=RamD special; tags=Down"));
    let note = note.unwrap();
    assert!(note.contains("; 0 violations.") && !note.contains(": 0 blocks"), "{note}");
}

#[test]
fn a_worker_is_started_by_the_program_only() {
    let folder = folder("worker");
    for (arguments, message) in [
        (["worker", "mimalloc", "pair"], "started by the program only"),
        (["worker", "mimalloc", "none"], "there is no scenario \"none\""),
        (["worker", "none", "pair"], "there is no allocator \"none\""),
    ] {
        let output = run(&folder, &arguments);
        assert_eq!(output.status.code(), Some(3));
        assert!(text(&output.stderr).contains(message), "{}", text(&output.stderr));
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
    refused(&run(&folder, &["soak", "--minutes", "0"]), "a number of minutes is wanted, 0.001 to 100000");
    assert!(files(&folder).is_empty());
}
