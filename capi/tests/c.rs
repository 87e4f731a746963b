//! C programs against the static and the shared library.

mod common;

use std::path::PathBuf;
use std::process::Command;

use common::{compiler, here, libraries, out, run, with_library};

/// Compiles and links one file. `shared`: against the shared library.
fn program(source: &str, name: &str, mut compiler: Command, shared: bool) -> PathBuf {
    let program = out(name);
    compiler.arg("-o").arg(&program).arg(here().join(source));
    run(with_library(&mut compiler, shared));
    program
}

/// Runs a test program of `tests/c` linked either way, and the twin's way of committing too.
fn both_ways(name: &str) {
    for shared in [false, true] {
        let source = format!("tests/c/{name}.c");
        let program = program(&source, &format!("{name}-{shared}"), compiler(false, "c11"), shared);
        for commit in ["", "portable"] {
            let output = run(Command::new(&program).env("STORPORT_POOL_COMMIT", commit));
            assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{name}: ok\n"));
        }
    }
}

#[test]
fn each_status_and_misuse() {
    both_ways("statuses");
}

#[test]
fn the_tagged_pool_under_its_own_names() {
    both_ways("executive");
}

#[test]
fn many_blocks_in_one_call() {
    both_ways("bulk");
}

#[test]
fn one_block() {
    both_ways("block");
}

#[test]
fn pages_tags_and_the_check() {
    both_ways("inspect");
}

#[test]
fn hosts_with_functions_of_their_own() {
    both_ways("host");
}

#[test]
fn whatever_address_is_passed_as_extension() {
    both_ways("extensions");
}

#[test]
fn threads_and_signals() {
    both_ways("threads");
}

#[test]
fn forks_while_others_make_and_end_pools() {
    both_ways("fork");
}

#[test]
fn little_address_space() {
    both_ways("little");
}

#[test]
fn no_memory_at_each_call_of_malloc() {
    both_ways("nomem");
}

#[test]
fn a_sandbox_that_refuses_membarrier() {
    both_ways("sandbox");
}

#[test]
fn metadata_saved_and_restored() {
    both_ways("image");
}

#[test]
fn each_allocation_fails_once() {
    both_ways("every");
}

#[test]
fn calls_recorded_in_a_file() {
    both_ways("recording");
}

#[test]
fn pictures_for_another_process() {
    both_ways("watch");
}

#[test]
fn what_rust_has_too() {
    both_ways("more");
}

#[test]
fn what_the_verifier_finds() {
    both_ways("verifier");
}

#[test]
fn what_the_verifier_finds_in_cpp() {
    let file = out("verifier").with_extension("cpp");
    std::fs::copy(here().join("tests/c/verifier.c"), &file).unwrap();
    let mut compiler = compiler(true, "c++17");
    compiler.arg("-I").arg(here().join("tests/c"));
    let output = run(&mut Command::new(program(file.to_str().unwrap(), "verifier-cpp", compiler, false)));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "verifier: ok\n");
}

#[test]
fn the_header_by_itself() {
    for (cpp, standard) in [(false, "c99"), (false, "c11"), (true, "c++17")] {
        let file = out(&format!("header-{standard}")).with_extension(if cpp { "cpp" } else { "c" });
        std::fs::write(&file, "#include \"storport_pool.h\"\n#include \"storport_pool.h\"\n").unwrap();
        run(compiler(cpp, standard).arg("-fsyntax-only").arg(&file));
    }
}

#[test]
fn behind_a_driver_kits_headers() {
    let source = std::fs::read_to_string(here().join("tests/c/kit.c")).unwrap();
    for (cpp, standard) in [(false, "c99"), (false, "c11"), (true, "c++17")] {
        let file = out(&format!("kit-{standard}")).with_extension(if cpp { "cpp" } else { "c" });
        std::fs::write(&file, &source).unwrap();
        for guards in [false, true] {
            let mut compiler = compiler(cpp, standard);
            if guards {
                compiler.arg("-DBY_GUARDS");
            }
            let name = format!("kit-{standard}-{guards}");
            run(&mut Command::new(program(file.to_str().unwrap(), &name, compiler, false)));
        }
    }
}

#[test]
fn opened_and_closed_at_run_time() {
    let program = program("tests/c/dl.c", "dl", compiler(false, "gnu11"), false);
    let output = run(Command::new(program).arg(libraries().join("libstorport_pool.so")));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "dl: ok\n");
}

/// The README's program, which is a file as well.
#[test]
fn the_readmes_program_hears_of_a_double_free() {
    let readme = std::fs::read_to_string(here().join("../README.md")).unwrap();
    let source = std::fs::read_to_string(here().join("examples/first.c")).unwrap();
    assert!(
        readme.contains(&format!("```c\n{source}```\n")),
        "the README has another program than examples/first.c"
    );
    let program = program("examples/first.c", "first", compiler(false, "c99"), false);
    let output = run(&mut Command::new(program));
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(shown.starts_with("double free at 0x") && shown.contains(", tag 'VioS', 208 bytes, "), "{shown}");
}

#[test]
fn the_example_prints_its_tag_table() {
    let program = program("examples/hello.c", "hello", compiler(false, "c99"), false);
    let output = run(&mut Command::new(program));
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(shown.contains(" VioS Nonp          1                0         1       208\n"), "{shown}");
}
