//! Miniports with their host: C programs over the library that capi/ makes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

#[path = "../../../capi/tests/common/mod.rs"]
mod c;

pub use c::{here, out};

/// Seconds without a completion that the host waits, and what it is compiled to: once, for all miniports.
static HOSTS: Mutex<BTreeMap<u32, Arc<Vec<PathBuf>>>> = Mutex::new(BTreeMap::new());

/// What both the host and its miniports are compiled with.
pub fn compiler(cpp: bool, standard: &str) -> Command {
    let mut compiler = c::compiler(cpp, standard);
    compiler.arg("-I").arg(here().join("include"));
    compiler
}

pub fn compile(compiler: &mut Command) {
    c::run(compiler);
}

fn host(patience: u32) -> Arc<Vec<PathBuf>> {
    // A test that failed here leaves nothing half done.
    let mut hosts = HOSTS.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let compiled = || {
        let files = here().join("src").read_dir().unwrap().map(|entry| entry.unwrap().path());
        let files = files.filter(|file| file.extension().is_some_and(|end| end == "c"));
        let files: Vec<_> = files.chain([here().join("miniport/main.c")]).collect();
        assert!(files.len() > 2);
        // Of this process alone: tests of another may run at the same time.
        let folder = out(&format!("host-{}-{patience}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let mut compiler = compiler(false, "c11");
        compiler.args(["-g", "-D_GNU_SOURCE", "-c"]).arg(format!("-DPATIENCE={patience}")).args(&files);
        compile(compiler.current_dir(&folder));
        let object = |file: &PathBuf| folder.join(file.file_name().unwrap()).with_extension("o");
        Arc::new(files.iter().map(object).collect())
    };
    hosts.entry(patience).or_insert_with(compiled).clone()
}

/// A miniport with its host, which waits so many seconds for a completion.
pub fn program(name: &str, defines: &[&str], miniport: &Path, patience: u32) -> PathBuf {
    let program = out(&format!("{name}{}", defines.concat().replace('=', "-")));
    let mut compiler = compiler(false, "c11");
    compiler.args(["-g", "-D_GNU_SOURCE"]).args(defines).arg(miniport).args(host(patience).iter());
    compiler.arg("-o").arg(&program);
    compile(c::with_library(&mut compiler, false));
    program
}
