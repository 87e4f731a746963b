//! The library, C programs, and runs of them with and without it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The library, built by the cargo that runs the tests, which links none of them with it. `STORPORT_PRELOAD_LIBRARY`
/// names another.
pub fn library() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        if let Some(given) = std::env::var_os("STORPORT_PRELOAD_LIBRARY") {
            return given.into();
        }
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("preload");
        let mut cargo = Command::new(env!("CARGO"));
        // As the tests themselves are built: with assertions, and not so slow that a timer's handler takes all of the time.
        cargo.args(["build", "--quiet", "--locked", "--profile", "test"]);
        cargo.args(["--package", "storport-pool-preload", "--target-dir"]);
        good(cargo.arg(&target).current_dir(here()));
        target.join("debug/libstorport_preload.so")
    })
}

/// What it said, and that it ended well.
pub fn good(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}\n{}", output.status, said(&output));
    output
}

pub fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// A program of tests/c, compiled.
pub fn program(file: &str) -> Command {
    let host = "x86_64-unknown-linux-gnu";
    let cpp = file.ends_with("cpp");
    let mut build = cc::Build::new();
    build.cpp(cpp).host(host).target(host).opt_level(1).cargo_metadata(false).cargo_warnings(false);
    // Tests of one program run at once.
    static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    // ORDERING: Relaxed - a counter.
    let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let name = format!("{}-{}-{number}", file.replace('.', "-"), std::process::id());
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let mut compiler = build.get_compiler().to_command();
    compiler.args([
        "-Wall",
        "-Wextra",
        "-fno-builtin",
        "-pthread",
        if cpp { "-std=c++17" } else { "-std=gnu11" },
    ]);
    // Bad frees and huge requests are what they are for.
    compiler.args(["-Wno-free-nonheap-object", "-Wno-use-after-free", "-Wno-alloc-size-larger-than"]);
    compiler.arg(here().join("tests/c").join(file)).arg("-o").arg(&out).arg("-ldl");
    good(&mut compiler);
    let mut command = Command::new(out);
    for variable in ["BYTES", "LARGEST", "MISUSE", "REPORT"] {
        command.env_remove(format!("STORPORT_PRELOAD_{variable}"));
    }
    command.env_remove("STORPORT_POOL_VERIFY");
    command
}

/// As it is, with the library.
pub fn preloaded(mut command: Command) -> Command {
    command.env("LD_PRELOAD", library());
    command
}

/// With the portable commit, too.
#[allow(dead_code, reason = "not every test needs it")]
pub fn without_rseq(mut command: Command) -> Command {
    command.env("GLIBC_TUNABLES", "glibc.pthread.rseq=0");
    command
}

/// The report's last lines, from standard error: the pool's numbers and the system's, by name.
#[allow(dead_code, reason = "not every test needs it")]
pub fn reported(output: &Output, name: &str) -> u64 {
    let text = String::from_utf8_lossy(&output.stderr);
    let lines = text.lines().filter(|line| line.starts_with("pool: ") || line.starts_with("system: "));
    let mut words = lines.flat_map(str::split_whitespace);
    let value = words.find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
    value.unwrap_or_else(|| panic!("no {name} in\n{text}")).parse().unwrap()
}
