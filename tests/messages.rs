//! What the compiler says to whoever passes a host where a platform is wanted, or builds for a target that the pool
//! cannot run on.
#![cfg(not(storport_pool_steps))]

use std::path::{Path, PathBuf};
use std::process::Command;

fn deps() -> PathBuf {
    std::env::current_exe().unwrap().parent().unwrap().to_owned()
}

/// The newest library of this name beside this test.
fn newest(name: &str) -> PathBuf {
    let libraries = std::fs::read_dir(deps()).unwrap().map(|entry| entry.unwrap()).filter(|entry| {
        let file = entry.file_name().into_string().unwrap();
        file.starts_with(&format!("lib{name}-")) && file.ends_with(".rlib")
    });
    libraries.max_by_key(|entry| entry.metadata().unwrap().modified().unwrap()).expect("it was built").path()
}

/// Compiles the library for a kernel, with more options, into a folder; what the compiler says.
fn compile(folder: &Path, source: &Path, name: &str, options: &[&str]) -> (bool, String) {
    std::fs::create_dir_all(folder).unwrap();
    let output = Command::new(std::env::var_os("RUSTC").unwrap_or("rustc".into()))
        .args([
            "--edition=2024",
            "--crate-type=rlib",
            "--emit=metadata",
            "--cap-lints=allow",
            "--crate-name",
            name,
        ])
        .arg("-L")
        .arg(format!("dependency={}", deps().display()))
        .arg("--out-dir")
        .arg(folder)
        .arg("--extern")
        .arg(format!("static_assertions={}", newest("static_assertions").display()))
        .args(options)
        .arg(source)
        .output()
        .unwrap();
    (output.status.success(), String::from_utf8(output.stderr).unwrap())
}

fn library() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

const HOST: &str = "#![no_std]
    use storport_pool::{Config, CreateError, Host, Irql, MaskInterrupts, Masked, Pool, Portable};
    pub struct Machine;
    impl Host for Machine {
        fn cpu(&self) -> u32 { 0 }
        fn irql(&self) -> Irql { Irql::PASSIVE }
    }
    unsafe impl MaskInterrupts for Machine {
        type State = ();
        fn mask(&self) {}
        fn unmask(&self, _: ()) {}
        fn fence(&self, _: u32) {}
    }
    pub unsafe fn make(config: &Config, memory: core::ptr::NonNull<[u8]>) -> Result<(), CreateError> {
        unsafe { Pool::new_in(config, memory, MACHINE).map(|_| ()) }
    }";

/// What the compiler says of a pool that is made on `platform`.
fn pool_on(platform: &str, masks: bool) -> (bool, String) {
    let folder = folder("platform");
    let built = compile(&folder, &library(), "storport_pool", &[]);
    assert!(built.0, "{}", built.1);
    let mut text = HOST.replace("MACHINE", platform);
    if !masks {
        let start = text.find("    unsafe impl MaskInterrupts").unwrap();
        let end = text.find("    pub unsafe fn make").unwrap();
        text.replace_range(start..end, "");
    }
    let source = folder.join(format!("program_{}.rs", platform.len() + usize::from(masks)));
    std::fs::write(&source, text).unwrap();
    let library = format!("storport_pool={}", folder.join("libstorport_pool.rmeta").display());
    compile(&folder, &source, "program", &["--extern", &library])
}

#[test]
fn a_host_is_no_platform() {
    for (right, masks) in [("Portable::new(Machine)", false), ("Masked::new(Machine)", true)] {
        let (compiled, said) = pool_on(right, masks);
        assert!(compiled, "{said}");
    }
    for masks in [false, true] {
        let (compiled, said) = pool_on("Machine", masks);
        assert!(!compiled);
        for words in ["a pool cannot run on `Machine`", "`Portable::new(host)`", "`Masked::new(host)`"] {
            assert!(said.contains(words), "{words} is not in: {said}");
        }
    }
}

/// One line, and nothing else: no host of this test is such a target, so a flag stands for it.
#[test]
fn an_unsuited_target_is_told_in_one_line() {
    let (compiled, said) =
        compile(&folder("unsuited"), &library(), "storport_pool", &["--cfg=storport_pool_unsuited"]);
    assert!(!compiled);
    let errors: Vec<_> = said.lines().filter(|line| line.starts_with("error")).collect();
    assert!(errors[0].contains("needs a target with 64-bit pointers and 64-bit atomics"), "{said}");
    assert!(errors[1].contains("aborting due to 1 previous error"), "{said}");
}

/// The condition in `lib.rs`, on what the compiler says of targets.
#[test]
fn which_targets_are_suited() {
    let text = std::fs::read_to_string(library()).unwrap();
    let condition = "not(all(target_pointer_width = \"64\", target_has_atomic = \"64\"))";
    assert!(text.contains(condition), "the condition is another one now: this test must follow");
    for (target, suited) in [
        ("x86_64-unknown-none", true),
        ("x86_64-unknown-linux-musl", true),
        ("aarch64-unknown-none", true),
        ("riscv64gc-unknown-none-elf", true),
        ("i686-unknown-linux-gnu", false),
        ("thumbv7m-none-eabi", false),
        ("x86_64-unknown-linux-gnux32", false),
    ] {
        let output = Command::new(std::env::var_os("RUSTC").unwrap_or("rustc".into()))
            .args(["--print=cfg", "--target", target])
            .output()
            .unwrap();
        let told = String::from_utf8(output.stdout).unwrap();
        let has = |line: &str| told.lines().any(|told| told == line);
        assert!(!told.is_empty(), "{target}");
        assert_eq!(has("target_pointer_width=\"64\"") && has("target_has_atomic=\"64\""), suited, "{target}");
    }
}
