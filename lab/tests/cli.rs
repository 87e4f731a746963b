//! The program as a user meets it.

mod common;

use std::path::Path;
use std::process::Command;

use common::{folder, run, text};
use serde_json::Value;

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
fn the_replay_is_verified_as_a_variable_says() {
    let folder = folder("verified");
    let verified = |rules: &str, arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_storport-pool"));
        command.current_dir(&folder).args(arguments).env("STORPORT_POOL_VERIFY", rules).output().unwrap()
    };
    for (rules, why) in [
        ("tags=Kept specail", "'specail' is no word of a rule; the words are "),
        ("canary; tags=Vio*", "the rule does nothing: add a check or low resources to it\n"),
    ] {
        let output = verified(rules, &["replay", "--quick"]);
        let said = text(&output.stderr);
        assert_eq!((output.status.code(), said.lines().count()), (Some(2), 1), "{said}");
        assert!(said.starts_with(&format!("error: STORPORT_POOL_VERIFY: {why}")), "{said}");
    }
    let output = verified("tags=RamD special; tags=Down canary", &["replay", "--quick"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let report = json(&folder.join("target/storport-pool/replay.json"));
    let mut notes = report["notes"].as_array().unwrap().iter().map(|note| note.as_str().unwrap());
    let note =
        notes.find(|note| note.starts_with("The replay's pool was verified (tags=RamD special; tags=Down"));
    let note = note.unwrap();
    assert!(note.contains("; 0 violations.") && !note.contains(": 0 blocks"), "{note}");
}

#[test]
fn bad_arguments_are_named() {
    let folder = folder("arguments");
    for (arguments, message) in [
        (&["nonsense"][..], "unrecognized subcommand 'nonsense'"),
        (&["--speed"], "unexpected argument '--speed'"),
        (&["latency", "--scenario", "warm"], "[possible values: pair, hot, cold"),
        (&["latency", "--peers", "tcmalloc"], "there is no peer 'tcmalloc'; there are default, all, system"),
        (&["contract", "--json"], "a value is required"),
        (&["contract", "--json", "same", "--html", "same"], "are both 'same'"),
        (&["compare", "a.json"], "not provided"),
        (&["compare", "a.json", "b.json", "--quick"], "a comparison measures nothing"),
        (&["compare", "a.json", "b.json"], "cannot read 'a.json'"),
        (&["compare", "a.json", "b.json", "--html", "b.json"], "--html is 'b.json', which is compared"),
        (&["compare", "a.json", "b.json", "--peers", "all"], "a comparison measures nothing"),
        (&["chart", "a.json", "a.svg", "--html", "a.html"], "the chart goes where the second argument says"),
        (&["soak", "--peers", "all"], "the soak writes no files"),
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

/// A folder that is not there is more likely a mistake than a wish. The default one is made.
#[test]
fn no_folder_is_made_for_a_result() {
    let folder = folder("folders");
    let output = run(&folder, &["contract", "--json", "a.json", "--html", "a.html"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    for arguments in [
        &["contract", "--json", "none/x"][..],
        &["contract", "--html", "none/x"],
        &["contract", "--json", "a.json", "--html", "none/x"],
        &["compare", "a.json", "a.json", "--html", "none/x"],
        &["chart", "a.json", "none/x"],
    ] {
        let output = run(&folder, arguments);
        let error = text(&output.stderr);
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{arguments:?}: {error}");
        assert!(error.starts_with("error: cannot write 'none/x'"), "{arguments:?}: {error}");
        assert!(!folder.join("none").exists(), "{arguments:?}");
    }
    assert_eq!(run(&folder, &["contract"]).status.code(), Some(0));
    assert!(folder.join("target/storport-pool/contract.json").exists());
}

#[test]
fn every_command_explains_itself() {
    let folder = folder("help");
    for arguments in [&["--help"][..], &["contract", "--help"], &["replay", "--help"], &["latency", "--help"]]
    {
        let output = run(&folder, arguments);
        let shown = text(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        for word in ["Usage:", "--json", "--html", "--quick", "--peers", "Exit status"] {
            assert!(shown.contains(word), "{arguments:?}: no {word} in {shown}");
        }
    }
    // These list no option that they refuse.
    for (command, html) in [("compare", true), ("chart", false), ("page", false), ("soak", false)] {
        let output = run(&folder, &[command, "--help"]);
        let shown = text(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{command}");
        assert!(shown.contains("Usage:") && shown.contains("Exit status"), "{shown}");
        // Apart from what the command says of itself.
        let options = shown.split("\nOptions:\n").nth(1).unwrap();
        assert_eq!(options.contains("--html"), html, "{shown}");
        for option in ["--json", "--quick", "--peers"] {
            let chosen = (command, option) == ("chart", "--peers");
            assert_eq!(options.contains(option), chosen, "{command}: {option} in {shown}");
        }
    }
}

/// Every scenario runs, and every allocator has its figures or says why it has none.
#[test]
fn latency_writes_what_it_measured() {
    let folder = folder("latency");
    let output = run(&folder, &["latency", "--quick", "--json", "all.json"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let report = json(&folder.join("all.json"));
    assert_eq!(report["schema"], 2);
    assert!(report["timer"]["p50"].is_number());
    let scenarios = report["scenarios"].as_array().unwrap();
    assert_eq!(scenarios.len(), 25);
    for scenario in scenarios {
        let name = scenario["name"].as_str().unwrap();
        let allocators = scenario["allocators"].as_array().unwrap();
        let names: Vec<_> = allocators.iter().map(|allocator| allocator["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["storport-pool", "system", "mimalloc"]);
        let timed = match name {
            "pair" => &["pair"][..],
            "free-only" | "interrupted" => &["free"],
            _ => &["alloc", "free"],
        };
        for allocator in allocators {
            if name == "interrupted" && allocator["name"] != "storport-pool" {
                assert!(allocator["cannot"].as_str().unwrap().contains("signal handler"), "{allocator}");
                continue;
            }
            assert_eq!(allocator["cannot"], Value::Null, "{name}: {allocator}");
            for measure in ["alloc", "free", "pair"] {
                let latency = &allocator[measure];
                assert_eq!(timed.contains(&measure), latency.is_object(), "{name}: {measure} of {allocator}");
                if latency.is_object() {
                    for key in ["mean", "mean_median", "p50", "p99", "p999", "p9999", "max"] {
                        assert!(
                            latency[key].as_f64().unwrap() > 0.0,
                            "{name}: {key} of {measure}: {allocator}"
                        );
                    }
                    // What no page shows is not written.
                    let charted = measure != "alloc";
                    let over_time = charted && ["hot", "remote-100", "oversubscribed"].contains(&name);
                    for (key, there) in [("turns", true), ("curve", charted), ("timeline", over_time)] {
                        let some = !latency[key].as_array().unwrap().is_empty();
                        assert_eq!(some, there, "{name}: {key} of {measure}");
                    }
                }
            }
            if cfg!(target_os = "linux") {
                let memory = |key: &str| allocator["memory"][key].as_u64().unwrap();
                assert!(memory("peak") >= memory("before") && memory("trimmed") > 0, "{name}: {allocator}");
                assert_eq!(memory("payload") > 0, ["cold", "fill", "free-only"].contains(&name), "{name}");
            }
        }
    }
}

/// Rows of their own, with what was done in bulk alone.
#[test]
fn bulk_calls_stand_beside_the_single_ones() {
    let folder = folder("bulk");
    let mut arguments = vec!["latency", "--quick", "--peers", "system", "--json", "run.json"];
    let scenarios = [
        "burst-512",
        "burst-4224",
        "teardown",
        "remote-25",
        "remote-100",
        "remote-n1",
        "remote-1n",
        "remote-proxy",
        "storport-b1",
        "pair",
    ];
    arguments.extend(scenarios.iter().flat_map(|name| ["--scenario", name]));
    let output = run(&folder, &arguments);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let report = json(&folder.join("run.json"));
    let measured = report["scenarios"].as_array().unwrap();
    assert_eq!(measured.len(), scenarios.len());
    for scenario in measured {
        let name = scenario["name"].as_str().unwrap();
        assert_eq!(scenario["allocators"].as_array().unwrap().len(), 2, "{name}");
        let Some(rows) = scenario["bulk"].as_array() else {
            assert_eq!(name, "pair");
            continue;
        };
        let names: Vec<_> = rows.iter().map(|row| row["name"].as_str().unwrap()).collect();
        let mut wanted = vec!["storport-pool bulk 8", "storport-pool bulk 32", "storport-pool bulk 64"];
        if name.starts_with("remote") || name.starts_with("storport") {
            wanted.push("storport-pool hint");
        }
        assert_eq!(names, wanted, "{name}");
        for row in rows {
            assert_eq!(row["cannot"], Value::Null, "{name}: {row}");
            assert!(row["free"]["mean_median"].as_f64().unwrap() > 0.0, "{name}: {row}");
            assert_eq!(row["alloc"]["mean_median"].is_number(), name.starts_with("burst"), "{name}: {row}");
        }
    }
    let shown = text(&output.stdout);
    let section = shown.split("\nBULK CALLS\n").nth(1).unwrap().split("\n\n").next().unwrap();
    for name in scenarios {
        assert_eq!(section.contains(&format!(" {name} ")), name != "pair", "{name} in {section}");
    }
    assert!(section.lines().all(|line| line.chars().count() <= 120), "{section}");
    // The tables of ratios know nothing of them.
    assert!(!shown.replace(section, "").contains("bulk 8"), "{shown}");
    let page = std::fs::read_to_string(folder.join("run.html")).unwrap();
    assert_eq!((page.matches("<h2>Bulk calls</h2>").count(), page.matches("bulk 8").count()), (1, 1));
}

/// Also where a signal handler frees, if it may be called there.
#[test]
fn the_textbook_takes_part() {
    let folder = folder("textbook");
    let mut arguments =
        vec!["latency", "--quick", "--peers", "textbook,textbook-tagged", "--json", "run.json"];
    let scenarios = ["hot", "overflow", "remote-100", "oversubscribed-timer", "interrupted"];
    arguments.extend(scenarios.iter().flat_map(|name| ["--scenario", name]));
    let output = run(&folder, &arguments);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let report = json(&folder.join("run.json"));
    assert_eq!(report["scenarios"].as_array().unwrap().len(), scenarios.len());
    for scenario in report["scenarios"].as_array().unwrap() {
        for (allocator, name) in scenario["allocators"].as_array().unwrap().iter().zip([
            "storport-pool",
            "textbook",
            "textbook-tagged",
        ]) {
            assert_eq!(allocator["name"], name);
            let cannot = scenario["name"] == "interrupted" && name == "textbook";
            assert_eq!(allocator["cannot"].is_null(), !cannot, "{allocator}");
            assert_eq!(
                allocator["free"]["mean"].as_f64().is_some_and(|mean| mean > 0.0),
                !cannot,
                "{allocator}"
            );
        }
    }
}

/// In each scenario: where a signal handler frees, and where many threads are preempted, too.
#[test]
#[cfg(target_os = "linux")]
fn the_masked_commit_takes_part() {
    let folder = folder("masked");
    let output = run(&folder, &["latency", "--quick", "--peers", "pool-masked", "--json", "run.json"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let report = json(&folder.join("run.json"));
    let scenarios = report["scenarios"].as_array().unwrap();
    assert_eq!(scenarios.len(), 25);
    for scenario in scenarios {
        let [pool, masked] = scenario["allocators"].as_array().unwrap().as_slice() else {
            panic!("{scenario}")
        };
        assert_eq!((&pool["name"], &masked["name"]), (&"storport-pool".into(), &"pool-masked".into()));
        assert_eq!(masked["cannot"], Value::Null, "{}: {masked}", scenario["name"]);
        for measure in ["alloc", "free", "pair"] {
            let mean = |measured: &Value| measured[measure]["mean"].as_f64().is_some_and(|mean| mean > 0.0);
            assert_eq!(mean(pool), mean(masked), "{}: {measure}", scenario["name"]);
        }
    }
    let page = std::fs::read_to_string(folder.join("run.html")).unwrap();
    assert!(page.contains(">pool-masked<"));
    // It is no other allocator, so nobody wins or loses.
    let shown = text(&output.stdout);
    assert!(shown.contains("No other allocator than the pool took part"), "{shown}");
    assert!(!shown.lines().any(|line| line.trim() == "-"), "{shown}");
}

#[test]
fn growth_has_a_point_for_each_size() {
    let folder = folder("growth");
    let output = run(&folder, &["growth", "--quick", "--peers", "system,mimalloc,pool-masked"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let report = json(&folder.join("target/storport-pool/growth.json"));
    for (what, sizes) in [("live", 3), ("adapters", 4), ("tags", 4)] {
        let points = report["scenarios"].as_array().unwrap().iter();
        let points: Vec<_> =
            points.filter(|scenario| scenario["name"].as_str().unwrap().starts_with(what)).collect();
        assert_eq!(points.len(), sizes, "{what}");
        for point in points {
            assert!(point["allocators"][0]["free"]["mean"].as_f64().unwrap() > 0.0, "{point}");
            let others = point["allocators"][2]["cannot"].as_str();
            assert_eq!(others, (what != "live").then_some("its blocks have no owner"), "{point}");
            if cfg!(target_os = "linux") {
                assert!(point["allocators"][3]["free"]["mean"].as_f64().unwrap() > 0.0, "{point}");
            }
        }
    }
    // The text says what was measured.
    let page = std::fs::read_to_string(folder.join("target/storport-pool/growth.html")).unwrap();
    assert!(page.contains("From 1 to 1000 adapters, the pool's free goes from"));
    assert!(!page.contains("cost nothing"));

    // A chart would have empty rows, and a run of other scenarios nothing in common.
    let output = run(&folder, &["chart", "target/storport-pool/growth.json", "growth.svg"]);
    let error = text(&output.stderr);
    assert_eq!((output.status.code(), error.lines().count()), (Some(2), 1), "{error}");
    assert!(error.starts_with("error: ") && error.contains("growth.json' is a run of `growth`"), "{error}");
    assert!(!folder.join("growth.svg").exists());
    let output = run(&folder, &["latency", "--quick", "--scenario", "pair", "--json", "pair.json"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let pair = ["compare", "target/storport-pool/growth.json", "pair.json", "--html", "page.html"];
    let output = run(&folder, &pair);
    let error = text(&output.stderr);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{error}");
    assert!(error.contains("have no figure of the pool in common: nothing to compare"), "{error}");
    assert!(!folder.join("page.html").exists());
}

#[test]
fn one_scenario_makes_a_page_that_stands_alone() {
    let folder = folder("scenario");
    let output = run(&folder, &["latency", "--quick", "--scenario", "pair", "--json", "pair.json"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let scenarios = json(&folder.join("pair.json"))["scenarios"].as_array().unwrap().clone();
    assert_eq!(scenarios.len(), 1);
    assert_eq!(scenarios[0]["name"], "pair");
    let page = std::fs::read_to_string(folder.join("pair.html")).unwrap();
    assert!(page.starts_with("<!doctype html>") && page.contains("<svg"));
    for foreign in ["<script", "<link", "src=", "url("] {
        assert!(!page.contains(foreign), "the page is not self-contained: {foreign}");
    }
    // What its ratios are, a curve for each allocator, and where it was made.
    for part in [
        "below 1 the pool is faster",
        "class=\"heat\"",
        "p99.9",
        ">mimalloc<",
        "empty timer",
        " UTC",
        "A quick run",
    ] {
        assert!(page.contains(part) || page.contains(&part.to_lowercase()), "no {part}");
    }
}

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
        let output = run(&folder, &["compare", "a.json", file]);
        let error = text(&output.stderr);
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{error}");
        assert!(error.starts_with("error: ") && error.contains(message), "{error}");
    }
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
    let refused = run(&folder, &["soak", "--json", "x.json"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused.stderr).contains("writes no files"));
    assert_eq!(run(&folder, &["soak", "--minutes", "0"]).status.code(), Some(2));
}
