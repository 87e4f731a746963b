//! Tells the program which commit it is built from; without git, or outside a clone, none.

use std::process::Command;

fn main() {
    println!("cargo::rustc-env=STORPORT_POOL_REVISION={}", revision().unwrap_or_default());
    // The log of HEAD changes with each commit; a file that is not there would mean a build each time.
    let log = git(&["rev-parse", "--git-path", "logs/HEAD"]).filter(|log| std::path::Path::new(log).exists());
    for watched in ["../src", "src"].into_iter().chain(log.as_deref()) {
        println!("cargo::rerun-if-changed={watched}");
    }
}

fn revision() -> Option<String> {
    let commit = git(&["rev-parse", "--short", "HEAD"])?;
    let changes = git(&["status", "--porcelain", "--", "../src", "src", "../Cargo.toml", "../Cargo.lock"])?;
    Some(if changes.is_empty() { commit } else { format!("{commit} with changes") })
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
