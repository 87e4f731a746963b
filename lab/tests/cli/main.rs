//! The program as a user meets it.

#[path = "../common/mod.rs"]
mod common;

mod arguments;
mod commands;
mod earlier;
mod latency;
mod outputs;
mod summary;

use std::path::Path;
use std::process::{Command, Output};

use common::text;
use serde_json::Value;

fn json(file: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
}

/// What a run says that must succeed.
fn done(folder: &Path, arguments: &[&str]) -> String {
    let output = common::run(folder, arguments);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

/// A refusal: exit status 2, and nothing was done.
fn refused(output: &Output, message: &str) {
    let error = text(&output.stderr);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{message}: {error}");
    assert!(error.starts_with("error: ") && error.contains(message), "{message}: {error}");
}

/// The names of what is in a folder.
fn files(folder: &Path) -> Vec<String> {
    let name = |entry: std::io::Result<std::fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
    let mut names: Vec<_> = std::fs::read_dir(folder).unwrap().map(name).collect();
    names.sort();
    names
}

/// With a variable set.
fn run_with(folder: &Path, (name, value): (&str, &str), arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_storport-pool"));
    command.current_dir(folder).args(arguments).env(name, value).output().unwrap()
}
