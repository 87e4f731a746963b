//! What is measured, and what is written of it.

use serde_json::Value;

use crate::common::{folder, run, text};
use crate::json;

/// Every scenario runs, and every allocator has its figures or says why it has none.
#[test]
fn latency_writes_what_it_measured() {
    let folder = folder("latency");
    let output = run(&folder, &["latency", "--quick", "--json", "all.json"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let report = json(&folder.join("all.json"));
    assert_eq!(report["schema"], 2);
    assert_eq!((&report["machine"]["quick"], &report["machine"]["turn_ms"]), (&true.into(), &15.into()));
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

/// Each turn has a process, and the page says so.
#[test]
fn a_whole_run_has_a_process_for_each_turn() {
    let folder = folder("processes");
    let arguments =
        ["latency", "--scenario", "pair", "--peers", "system", "--json", "run.json", "--html", "run.html"];
    let output = run(&folder, &arguments);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let report = json(&folder.join("run.json"));
    assert_eq!(report["machine"]["processes"], 12);
    for allocator in report["scenarios"][0]["allocators"].as_array().unwrap() {
        assert_eq!(allocator["pair"]["turns"].as_array().unwrap().len(), 12, "{allocator}");
    }
    let page = std::fs::read_to_string(folder.join("run.html")).unwrap();
    assert!(page.contains("turns of 50 ms, in 12 processes a row"), "{page}");
}

/// Rows of their own, with what was done in bulk alone.
#[test]
fn bulk_calls_stand_beside_the_single_ones() {
    let folder = folder("bulk");
    let mut arguments =
        vec!["latency", "--quick", "--peers", "system", "--json", "run.json", "--html", "run.html"];
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
    assert!(section.lines().all(|line| line.chars().count() <= 100), "{section}");
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
    let output = run(
        &folder,
        &["latency", "--quick", "--peers", "pool-masked", "--json", "run.json", "--html", "run.html"],
    );
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
    let report = json(&folder.join("storport-pool-results/growth.json"));
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
    let page = std::fs::read_to_string(folder.join("storport-pool-results/growth.html")).unwrap();
    assert!(page.contains("From 1 to 1000 adapters, the pool's free goes from"));
    assert!(!page.contains("cost nothing"));

    // A chart would have empty rows, and a run of other scenarios nothing in common.
    let output = run(&folder, &["chart", "storport-pool-results/growth.json", "growth.svg"]);
    let error = text(&output.stderr);
    assert_eq!((output.status.code(), error.lines().count()), (Some(2), 1), "{error}");
    assert!(error.starts_with("error: ") && error.contains("growth.json' is a run of `growth`"), "{error}");
    assert!(!folder.join("growth.svg").exists());
    let output = run(&folder, &["latency", "--quick", "--scenario", "pair", "--json", "pair.json"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let pair = ["compare", "storport-pool-results/growth.json", "pair.json", "--html", "page.html"];
    let output = run(&folder, &pair);
    let error = text(&output.stderr);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{error}");
    assert!(error.contains("have no figure of the pool in common: nothing to compare"), "{error}");
    assert!(!folder.join("page.html").exists());
}

#[test]
fn one_scenario_makes_a_page_that_stands_alone() {
    let folder = folder("scenario");
    let output = run(
        &folder,
        &["latency", "--quick", "--scenario", "pair", "--json", "pair.json", "--html", "pair.html"],
    );
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
