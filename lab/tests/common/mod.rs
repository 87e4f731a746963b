//! What the tests of the program share: where it runs, and what it says.
#![allow(dead_code, reason = "each test binary uses its own part of it")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// An empty folder of the test's own, where the program runs.
pub fn folder(test: &str) -> PathBuf {
    let of_file = concat!(env!("CARGO_CRATE_NAME"), "-");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{of_file}{test}"));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

pub fn run(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_storport-pool"));
    command.current_dir(folder).args(arguments).env_remove("COLUMNS").output().unwrap()
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}
