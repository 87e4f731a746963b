//! The Storport host and its sample miniport: a RAM disk that is right, and one for each of six mistakes.

mod common;

use std::process::Command;

use common::{compiler, here, libraries, out};

/// What the host says of the miniport with this mistake, and its exit status.
fn life(bug: u32, suspicions: bool) -> (String, Option<i32>) {
    let program = out(&format!("ramdisk-{bug}-{suspicions}"));
    let host = here().join("../host");
    let mut compiler = compiler(false, "c11");
    compiler.arg("-D_GNU_SOURCE").arg(format!("-DBUG={bug}")).arg("-I").arg(host.join("include"));
    for folder in ["src", "miniport"] {
        let mut files: Vec<_> =
            host.join(folder).read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
        files.retain(|file| file.extension().is_some_and(|extension| extension == "c"));
        assert!(files.len() > 1);
        compiler.args(files);
    }
    compiler.arg("-o").arg(&program).arg(libraries().join("libstorport_pool.a"));
    common::run(compiler.args(["-lpthread", "-lm", "-ldl"]));
    let mut command = Command::new(program);
    if suspicions {
        command.arg("suspicions");
    }
    let output = command.output().unwrap();
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    (String::from_utf8(output.stdout).unwrap(), output.status.code())
}

/// The finding names kind, tag, size, the callback that allocated, and the one at fault; and nothing else is found.
fn found(bug: u32, suspicions: bool, kinds: &[&str], parts: &[&str]) {
    let (said, code) = life(bug, suspicions);
    assert_eq!(code, Some(1), "{said}");
    let findings: Vec<_> = said.lines().take_while(|line| !line.starts_with(" Tag")).collect();
    let finding = findings.iter().find(|line| line.starts_with(kinds[0]));
    let finding = finding.unwrap_or_else(|| panic!("no {} in {said}", kinds[0]));
    for part in parts {
        assert!(finding.contains(part), "no {part} in {finding}");
    }
    for line in findings {
        assert!(kinds.iter().any(|kind| line.starts_with(kind)), "{line} in {said}");
    }
}

#[test]
fn a_miniport_without_mistakes() {
    for suspicions in [false, true] {
        let (said, code) = life(0, suspicions);
        assert_eq!(code, Some(0), "{said}");
        assert!(said.starts_with(" Tag"), "{said}");
        // Two runs of two submitters, a reset each, and the dump's one.
        let requests = 2 * (2 * 2000 + 8) + 1;
        assert!(said.contains(&format!("\n{requests} requests, ")), "{said}");
        assert!(said.contains(" RamD Nonp        512              512         0         0\n"), "{said}");
        assert!(said.contains(": 0 leaked, 0 freed twice, 0 through another adapter, 0 other bad frees"));
        assert!(said.ends_with("0 above DISPATCH_LEVEL, 0 suspected overwritten, 0 other\n"), "{said}");
    }
}

const REQUEST: &str = "(tag 'Rqst', 72 bytes), allocated in HwStorBuildIo";

#[test]
fn a_leak_on_an_error_path() {
    found(1, false, &["leak: "], &["block 0x", REQUEST, " for adapter "]);
}

#[test]
fn a_double_free_in_a_reset() {
    let freed = ", freed in HwStorResetBus, freed again in HwStorDpcRoutine";
    found(2, false, &["double free: "], &["block 0x", REQUEST, freed]);
}

#[test]
fn a_free_at_dirql() {
    let event = "(tag 'Evnt', 24 bytes), allocated in HwStorPassiveInitializeRoutine";
    found(3, false, &["free above DISPATCH_LEVEL: "], &["in HwStorInterrupt, at IRQL 5: block 0x", event]);
}

#[test]
fn an_allocation_at_dirql() {
    let parts = ["in HwStorInterrupt, at IRQL 5: tag 'Evnt', 64 bytes"];
    found(4, false, &["allocation above DISPATCH_LEVEL: "], &parts);
}

#[test]
fn a_free_through_another_adapters_extension() {
    let freed = " for adapter 1, freed in HwStorDpcRoutine through adapter 0";
    found(5, false, &["wrong adapter: "], &["block 0x", REQUEST, freed]);
}

#[test]
fn an_allocation_over_a_live_pointer() {
    let parts = ["allocation in HwStorBuildIo into a pointer that holds a live block 0x", REQUEST];
    found(6, true, &["suspected overwrite: ", "leak: "], &parts);
    // Without suspicions, the leak is all there is to see.
    found(6, false, &["leak: "], &[REQUEST]);
}
