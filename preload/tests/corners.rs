//! Each function's corners, as glibc has them; and what happens when memory runs out.

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod common;

use common::{good, preloaded, program, reported, without_rseq};

#[test]
fn each_corner_is_glibcs() {
    let glibc = good(&mut program("corners.c"));
    let glibc = String::from_utf8_lossy(&glibc.stdout);
    assert!(glibc.lines().count() > 100, "{glibc}");
    // By the default limit, with everything in mappings, with as much as possible in blocks, and without rseq.
    for largest in ["1M", "0", "200", "512M"] {
        let mut command = preloaded(program("corners.c"));
        let output = good(command.env("STORPORT_PRELOAD_LARGEST", largest));
        assert_same(&glibc, &output);
    }
    assert_same(&glibc, &good(&mut without_rseq(preloaded(program("corners.c")))));
}

fn assert_same(glibc: &str, output: &std::process::Output) {
    let ours = String::from_utf8_lossy(&output.stdout);
    for (glibc, ours) in glibc.lines().zip(ours.lines()) {
        assert_eq!(ours, glibc);
    }
    assert_eq!(ours.lines().count(), glibc.lines().count());
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn a_full_range_is_null_and_enomem() {
    for bytes in ["8M", "40M"] {
        for without in [false, true] {
            let mut command = preloaded(program("exhausted.c"));
            if without {
                command = without_rseq(command);
            }
            command.env("STORPORT_PRELOAD_BYTES", bytes).env("STORPORT_PRELOAD_REPORT", "stderr");
            let output = good(&mut command);
            let said = String::from_utf8_lossy(&output.stdout);
            assert_eq!(said, "many\nas many later\nmore of less\n", "{bytes}");
            assert_eq!(reported(&output, "violations"), 0);
        }
    }
}

/// The range is smaller than was asked for; or there is none, and everything is a mapping.
#[test]
fn a_process_of_little_address_space() {
    for (kilobytes, pool) in [(100_000, true), (60_000, true), (30_000, false)] {
        let command = preloaded(program("exhausted.c"));
        let program = command.get_program().to_owned();
        let mut shell = std::process::Command::new("sh");
        let line = format!("ulimit -v {kilobytes}; exec env LD_PRELOAD=$1 $2");
        shell.args(["-c", &line, "sh"]).arg(common::library()).arg(program);
        let output = good(shell.env("STORPORT_PRELOAD_REPORT", "stderr"));
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(said.contains("as many later"), "{said}");
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(told.lines().any(|line| line.starts_with("pool: ")), pool, "{kilobytes}: {told}");
        // Why there is none is said.
        let why = "no pool for the program's memory: the operating system refused";
        assert_eq!(told.contains(why), !pool, "{kilobytes}: {told}");
    }
}
