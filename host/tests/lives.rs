//! The Storport host and its sample miniport: a RAM disk that is right, and one for each of seven mistakes.

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::{compile, compiler, here, out, program};

/// Seconds that the host waits for a completion.
const PATIENCE: u32 = 60;

/// What the host says of a miniport, and its exit status.
fn run(
    name: &str,
    defines: &[&str],
    miniport: &Path,
    patience: u32,
    suspicions: bool,
) -> (String, Option<i32>) {
    let program = program(&format!("{name}-{suspicions}"), defines, miniport, patience);
    let arguments: &[&str] = if suspicions { &["suspicions"] } else { &[] };
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    (String::from_utf8(output.stdout).unwrap(), output.status.code())
}

fn ramdisk() -> PathBuf {
    here().join("miniport/ramdisk.c")
}

/// The RAM disk with this mistake.
fn life(bug: u32, suspicions: bool) -> (String, Option<i32>) {
    run("ramdisk", &[&format!("-DBUG={bug}")], &ramdisk(), PATIENCE, suspicions)
}

const NOT_FOUND: u32 = 3;
const COMPLETES_NEVER: u32 = 6;

/// The miniport of tests/c/miniport.c in this mode.
fn miniport(mode: u32) -> (String, Option<i32>) {
    // The tests wait for these seconds in one mode alone.
    let patience = if mode == COMPLETES_NEVER { 1 } else { PATIENCE };
    run("miniport", &[&format!("-DMODE={mode}")], &here().join("tests/c/miniport.c"), patience, false)
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
        // Two runs of two submitters, a reset and two flushes each, and the dump's one.
        let requests = 2 * (2 * 2000 + 8 + 2) + 1;
        assert!(said.contains(&format!("\n{requests} requests, ")), "{said}");
        assert!(said.contains(" RamD Nonp        512              512         0         0\n"), "{said}");
        assert!(said.contains(": 0 leaked, 0 freed twice, 0 through another adapter, 0 other bad frees"));
        assert!(
            said.ends_with("0 above DISPATCH_LEVEL, 0 suspected overwritten, 0 corrupted, 0 other\n"),
            "{said}"
        );
    }
}

const HINT: &str =
    "hint: for the line that allocates what leaks, build with -g and run with --fail-each --most=1 --stop\n";
const REQUEST: &str = "(tag 'Rqst', 72 bytes), allocated in HwStorBuildIo";

#[test]
fn a_leak_on_an_error_path() {
    // The first three, and how many more.
    let (said, _) = life(1, false);
    assert_eq!(said.matches("leak: block 0x").count(), 3, "{said}");
    assert!(said.contains(" more, of blocks allocated in HwStorBuildIo\n"), "{said}");
    assert!(said.ends_with(HINT) && said.matches("hint: ").count() == 1, "{said}");
    found(1, false, &["leak: "], &["block 0x", REQUEST, " for hba"]);
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
    let freed = " for hba1, freed in HwStorDpcRoutine through hba0";
    found(5, false, &["wrong adapter: "], &["block 0x", REQUEST, freed]);
}

#[test]
fn an_allocation_over_a_live_pointer() {
    let parts = ["allocation in HwStorBuildIo into a pointer that holds a live block 0x", REQUEST];
    found(6, true, &["suspected overwrite: ", "leak: "], &parts);
    // Without suspicions, the leak is all there is to see.
    found(6, false, &["leak: "], &[REQUEST]);
}

#[test]
fn a_miniport_without_controls_is_initialized_anew() {
    let (said, code) = miniport(1);
    assert_eq!(code, Some(1), "{said}");
    // Two adapters, found twice; for the dump there is no level at which to allocate.
    for callback in ["HwStorFindAdapter", "HwStorFindAdapter (second call)"] {
        let left = format!(
            "(tag 'Mini', 100 bytes), allocated in {callback} for the driver; FindAdapter was called a second time, \
             since there is no ScsiRestartAdapter\n"
        );
        assert_eq!(said.matches(&left).count(), 2, "{said}");
    }
    assert!(!said.contains("999"), "{said}");
    assert_eq!(said.matches("hint: ").count(), 1, "{said}");
    assert!(said.contains("allocation above DISPATCH_LEVEL: in HwStorFindAdapter, at IRQL 15"), "{said}");
    assert!(said.contains(" Mini Nonp          4                0         4       400\n"), "{said}");
}

#[test]
fn half_duplex_starts_io_at_dirql() {
    let (said, code) = miniport(2);
    assert_eq!(code, Some(1), "{said}");
    let finding = "allocation above DISPATCH_LEVEL: in HwStorStartIo, at IRQL 5: tag 'Mini', 40 bytes";
    assert!(said.starts_with(finding), "{said}");
}

#[test]
fn an_adapter_that_is_not_found_or_not_initialized() {
    let (said, code) = miniport(NOT_FOUND);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.starts_with("hba0: HwStorFindAdapter returned 0, SP_RETURN_NOT_FOUND\nleak: "), "{said}");
    assert!(said.contains("(tag 'Mini', 50 bytes), allocated in HwStorFindAdapter for hba0\n"), "{said}");
    let (said, code) = miniport(4);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.starts_with("hba0: HwStorInitialize returned FALSE\n"), "{said}");
    let (said, code) = miniport(9);
    assert_eq!(code, Some(2), "{said}");
    let why = "StorPortInitialize: HwStartIo is NULL\nDriverEntry failed: it returned 0xC1000006\n";
    assert!(said.starts_with(why), "{said}");
}

#[test]
fn requests_completed_twice_or_never() {
    let (said, code) = miniport(5);
    assert_eq!(code, Some(1), "{said}");
    let finding = "misuse in HwStorStartIo: a request was completed that was not outstanding\n";
    assert_eq!(said.matches(finding).count(), 4, "{said}");
    let (said, code) = miniport(COMPLETES_NEVER);
    assert_eq!(code, Some(2), "{said}");
    assert_eq!(said, "hba0: 16 requests were never completed\n");
}

#[test]
fn locks_acquired_or_released_twice() {
    let (said, code) = miniport(7);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.starts_with("misuse in HwStorStartIo: hba"), "{said}");
    assert!(said.contains(": a lock is acquired that this thread holds: it would wait for ever\n"), "{said}");
    let (said, code) = miniport(10);
    assert_eq!(code, Some(1), "{said}");
    let finding = ": a lock is released that this thread does not hold\n";
    assert_eq!(said.matches(finding).count(), 4, "{said}");
}

#[test]
fn the_tagged_pools_routines_are_attributed_too() {
    let (said, code) = miniport(8);
    assert_eq!(code, Some(1), "{said}");
    let block = "(tag 'Mini', 200 bytes), allocated in HwStorStartIo";
    for (kind, end) in [
        ("wrong tag: ", ", freed in HwStorStartIo with tag 'Othr'"),
        ("wrong adapter: ", " for the driver, freed in HwStorStartIo through hba0"),
        ("double free: ", ", freed in HwStorStartIo, freed again in HwStorStartIo"),
    ] {
        let finding = said.lines().find(|line| line.starts_with(kind));
        let finding = finding.unwrap_or_else(|| panic!("no {kind} in {said}"));
        assert!(finding.contains(&format!("{block}{end}")), "{finding}");
    }
    let counts = "0 leaked, 4 freed twice, 4 through another adapter, 4 other bad frees, 0 above";
    assert!(said.contains(counts), "{said}");
}

#[test]
fn a_dpc_that_is_queued_when_its_adapter_goes() {
    let (said, code) = miniport(11);
    assert_eq!(code, Some(0), "{said}");
}

/// What the host says of the RAM disk with this mistake when each allocation fails once, and its exit status.
fn fail_each(bug: u32, name: &str, arguments: &[&str]) -> (String, Option<i32>) {
    let program = program(&format!("each-{name}"), &[&format!("-DBUG={bug}")], &ramdisk(), PATIENCE);
    let output = Command::new(program).arg("--fail-each").args(arguments).output().unwrap();
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    (String::from_utf8(output.stdout).unwrap(), output.status.code())
}

#[test]
fn a_good_miniport_loses_nothing_whichever_allocation_fails() {
    let (said, code) = fail_each(0, "good", &[]);
    assert_eq!(code, Some(0), "{said}");
    let last = said.lines().find(|line| line.contains("; nothing found")).expect(&said);
    let allocations: u32 = last.split(' ').next().unwrap().parse().unwrap();
    // Two disks, an event each, and a request's memory for each that a disk knows.
    assert!(allocations > 2 * 257 + 2 * 2 * 60, "{said}");
}

#[test]
fn a_leak_when_an_allocation_fails_is_found_and_its_line_named() {
    const LEAK_AT_START: u32 = 7;
    let (said, code) = life(LEAK_AT_START, false);
    assert_eq!(code, Some(0), "{said}");
    let (said, code) = fail_each(LEAK_AT_START, "bad", &["--tags=Ram?", "--step=100", "--requests=1"]);
    assert_eq!(code, Some(1), "{said}");
    let source = std::fs::read_to_string(ramdisk()).unwrap();
    let line = source.lines().position(|line| line.contains("BLOCK, TAG_DISK, ")).unwrap() + 1;
    let place = format!("miniport/ramdisk.c:{line}\n");
    let at = |text: &str| said.find(text).unwrap_or_else(|| panic!("no {text} in {said}"));
    let head =
        at("error: it leaves 100 blocks allocated, 409600 bytes; 1 violation, when allocation 101 fails\n");
    let refused = at("  refused: 4096 bytes, tag 'RamD', asked for here\n");
    let left = at("  left: 100 blocks of 4096 bytes, tag 'RamD', allocated here\n");
    assert!(head < refused && refused < left, "{said}");
    for part in [&said[refused..left], &said[left..]] {
        assert!(part.contains("find_adapter  ") && part.contains(&place), "no {place} in {part}");
    }
    // One finding for all turns of the loop.
    let others = "note: the same, of more or fewer blocks, for n = 201, 301, 401, 501\n";
    assert!(said.contains(others) && said.matches("error: ").count() == 1, "{said}");
    assert!(
        said.contains("512 allocations; 6 runs with one of them refused; 5 runs with findings"),
        "{said}"
    );
}

/// What `--fail-each` says of tests/c/miniport.c in this mode.
fn miniport_each(mode: u32) -> (String, Option<i32>) {
    let miniport = here().join("tests/c/miniport.c");
    let program = program(&format!("each-mode-{mode}"), &[&format!("-DMODE={mode}")], &miniport, PATIENCE);
    let output = Command::new(program).args(["--fail-each", "--requests=1"]).output().unwrap();
    (String::from_utf8(output.stdout).unwrap(), output.status.code())
}

#[test]
fn a_miniport_that_does_not_start_has_not_passed() {
    for (mode, allocates, why) in [
        (NOT_FOUND, true, "hba0: HwStorFindAdapter returned 0, SP_RETURN_NOT_FOUND"),
        (4, false, "hba0: HwStorInitialize returned FALSE"),
        (9, false, "StorPortInitialize: HwStartIo is NULL"),
        (
            12,
            false,
            "StorPortInitialize: HwInitializationDataSize is 8, and sizeof(HW_INITIALIZATION_DATA) is ",
        ),
        (13, false, "DriverEntry succeeded, and did not call StorPortInitialize"),
        (14, false, "StorPortInitialize: HwInitializationData is NULL"),
    ] {
        let (said, code) = miniport_each(mode);
        assert_eq!(code, Some(2), "{said}");
        let last = said.lines().last().unwrap_or_default();
        let expected = format!("it does not start, though no allocation was refused: {why}");
        assert!(last.starts_with(&expected), "{said}");
        // What was found before is told all the same.
        assert_eq!(said.contains("error: it leaves 1 block allocated, 50 bytes"), allocates, "{said}");
        assert!(!said.contains("nothing found"), "{said}");
    }
}

#[test]
fn what_the_host_finds_in_a_run_is_told_by_a_status_and_explained() {
    for (mode, status) in
        [(5, "status 3: the host found misuse. "), (7, "status 2: requests were never completed, ")]
    {
        let (said, code) = miniport_each(mode);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.starts_with("error: it ends the process, with status "), "{said}");
        assert_eq!(said.lines().filter(|line| line.starts_with(status)).count(), 1, "{said}");
    }
}

#[test]
fn a_miniport_that_allocates_nothing_passes_and_nothing_was_tried() {
    let (said, code) = miniport_each(11);
    assert_eq!((said.as_str(), code), ("0 allocations: nothing was tried\n", Some(0)));
}

#[test]
fn a_dump_that_finds_no_adapter_is_told_as_the_dumps() {
    let (said, code) = miniport(15);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.starts_with("dump mode: HwStorFindAdapter returned 2, SP_RETURN_ERROR\n Tag"), "{said}");
}

#[test]
fn a_miniport_of_usual_lines_compiles() {
    let (said, code) = run("usual", &[], &here().join("tests/c/usual.c"), PATIENCE, false);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.starts_with(" Tag"), "{said}");
}

#[test]
fn help_has_each_argument() {
    let program = program("help", &["-DBUG=0"], &ramdisk(), PATIENCE);
    let output = Command::new(program).arg("--help").output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty());
    let said = String::from_utf8(output.stdout).unwrap();
    for argument in
        ["suspicions", "strict", "--fail-each", "--tags=", "--most=", "--step=", "--seed=", "--stop"]
    {
        assert!(said.contains(argument), "no {argument} in {said}");
    }
    assert!(said.contains("STORPORT_POOL_VERIFY") && said.contains("Exit status: "), "{said}");
}

#[test]
fn bad_arguments_are_told_in_a_line() {
    let program = program("arguments", &["-DBUG=0"], &ramdisk(), PATIENCE);
    for (arguments, said) in [
        (&["--fail-ech"][..], "--fail-ech: no such argument; --help has them all\n"),
        (&["--fail-each", "--most=0"], "--most=0: no such number\n"),
        (&["--fail-each", "--step=-1"], "--step=-1: no such number\n"),
        (&["--fail-each", "--seed=99999999999999999999"], "--seed=99999999999999999999: no such number\n"),
        (&["--stop"], "--stop: needs --fail-each\n"),
    ] {
        let output = Command::new(&program).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert_eq!((String::from_utf8_lossy(&output.stderr).as_ref(), output.stdout.len()), (said, 0));
    }
    let output = Command::new(&program).args(["--fail-each", "--tags=far too long for it"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("1 to 16 printable characters "));
}

#[test]
fn the_hosts_storport_header() {
    const OURS: &str = "storport_pool.h";
    // The host's routines, which are not linked here: compiled alone.
    for order in [["storport.h", OURS], [OURS, "storport.h"], ["ntddk.h", OURS], [OURS, "ntddk.h"]] {
        for (cpp, standard) in [(false, "c11"), (false, "c99"), (true, "c++17")] {
            let source = out(&format!("host-order-{standard}")).with_extension(if cpp { "cpp" } else { "c" });
            let text = format!("#include \"{}\"\n#include \"{}\"\n", order[0], order[1]);
            let body = "ULONG both(PVOID disk);\nULONG both(PVOID disk) {\n    PVOID block;\n    ULONG status = \
                        StorPortAllocatePool(disk, 1, 2, &block);\n    if (status != STOR_STATUS_SUCCESS) return \
                        status;\n    return StorPortFreePool(disk, block) + KeGetCurrentIrql();\n}\n";
            std::fs::write(&source, text + body).unwrap();
            compile(compiler(cpp, standard).arg("-fsyntax-only").arg(&source));
        }
    }
}
