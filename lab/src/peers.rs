//! Who takes part: the allocators of this program, and those of programs that it builds when they are asked for.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::out;
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
    /// This program, for who asks for it by name.
    Named,
    /// This program, with the pool made to commit by the portable twin.
    Portable,
    /// The package lab/peers, built with the feature of the allocator's name.
    Peers,
    /// The same, in a build of its own: other features of the same libraries.
    Checking,
}

/// All, in the order of the report; the first one is what it is about.
const ALL: [(&str, Home); 16] = [
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
    ("pool-masked", Home::Aside),
    ("pool-watched", Home::Named),
    ("mimalloc-secure", Home::Checking),
    ("snmalloc-check", Home::Checking),
];

/// All of their names, the pool's first.
#[cfg(test)]
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    ALL.iter().map(|(name, _)| *name)
}

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
            Peers::All => home != Home::Named,
            Peers::Named(names) => names.contains(&name),
        }
    }

    /// Those that are wanted, the pool first; builds what is missing. What could not be built is a note.
    ///
    /// # Errors
    /// A sentence, when the program does not know where it is.
    pub(crate) fn gather(&self) -> Result<(Vec<Allocator>, Vec<String>), String> {
        let own = Program::own()?;
        let wanted: Vec<_> = ALL.iter().skip(1).filter(|&&(name, home)| self.want(name, home)).collect();
        let mut built: Vec<(Home, Result<PathBuf, String>)> = Vec::new();
        let (mut allocators, mut notes) = (Vec::new(), Vec::new());
        for &(name, home) in ALL.iter().take(1).chain(wanted.iter().copied()) {
            let program = match home {
                Home::Own | Home::Aside | Home::Named => own.clone(),
                Home::Portable => {
                    Program { environment: &[("STORPORT_POOL_COMMIT", "portable")], ..own.clone() }
                }
                Home::Peers | Home::Checking => {
                    if !built.iter().any(|(done, _)| *done == home) {
                        let names = wanted.iter().filter(|(_, other)| *other == home).map(|(name, _)| *name);
                        built.push((home, build(home, &names.collect::<Vec<_>>(), &own.file)));
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

/// What cargo is to do so that lab/peers has these allocators, and no others.
fn arguments(names: &[&str], manifest: &Path, target: &Path) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = ["build", "--release", "--locked"].map(OsString::from).into();
    arguments.extend(["--manifest-path".into(), manifest.into(), "--target-dir".into(), target.into()]);
    arguments.extend(["--no-default-features".into(), "--features".into(), names.join(",").into()]);
    arguments
}

/// Builds lab/peers beside what cargo built this program into, and shows how that goes.
fn build(home: Home, names: &[&str], own: &Path) -> Result<PathBuf, String> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/Cargo.toml");
    let folder = if home == Home::Checking { "peers-checking" } else { "peers" };
    let target = own.ancestors().nth(2).unwrap_or(Path::new("target")).join(folder);
    out::remark(&format!("building {}: some minutes, once", names.join(", ")));
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(arguments(names, &manifest, &target))
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
    fn what_the_program_has_needs_no_other_build() {
        let (allocators, notes) =
            Peers::parse("pool-masked,textbook-tagged,textbook").unwrap().gather().unwrap();
        let names: Vec<_> = allocators.iter().map(|allocator| allocator.name).collect();
        assert_eq!(
            (names, notes.len()),
            (vec!["storport-pool", "textbook", "textbook-tagged", "pool-masked"], 0)
        );
    }

    /// Each allocator of lab/peers is a feature there; only what is asked for is built.
    #[test]
    fn nothing_is_built_that_nobody_asked_for() {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/Cargo.toml");
        let text = std::fs::read_to_string(&manifest).unwrap();
        for (name, _) in ALL.iter().filter(|(_, home)| matches!(home, Home::Peers | Home::Checking)) {
            assert!(text.contains(&format!("\n{name} = [")), "lab/peers has no feature {name}");
        }
        let dependencies = text.split("\n[dependencies]\n").nth(1).unwrap().split("\n[").next().unwrap();
        let always = |line: &&str| line.contains(" = ") && !line.contains("optional = true");
        let always: Vec<_> =
            dependencies.lines().filter(always).map(|line| line.split(' ').next().unwrap()).collect();
        assert_eq!(always, ["storport-pool", "storport-pool-lab", "clap"], "libraries that are always built");
        let arguments = arguments(&["pool-checked"], &manifest, Path::new("there"));
        assert!(
            arguments.ends_with(&["--no-default-features", "--features", "pool-checked"].map(OsString::from))
        );
    }

    #[test]
    fn the_default_builds_nothing() {
        let (allocators, notes) = Peers::Default.gather().unwrap();
        let names: Vec<_> = allocators.iter().map(|allocator| allocator.name).collect();
        assert_eq!((names, notes.len()), (vec!["storport-pool", "system", "mimalloc"], 0));
    }
}
