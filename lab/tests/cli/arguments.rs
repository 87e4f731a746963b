//! What is asked for: commands, options, variables.

use crate::common::{folder, run, text};
use crate::{done, files, refused, run_with};

#[test]
fn bad_arguments_are_named() {
    let folder = folder("arguments");
    for (arguments, message) in [
        (&["nonsense"][..], "unrecognized subcommand 'nonsense'"),
        (&["--speed"], "unexpected argument '--speed'"),
        (&["latency", "--scenario", "warm"], "[possible values: pair, hot, cold"),
        (&["latency", "--peers", "tcmalloc"], "there is no peer 'tcmalloc'; there are default, all, system"),
        (&["contract", "--json"], "a value is required"),
        (&["contract", "--json", "same", "--html", "same"], "--json and --html are both 'same'"),
        (&["contract", "--json", "-", "--html", "-"], "--json and --html are both '-'"),
        (&["replay", "--quick", "--json", "-", "--record", "-"], "--json and --record are both '-'"),
        (&["compare", "a.json"], "not provided"),
        (&["compare", "a.json", "b.json"], "cannot read 'a.json'"),
        (&["compare", "a.json", "b.json", "--html", "b.json"], "--html is 'b.json', which is compared"),
        (&["compare", "-", "-"], "both runs are '-'"),
    ] {
        refused(&run(&folder, arguments), message);
    }
    assert!(files(&folder).is_empty(), "{:?}", files(&folder));
}

/// A wrong word brings the right one.
#[test]
fn the_right_word_is_suggested() {
    let folder = folder("suggested");
    for (arguments, message) in [
        (&["latncy"][..], "a similar subcommand exists: 'latency'"),
        (&["latency", "--quik"], "a similar argument exists: '--quick'"),
        (&["latency", "--scenario", "hott"], "a similar value exists: 'hot'"),
    ] {
        refused(&run(&folder, arguments), message);
    }
}

/// The options of each command: what it takes is in its help, and what is not there is refused.
const OPTIONS: [&str; 5] = ["--json", "--html", "--peers", "--quick", "--verbose"];
const TAKEN: [(&str, &[&str]); 10] = [
    ("contract", &["--json", "--html"]),
    ("replay", &["--json", "--html", "--peers", "--quick"]),
    ("latency", &["--json", "--html", "--peers", "--quick"]),
    ("growth", &["--json", "--html", "--peers", "--quick"]),
    ("compare", &["--html"]),
    ("chart", &["--peers"]),
    ("page", &[]),
    ("soak", &[]),
    ("inspect", &["--json"]),
    ("poolmon", &["--json"]),
];

#[test]
fn options_are_where_they_have_a_use() {
    let folder = folder("options");
    for (command, taken) in TAKEN {
        let help = done(&folder, &[command, "--help"]);
        let listed = help.split("\nOptions:\n").nth(1).unwrap();
        for option in OPTIONS {
            let is_taken = taken.contains(&option);
            let line = |line: &str| line.trim_start().starts_with(&format!("{option} "));
            let is_listed = listed.lines().any(|text| line(&format!("{text} ")));
            assert_eq!(is_listed, is_taken, "{command}: {option} in {help}");
            if !is_taken {
                let output = run(&folder, &[command, option]);
                refused(&output, &format!("unexpected argument '{option}'"));
            }
        }
    }
    // Those of a run without a command do not reach into one.
    for option in ["--quick", "--verbose"] {
        refused(&run(&folder, &[option, "contract"]), "cannot be used with");
    }
    assert!(files(&folder).is_empty(), "{:?}", files(&folder));
}

#[test]
fn every_command_explains_itself() {
    let folder = folder("help");
    let help = done(&folder, &["--help"]);
    for word in
        ["Usage:", "--json", "--html", "--quick", "--peers", "--verbose", "seconds", "Exit status", "'-'"]
    {
        assert!(help.contains(word), "no {word} in {help}");
    }
    for place in ["target/storport-pool", "storport-pool-results", "STORPORT_POOL_COMMIT"] {
        assert!(help.contains(place), "no {place} in {help}");
    }
    for (command, _) in TAKEN {
        assert!(help.contains(&format!("\n  {command} ")), "no {command} in {help}");
        let help = done(&folder, &[command, "--help"]);
        assert!(help.contains("Usage:") && help.contains("Exit status"), "{help}");
    }
    // Where nothing is asked for, what is written all the same is said.
    for (command, writes) in [("latency", true), ("growth", true), ("contract", false), ("replay", false)] {
        let help = done(&folder, &[command, "--help"]);
        assert_eq!(help.contains("storport-pool-results"), writes, "{help}");
    }
}

/// The version, and the revision it is built from, where there is git.
#[test]
fn the_version_says_its_revision() {
    let folder = folder("version");
    let version = done(&folder, &["--version"]);
    let own = concat!("storport-pool ", env!("CARGO_PKG_VERSION"));
    let rest = version.trim_end().strip_prefix(own).unwrap_or_else(|| panic!("{version}"));
    assert!(rest.is_empty() || rest.starts_with(" (revision ") && rest.ends_with(')'), "{version}");
}

/// Help and tables keep to the width.
#[test]
fn lines_are_as_wide_as_there_is_room() {
    let folder = folder("width");
    for columns in [60, 80, 120, 200] {
        for arguments in [&["--help"][..], &["contract"]] {
            let output = run_with(&folder, ("COLUMNS", &columns.to_string()), arguments);
            let shown = text(&output.stdout);
            let longest = shown.lines().max_by_key(|line| line.chars().count()).unwrap();
            assert!(longest.chars().count() <= columns, "{columns}: {longest}");
        }
    }
    for nonsense in ["", "0", "wide", "-3", "99999999999999999999"] {
        let output = run_with(&folder, ("COLUMNS", nonsense), &["contract"]);
        assert_eq!(text(&output.stdout), done(&folder, &["contract"]), "{nonsense:?}");
    }
}

/// A word that the library would take for none is no word.
#[test]
fn pools_commit_by_words_that_there_are() {
    const VARIABLE: &str = "STORPORT_POOL_COMMIT";
    let folder = folder("commit");
    for arguments in [
        &["--quick"][..],
        &["contract"],
        &["replay", "--quick"],
        &["latency", "--quick"],
        &["growth", "--quick"],
        &["soak", "--minutes", "0.01"],
        &["poolmon", "--demo", "--once"],
    ] {
        for word in ["rseq", "Portable", "portable ", "1"] {
            let output = run_with(&folder, (VARIABLE, word), arguments);
            let error = text(&output.stderr);
            assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{arguments:?}: {error}");
            assert_eq!(error, format!("error: {VARIABLE} is '{word}'; its words are auto and portable\n"));
        }
    }
    assert!(files(&folder).is_empty(), "{:?}", files(&folder));
    for word in ["", "auto", "portable"] {
        let output = run_with(&folder, (VARIABLE, word), &["contract"]);
        assert_eq!(output.status.code(), Some(0), "{word}: {}", text(&output.stderr));
        let twin = text(&output.stdout).replace('\n', " ").contains("per-CPU commits by portable");
        assert!(twin || word != "portable", "{}", text(&output.stdout));
    }
    // Who makes no pool does not mind.
    let output = run_with(&folder, (VARIABLE, "rseq"), &["compare", "a.json", "b.json"]);
    refused(&output, "cannot read 'a.json'");
}
