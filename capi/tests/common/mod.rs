//! The C compiler, and both libraries; for the tests of host/ too.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

const STRICT: [&str; 4] = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"];

/// The package whose tests run.
pub fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn repository() -> &'static Path {
    here().parent().unwrap()
}

/// Where this test may write.
pub fn out(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

pub fn run(command: &mut Command) -> Output {
    // Without its environment.
    let parts = [command.get_program()].into_iter().chain(command.get_args());
    let name = parts.map(|part| part.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ");
    // Cargo's would come before the libraries that a program was linked with.
    command.env_remove("LD_LIBRARY_PATH");
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

/// Where both libraries are, if they are not to be built: those of a release, for ci/library.sh.
#[allow(dead_code, reason = "not every test needs it")]
pub fn given_libraries() -> Option<PathBuf> {
    std::env::var_os("STORPORT_POOL_LIBRARIES").map(PathBuf::from)
}

/// The folder of both libraries, built by the cargo that runs the tests: for tests it links neither.
pub fn libraries() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        if let Some(given) = given_libraries() {
            return given;
        }
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("capi");
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--quiet", "--locked", "--package", "storport-pool-capi", "--target-dir"]);
        run(cargo.arg(&target).current_dir(here()));
        target.join("debug")
    })
}

/// Links what the compiler was given with the static library, or against the shared one, which takes less time.
#[allow(dead_code, reason = "not every test needs it")]
pub fn with_library(compiler: &mut Command, shared: bool) -> &mut Command {
    let folder = libraries().display();
    if shared {
        compiler.args([format!("-L{folder}"), format!("-Wl,-rpath,{folder}")]).arg("-lstorport_pool");
    } else {
        compiler.arg(libraries().join("libstorport_pool.a"));
    }
    compiler.args(["-lpthread", "-lm", "-ldl"])
}

/// The C compiler, or with `cpp` the C++ compiler, as the cc crate finds it.
pub fn compiler(cpp: bool, standard: &str) -> Command {
    let host = "x86_64-unknown-linux-gnu";
    let mut build = cc::Build::new();
    build.cpp(cpp).host(host).target(host).opt_level(2).cargo_metadata(false).cargo_warnings(false);
    let mut command = build.get_compiler().to_command();
    command.arg(format!("-std={standard}")).args(STRICT).arg("-I").arg(repository().join("capi/include"));
    command
}
