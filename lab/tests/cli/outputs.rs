//! What is written, and where.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::common::{folder, run, text};
use crate::{done, files, refused};

/// With what the standard output is.
fn run_into(folder: &Path, arguments: &[&str], out: impl Into<Stdio>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_storport-pool"));
    command.current_dir(folder).args(arguments).stdin(Stdio::null()).stdout(out).output().unwrap()
}

#[test]
fn unwritable_files_are_found_before_the_work() {
    let folder = folder("unwritable");
    fs::write(folder.join("file"), "").unwrap();
    for option in ["--json", "--html"] {
        // A folder that is a file: nobody can write there, root neither.
        let output = run(&folder, &["--quick", option, "file/results"]);
        refused(&output, "cannot write 'file/results': 'file' is no folder");
    }
    // A file where the folder would be made.
    fs::write(folder.join("storport-pool-results"), "").unwrap();
    refused(&run(&folder, &["--quick"]), "cannot make the folder 'storport-pool-results'");
    assert_eq!(files(&folder), ["file", "storport-pool-results"]);
}

/// A folder that is not there is more likely a mistake than a wish.
#[test]
fn no_folder_is_made_for_a_result() {
    let folder = folder("folders");
    done(&folder, &["latency", "--quick", "--scenario", "pair", "--json", "a.json"]);
    for arguments in [
        &["--quick", "--json", "none/x"][..],
        &["contract", "--json", "none/x"],
        &["contract", "--html", "none/x"],
        &["contract", "--json", "b.json", "--html", "none/x"],
        &["replay", "--quick", "--record", "none/x"],
        &["latency", "--quick", "--html", "none/x"],
        &["growth", "--quick", "--json", "none/x"],
        &["compare", "a.json", "a.json", "--html", "none/x"],
        &["chart", "a.json", "none/x"],
        &["inspect", "a.json", "--json", "none/x"],
        &["poolmon", "--demo", "--json", "none/x"],
    ] {
        refused(&run(&folder, arguments), "cannot write 'none/x': there is no folder 'none'");
    }
    assert_eq!(files(&folder), ["a.json"]);
}

/// Where nothing is asked for, long measurements alone are kept, in a folder that fits the place.
#[test]
fn nothing_is_written_that_nobody_asked_for() {
    let folder = folder("unasked");
    let pair = ["latency", "--quick", "--scenario", "pair", "--peers", "system"];
    for (arguments, left) in [
        (&["contract"][..], &[][..]),
        (&["contract", "--html", "a.html"], &["a.html"]),
        (&["replay", "--quick", "--peers", "system"], &["a.html"]),
        (&[&pair[..], &["--json", "a.json"]].concat(), &["a.html", "a.json"]),
        (&[&pair[..], &["--html", "b.html"]].concat(), &["a.html", "a.json", "b.html"]),
        (&pair, &["a.html", "a.json", "b.html", "storport-pool-results"]),
    ] {
        let shown = done(&folder, arguments);
        assert_eq!(files(&folder), left, "{arguments:?}: {shown}");
    }
    let latency = ["latency.html", "latency.json"];
    assert_eq!(files(&folder.join("storport-pool-results")), latency);
    // Where cargo builds, beside what it builds.
    fs::write(folder.join("Cargo.toml"), "").unwrap();
    let shown = done(&folder, &pair);
    assert_eq!(files(&folder.join("target")), ["storport-pool"]);
    assert_eq!(files(&folder.join("target/storport-pool")), latency);
    for name in latency {
        assert!(shown.contains(&format!(" target/storport-pool/{name}\n")), "{shown}");
    }
}

/// The standard output has what was asked for, and nothing else.
#[test]
fn a_dash_is_the_standard_output() {
    let folder = folder("dash");
    let parsed = |output: &Output| -> Value { serde_json::from_slice(&output.stdout).unwrap() };
    let output = run(&folder, &["contract", "--json", "-", "--html", "page.html"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(parsed(&output)["contract"].as_array().is_some_and(|checks| checks.len() > 40));
    assert!(text(&output.stderr).contains("CONTRACT: MISUSE"), "{}", text(&output.stderr));
    let page = text(&run(&folder, &["contract", "--html", "-"]).stdout);
    assert!(page.starts_with("<!doctype html>") && page.trim_end().ends_with("</html>"), "{page}");

    let measured = ["latency", "--quick", "--scenario", "hot", "--json", "-"];
    let output = run(&folder, &measured);
    assert_eq!(parsed(&output)["scenarios"][0]["name"], "hot");
    fs::write(folder.join("hot.json"), &output.stdout).unwrap();
    let picture = done(&folder, &["chart", "hot.json", "-"]);
    assert!(picture.starts_with("<svg ") && picture.trim_end().ends_with("</svg>"), "{picture}");
    let output = run(&folder, &["compare", "hot.json", "hot.json", "--html", "-"]);
    assert!(text(&output.stdout).starts_with("<!doctype html>"));
    assert!(text(&output.stderr).contains("b: hot.json: "), "{}", text(&output.stderr));

    let output = run(&folder, &["replay", "--quick", "--record", "-"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    fs::write(folder.join("r.trace"), &output.stdout).unwrap();
    let replayed = done(&folder, &["replay", "--quick", "--peers", "system", "r.trace"]);
    assert!(replayed.contains("REPLAY") || replayed.contains("LATENCY: FREE, MEAN"), "{replayed}");
    assert_eq!(files(&folder), ["hot.json", "page.html", "r.trace"]);
}

/// A full disk is told, wherever it shows; one line, and no success.
#[cfg(target_os = "linux")]
#[test]
fn what_cannot_be_written_is_told() {
    let folder = folder("full");
    done(&folder, &["latency", "--quick", "--scenario", "hot", "--peers", "system", "--json", "hot.json"]);
    let full = || File::options().write(true).open("/dev/full").unwrap();
    let told = |output: &Output, message: &str| {
        let error = text(&output.stderr);
        let last = error.lines().last().unwrap_or_default();
        assert!(last.starts_with(&format!("error: cannot write {message}: ")), "{message}: {error}");
        assert_eq!((output.status.code(), error.matches("error: ").count()), (Some(2), 1), "{error}");
    };
    for arguments in [
        &["--help"][..],
        &["--version"],
        &["contract", "--help"],
        &["contract"],
        &["contract", "--json", "-"],
        &["contract", "--html", "-"],
        &["compare", "hot.json", "hot.json"],
        &["compare", "hot.json", "hot.json", "--html", "-"],
        &["chart", "hot.json", "-"],
    ] {
        told(&run_into(&folder, arguments, full()), "to the standard output");
    }
    told(&run_into(&folder, &["replay", "--quick", "--record", "-"], full()), "'-'");
    for arguments in [
        &["contract", "--json", "/dev/full"][..],
        &["contract", "--html", "/dev/full"],
        &["compare", "hot.json", "hot.json", "--html", "/dev/full"],
        &["chart", "hot.json", "/dev/full"],
        &["replay", "--quick", "--record", "/dev/full"],
    ] {
        told(&run(&folder, arguments), "'/dev/full'");
    }
    assert_eq!(files(&folder), ["hot.json"]);
}

/// `| head` is no error.
#[test]
fn who_reads_no_further_is_no_fault() {
    let folder = folder("closed");
    for arguments in [
        &["--help"][..],
        &["contract"],
        &["contract", "--json", "-"],
        &["replay", "--quick", "--peers", "system"],
        &["replay", "--quick", "--record", "-"],
    ] {
        let (ours, its) = std::io::pipe().unwrap();
        drop(ours);
        let output = run_into(&folder, arguments, its);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", text(&output.stderr));
        assert!(!text(&output.stderr).contains("error"), "{arguments:?}: {}", text(&output.stderr));
    }
}
