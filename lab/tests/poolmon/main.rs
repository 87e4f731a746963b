//! `poolmon` as a user meets it, on a watch that is always the same, and on processes that live and end.
#![cfg(target_os = "linux")]

#[path = "../common/mod.rs"]
mod common;
mod golden;
mod live;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use common::{folder, text};

/// The files that outputs are compared with.
fn here(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/poolmon").join(file)
}

fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_storport-pool"));
    command.current_dir(folder).env("XDG_RUNTIME_DIR", folder).args(arguments);
    command
}

fn poolmon(folder: &Path, arguments: &[&str]) -> Output {
    command(folder, &[&["poolmon"], arguments].concat()).output().unwrap()
}

/// One line, and exit status 2.
fn refused(output: &Output, message: &str) {
    let error = text(&output.stderr);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{error}");
    assert!(error.starts_with("error: ") && error.contains(message), "{message}: {error}");
}
