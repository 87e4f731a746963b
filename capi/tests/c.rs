//! C programs against the static and the shared library.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

const STRICT: [&str; 4] = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"];

fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Where this test may write.
fn out(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

fn run(command: &mut Command) -> Output {
    // Without its environment.
    let parts = [command.get_program()].into_iter().chain(command.get_args());
    let name = parts.map(|part| part.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ");
    let output = command.output().unwrap_or_else(|error| panic!("{name}: {error}"));
    assert!(
        output.status.success(),
        "{name}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// The folder of both libraries, built by the cargo that runs the tests: for tests it links neither.
fn libraries() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("capi");
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--quiet", "--locked", "--package", "storport-pool-capi", "--target-dir"]);
        run(cargo.arg(&target).current_dir(here()));
        target.join("debug")
    })
}

/// The C compiler, or with `cpp` the C++ compiler, as the cc crate finds it.
fn compiler(cpp: bool, standard: &str) -> Command {
    let host = "x86_64-unknown-linux-gnu";
    let mut build = cc::Build::new();
    build.cpp(cpp).host(host).target(host).opt_level(2).cargo_metadata(false).cargo_warnings(false);
    let mut command = build.get_compiler().to_command();
    command.arg(format!("-std={standard}")).args(STRICT).arg("-I").arg(here().join("include"));
    command
}

/// Compiles and links one file. `shared`: against the shared library.
fn program(source: &str, name: &str, mut compiler: Command, shared: bool) -> PathBuf {
    let program = out(name);
    compiler.arg("-o").arg(&program).arg(here().join(source));
    if shared {
        let folder = libraries().display();
        compiler.args([format!("-L{folder}"), format!("-Wl,-rpath,{folder}")]).arg("-lstorport_pool");
    } else {
        compiler.arg(libraries().join("libstorport_pool.a"));
    }
    run(compiler.args(["-lpthread", "-lm", "-ldl"]));
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
fn hosts_with_functions_of_their_own() {
    both_ways("host");
}

#[test]
fn threads_and_signals() {
    both_ways("threads");
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

#[test]
fn the_example_prints_its_tag_table() {
    let program = program("examples/hello.c", "hello", compiler(false, "c99"), false);
    let output = run(&mut Command::new(program));
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(shown.contains(" VioS Nonp          1                0         1       208\n"), "{shown}");
}
