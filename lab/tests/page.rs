//! Pages and pictures of a run's JSON file.

mod common;

use std::path::Path;
use std::process::Output;

use common::{folder, run, text};

/// A run of one scenario.
fn a_run(folder: &Path) {
    let output =
        run(folder, &["latency", "--quick", "--scenario", "hot", "--json", "run.json", "--html", "run.html"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
}

fn read(folder: &Path, file: &str) -> String {
    std::fs::read_to_string(folder.join(file)).unwrap()
}

/// One clear line, and nothing written.
fn refused(output: &Output, why: &str) {
    let error = text(&output.stderr);
    assert_eq!(
        (output.status.code(), output.stdout.len(), error.lines().count()),
        (Some(2), 0, 1),
        "{error}"
    );
    assert!(error.starts_with("error: ") && error.contains(why), "no {why} in {error}");
}

#[test]
fn a_page_is_made_anew() {
    let folder = folder("anew");
    a_run(&folder);
    let first = read(&folder, "run.html");
    let output = run(&folder, &["page", "run.json", "again.html"]);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(0), 0), "{}", text(&output.stderr));
    assert_eq!(read(&folder, "again.html"), first);
    let output = run(&folder, &["page", "run.json", "-"]);
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(0), first));
    assert!(!folder.join("-").exists());
}

/// The text, with its pictures beside it.
#[test]
fn a_page_can_be_markdown() {
    let folder = folder("markdown");
    a_run(&folder);
    let output = run(&folder, &["page", "run.json", "told.md"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let page = read(&folder, "told.md");
    for part in [
        "# storport-pool: results",
        "Made by `storport-pool page run.json told.md`.",
        "* [The tail of free](#the-tail-of-free)",
        "## The tail of free",
        "| **hot** | 1000 blocks of mixed sizes",
        "| **p99.9** | ",
        "![Time to free a block, relative to storport-pool, by scenario: mimalloc, system](told-picture.svg)",
        "](told-percentiles.svg)",
        "](told-over-time.svg)",
    ] {
        assert!(page.contains(part), "no {part} in {page}");
    }
    for picture in ["told-picture.svg", "told-percentiles.svg", "told-over-time.svg"] {
        assert!(read(&folder, picture).starts_with("<svg xmlns="), "{picture}");
    }
}

#[test]
fn a_picture_shows_whom_one_asks_for() {
    let folder = folder("picture");
    a_run(&folder);
    for (peers, shown, hidden) in [
        (None, &["mimalloc", "system"][..], ""),
        (Some("system"), &["system"], "mimalloc"),
        (Some("all"), &["system"], ""),
    ] {
        let mut arguments = vec!["chart", "run.json", "-"];
        arguments.extend(peers.iter().flat_map(|peers| ["--peers", peers]));
        let output = run(&folder, &arguments);
        let picture = text(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        for name in shown {
            assert!(picture.contains(&format!(">{name}</text>")), "{peers:?}: no {name} in {picture}");
        }
        assert!(hidden.is_empty() || !picture.contains(hidden), "{peers:?}: {hidden} in {picture}");
    }
    let output = run(&folder, &["chart", "run.json", "picture.svg", "--peers", "jemalloc"]);
    refused(&output, "'run.json' has no jemalloc; it has system, mimalloc");
    assert!(!folder.join("picture.svg").exists());
}

#[test]
fn what_cannot_be_a_page_is_refused() {
    let folder = folder("refused");
    a_run(&folder);
    std::fs::write(folder.join("foreign.json"), "[1, 2]").unwrap();
    for (arguments, why) in [
        (&["page", "run.json", "run.json"][..], "would replace the run 'run.json'"),
        (&["page", "run.json", "./run.json"], "would replace the run 'run.json'"),
        (&["chart", "run.json", "./run.json"], "would replace the run 'run.json'"),
        (&["page", "run.json", "page.txt"], "'page.txt' ends neither in .html nor in .md"),
        (&["page", "run.json", "none/page.md"], "cannot write 'none/page.md'"),
        (&["page", "none.json", "page.md"], "cannot read 'none.json'"),
        (&["page", "foreign.json", "page.html"], "'foreign.json' is no result of this program"),
    ] {
        refused(&run(&folder, arguments), why);
    }
    let mut files: Vec<_> =
        std::fs::read_dir(&folder).unwrap().map(|file| file.unwrap().file_name()).collect();
    files.sort();
    assert_eq!(files, ["foreign.json", "run.html", "run.json"]);
}
