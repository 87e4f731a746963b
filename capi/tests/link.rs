//! What the two libraries are to a linker and a loader: which names they show, what clashes, what stays loaded, how much
//! thread-local memory they take.

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use common::{compiler, given_libraries, here, libraries, out, run};

const STATIC: &str = "libstorport_pool.a";
const SHARED: &str = "libstorport_pool.so";
const KIT: [&str; 11] = [
    "StorPortAllocatePool",
    "StorPortFreePool",
    "StorPortExtendedFunction",
    "ExAllocatePool2",
    "ExAllocatePoolWithTag",
    "ExAllocatePoolZero",
    "ExFreePool",
    "ExFreePoolWithTag",
    "KeGetCurrentIrql",
    "KeRaiseIrql",
    "KeLowerIrql",
];

fn said(command: &mut Command) -> String {
    String::from_utf8(run(command).stdout).unwrap()
}

/// The names that a file shows to others.
fn names(file: &Path, dynamic: bool) -> Vec<String> {
    let mut nm = Command::new("nm");
    nm.args(["--defined-only", "-P", if dynamic { "-D" } else { "-g" }]).arg(file);
    let said = said(&mut nm);
    let names = said.lines().filter(|line| line.split(' ').count() > 2);
    names.map(|line| line.split(' ').next().unwrap().to_owned()).collect()
}

/// All functions that the header declares under the prefix.
fn declared() -> Vec<String> {
    let header = std::fs::read_to_string(here().join("include/storport_pool.h")).unwrap();
    let lines = header.lines().filter(|line| !line.starts_with([' ', '/', '#', '}']) && line.contains('('));
    let name = |line: &str| {
        let before = line.split('(').next()?;
        let name = before.rsplit([' ', '*']).next()?;
        name.starts_with("sp_").then(|| name.to_owned())
    };
    let mut names: Vec<_> = lines.filter_map(name).collect();
    names.sort();
    assert!(names.len() > 30, "{names:?}");
    names
}

fn link(name: &str, sources: &[&str], library: &[&Path], flags: &[&str]) -> PathBuf {
    let program = out(name);
    let mut compiler = compiler(false, "gnu11");
    compiler.args(flags).arg("-o").arg(&program);
    compiler.args(sources.iter().map(|source| here().join(source)));
    run(compiler.args(library).args(["-lpthread", "-lm", "-ldl"]));
    program
}

/// The static library without the Rust runtime's names, as the script makes it.
fn private() -> PathBuf {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    let make = || {
        let library = out("libstorport_pool_private.a");
        run(Command::new(here().join("private.sh")).arg(libraries().join(STATIC)).arg(&library));
        library
    };
    MADE.get_or_init(make).clone()
}

#[test]
fn the_shared_library_shows_its_interface_alone() {
    let mut names = names(&libraries().join(SHARED), true);
    names.sort();
    assert_eq!(names, declared());
}

#[test]
fn the_private_library_shows_its_interface_and_the_kits_names() {
    let mut names = names(&private(), false);
    names.sort();
    let mut expected = declared();
    expected.extend(KIT.map(str::to_owned));
    expected.sort();
    assert_eq!(names, expected);
}

#[test]
fn a_program_gets_the_kits_names_only_if_it_asks() {
    let library = libraries().join(STATIC);
    let program = link("kit-none", &["examples/hello.c"], &[&library], &["-std=c99"]);
    let shown = names(&program, false);
    assert!(shown.iter().any(|name| name == "sp_pool_create"));
    assert!(!KIT.iter().any(|kit| shown.iter().any(|name| name == kit)), "{shown:?}");
    // By hand-written declarations: it gets what it asks for, and no other kind.
    let program = link("kit-storport", &["tests/c/symbols.c"], &[&library], &[]);
    let shown = names(&program, false);
    assert!(shown.iter().any(|name| name == "StorPortAllocatePool"));
    assert!(!shown.iter().any(|name| name.starts_with("Ex") || name.starts_with("Ke")), "{shown:?}");
    assert_eq!(said(&mut Command::new(program)), "symbols: ok\n");
    // The shared library has none; the file that makes them is compiled in.
    let shared = libraries().join(SHARED);
    let folder = format!("-Wl,-rpath,{}", libraries().display());
    let program =
        link("kit-shared", &["tests/c/symbols.c", "c/kit/storport.c"], &[&shared], &[&folder, "-Iinclude"]);
    assert_eq!(said(&mut Command::new(program)), "symbols: ok\n");
}

#[test]
fn an_emulator_with_the_kits_names_of_its_own() {
    for (name, library) in [("own-a", libraries().join(STATIC)), ("own-private", private())] {
        let program = link(name, &["tests/c/own.c"], &[&library], &[]);
        assert_eq!(said(&mut Command::new(program)), "own: ok\n");
    }
    let shared = libraries().join(SHARED);
    let folder = format!("-Wl,-rpath,{}", libraries().display());
    for flags in [vec![&*folder], vec![&*folder, "-rdynamic"]] {
        let program = link("own-so", &["tests/c/own.c"], &[&shared], &flags);
        assert_eq!(said(&mut Command::new(program)), "own: ok\n");
    }
}

#[test]
fn a_second_rust_library_in_one_program() {
    let source = out("second.rs");
    let text = "#[unsafe(no_mangle)] pub extern \"C\" fn second(n: u32) -> u32 {
        let all: Vec<u32> = (0..n).collect();
        let caught = std::panic::catch_unwind(|| if n > 5 { panic!(\"more than five\") } else { 1 });
        all.iter().sum::<u32>() + caught.unwrap_or(100)
    }";
    std::fs::write(&source, text).unwrap();
    let second = out("libsecond.a");
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let mut rustc = Command::new(rustc);
    rustc.args(["--edition=2024", "--crate-type=staticlib", "-O", "-o"]).arg(&second).arg(&source);
    run(&mut rustc);
    let pool = private();
    // Neither order matters.
    for (name, order) in [("second-behind", [&*pool, &*second]), ("second-before", [&*second, &*pool])] {
        let program = link(name, &["tests/c/second.c"], &order, &[]);
        assert_eq!(said(&mut Command::new(program)), "second: ok\n");
    }
}

#[test]
fn a_plugin_with_the_static_library_stays_loaded() {
    for (name, library) in [("plugin", libraries().join(STATIC)), ("plugin-private", private())] {
        let flags = ["-shared", "-fPIC", "-DPLUGIN", "-Wl,-Bsymbolic"];
        let plugin = link(&format!("{name}.so"), &["tests/c/plugin.c"], &[&library], &flags);
        let program = link(&format!("{name}-host"), &["tests/c/plugin.c"], &[], &[]);
        assert_eq!(said(Command::new(program).arg(plugin)), "plugin: ok\n");
    }
}

#[test]
fn little_thread_local_memory() {
    let said = said(Command::new("readelf").arg("-lW").arg(libraries().join(SHARED)));
    let line = said.lines().find(|line| line.trim_start().starts_with("TLS")).expect("a TLS segment");
    let bytes = line.split_whitespace().nth(5).unwrap().trim_start_matches("0x");
    let bytes = u64::from_str_radix(bytes, 16).unwrap();
    // What is not optimized has more of Rust's own.
    let most = if given_libraries().is_some() { 192 } else { 384 };
    assert!((1..=most).contains(&bytes), "{bytes} bytes of thread-local memory");
}
