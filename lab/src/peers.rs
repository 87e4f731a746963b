//! Who takes part: the allocators of this program, and those of programs that it builds when they are asked for.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::worker::Program;

/// An allocator, and the program that has it.
#[derive(Clone, Debug)]
pub(crate) struct Allocator {
    pub(crate) name: &'static str,
    pub(crate) program: Program,
}

/// Where an allocator is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Home {
    /// This program.
    Own,
    /// This program, for who asks for it.
    Aside,
    /// This program, with the pool made to commit by the portable twin.
    Portable,
    /// The package lab/peers.
    Peers,
    /// The same, built with its feature `checking`.
    Checking,
}

/// All, in the order of the report; the first one is what it is about.
const ALL: [(&str, Home); 14] = [
    ("storport-pool", Home::Own),
    ("system", Home::Own),
    ("mimalloc", Home::Own),
    ("jemalloc", Home::Peers),
    ("rpmalloc", Home::Peers),
    ("snmalloc", Home::Peers),
    ("smalloc", Home::Peers),
    ("talc", Home::Peers),
    ("textbook", Home::Aside),
    ("textbook-tagged", Home::Aside),
    ("pool-checked", Home::Checking),
    ("pool-portable", Home::Portable),
    ("mimalloc-secure", Home::Checking),
    ("snmalloc-check", Home::Checking),
];

/// Whether it is the pool, built or run in whatever way.
pub(crate) fn is_the_pool(name: &str) -> bool {
    name == ALL[0].0 || name.starts_with("pool-")
}

/// Which ones are wanted beside the pool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Peers {
    /// Those that everybody has.
    #[default]
    Default,
    All,
    Named(Vec<&'static str>),
}

impl Peers {
    /// `default`, `all`, or names with commas between.
    ///
    /// # Errors
    /// A sentence, with the names that there are.
    pub(crate) fn parse(text: &str) -> Result<Peers, String> {
        let name = |wanted: &str| {
            let found = ALL.iter().skip(1).find(|(name, _)| *name == wanted.trim());
            found.map(|&(name, _)| name).ok_or_else(|| {
                let names: Vec<_> = ALL.iter().skip(1).map(|(name, _)| *name).collect();
                format!("there is no peer '{}'; there are default, all, {}", wanted.trim(), names.join(", "))
            })
        };
        match text {
            "default" => Ok(Peers::Default),
            "all" => Ok(Peers::All),
            names => names.split(',').map(name).collect::<Result<_, _>>().map(Peers::Named),
        }
    }

    fn want(&self, name: &str, home: Home) -> bool {
        match self {
            Peers::Default => home == Home::Own,
            Peers::All => true,
            Peers::Named(names) => names.contains(&name),
        }
    }

    /// Those that are wanted, the pool first; builds what is missing. What could not be built is a note.
    ///
    /// # Errors
    /// A sentence, when the program does not know where it is.
    pub(crate) fn gather(&self) -> Result<(Vec<Allocator>, Vec<String>), String> {
        let own = Program::own()?;
        let mut built: Vec<(Home, Result<PathBuf, String>)> = Vec::new();
        let (mut allocators, mut notes) = (Vec::new(), Vec::new());
        for (place, &(name, home)) in ALL.iter().enumerate() {
            if place > 0 && !self.want(name, home) {
                continue;
            }
            let program = match home {
                Home::Own | Home::Aside => own.clone(),
                Home::Portable => {
                    Program { environment: &[("STORPORT_POOL_COMMIT", "portable")], ..own.clone() }
                }
                Home::Peers | Home::Checking => {
                    if !built.iter().any(|(done, _)| *done == home) {
                        built.push((home, build(home, &own.file)));
                    }
                    match built.iter().find(|(done, _)| *done == home) {
                        Some((_, Ok(file))) => {
                            Program { file: file.clone(), arguments: &[], environment: &[] }
                        }
                        Some((_, Err(why))) => {
                            notes.push(format!("{name} is missing: {why}"));
                            continue;
                        }
                        None => unreachable!("pushed above"),
                    }
                }
            };
            allocators.push(Allocator { name, program });
        }
        Ok((allocators, notes))
    }
}

/// Builds lab/peers beside what cargo built this program into, and shows how that goes.
fn build(home: Home, own: &Path) -> Result<PathBuf, String> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/Cargo.toml");
    let (folder, features): (_, &[&str]) = match home {
        Home::Checking => ("peers-checking", &["--features", "checking"]),
        _ => ("peers", &[]),
    };
    let target = own.ancestors().nth(2).unwrap_or(Path::new("target")).join(folder);
    eprintln!("building the {folder}: some minutes, once");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["build", "--release", "--locked", "--manifest-path"])
        .arg(&manifest)
        .arg("--target-dir")
        .arg(&target)
        .args(features)
        .stdin(Stdio::null())
        // The results have the standard output to themselves.
        .stdout(Stdio::null())
        .status()
        .map_err(|error| format!("cargo could not be started: {error}"))?;
    if !status.success() {
        return Err(format!("the build of {} failed ({status}), see above", manifest.display()));
    }
    Ok(target.join("release").join(format!("storport-pool-peers{}", std::env::consts::EXE_SUFFIX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_are_named() {
        assert_eq!(Peers::parse("all"), Ok(Peers::All));
        assert_eq!(Peers::parse("talc, system"), Ok(Peers::Named(vec!["talc", "system"])));
        let error = Peers::parse("talc,tcmalloc").unwrap_err();
        assert!(error.contains("no peer 'tcmalloc'") && error.contains("jemalloc, rpmalloc"), "{error}");
        // It takes part anyway.
        assert!(Peers::parse("storport-pool").is_err());
    }

    #[test]
    fn the_textbook_needs_no_other_build() {
        let (allocators, notes) = Peers::parse("textbook-tagged,textbook").unwrap().gather().unwrap();
        let names: Vec<_> = allocators.iter().map(|allocator| allocator.name).collect();
        assert_eq!((names, notes.len()), (vec!["storport-pool", "textbook", "textbook-tagged"], 0));
    }

    #[test]
    fn the_default_builds_nothing() {
        let (allocators, notes) = Peers::Default.gather().unwrap();
        let names: Vec<_> = allocators.iter().map(|allocator| allocator.name).collect();
        assert_eq!((names, notes.len()), (vec!["storport-pool", "system", "mimalloc"], 0));
    }
}
