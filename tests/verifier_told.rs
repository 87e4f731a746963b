//! Each misuse for which Windows stops (and what a verifier finds besides), in a child process, with its whole message.
#![cfg(all(feature = "verifier", target_os = "linux"))]

use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use storport_pool::{AdapterId, Guard, Irql, Pool, PoolOptions, PoolTag, Rule, Status, VerifierOptions, tag};

type Case = fn(&'static Pool, AdapterId);

/// Its name, and what it does.
const CASES: &[(&str, Case)] = &[
    ("double_free", double_free),
    ("never_allocated", |pool, disk| refused(pool, disk, pool.range().0 + (1 << 20))),
    ("foreign", |pool, disk| refused(pool, disk, 0x1000)),
    ("interior", |pool, disk| refused(pool, disk, start_io(pool, disk, 100) + 32)),
    ("irql", irql),
    ("zero_bytes", |pool, disk| not_allocated(pool, disk, 0, tag!("Srb0"))),
    ("zero_tag", |pool, disk| not_allocated(pool, disk, 64, PoolTag::from_raw(0))),
    ("big_tag", |pool, disk| not_allocated(pool, disk, 64, tag!("BIG"))),
    ("unreadable_tag", |pool, disk| not_allocated(pool, disk, 64, tag!("...."))),
    ("overrun", overrun),
    ("special_overrun", special_overrun),
    ("special_underrun", special_underrun),
    ("guard_page", guard_page),
    ("write_after_free", write_after_free),
    ("access_after_free", access_after_free),
    ("left_behind", left_behind),
    ("wrong_owner", wrong_owner),
    ("overwritten", overwritten),
];

/// What comes before this is no tail call, whatever the optimisation: the caller's frame stays.
fn stays() {
    std::hint::black_box(());
}

#[inline(never)]
fn start_io(pool: &Pool, disk: AdapterId, bytes: u32) -> u64 {
    let mut block = 0;
    assert_eq!(pool.allocate(disk, bytes, tag!("Srb0"), Some(&mut block)), Status::SUCCESS);
    block
}

#[inline(never)]
fn complete(pool: &Pool, disk: AdapterId, block: u64) {
    // SAFETY: nobody uses it afterwards, but where a case says so.
    assert_eq!(unsafe { pool.free(disk, block) }, Status::SUCCESS);
}

#[inline(never)]
fn refused(pool: &Pool, disk: AdapterId, block: u64) {
    // SAFETY: it is refused.
    assert_eq!(unsafe { pool.free(disk, block) }, Status::INVALID_PARAMETER);
}

fn not_allocated(pool: &Pool, disk: AdapterId, bytes: u32, tag: PoolTag) {
    let mut block = 1;
    assert_eq!(pool.allocate(disk, bytes, tag, Some(&mut block)), Status::INVALID_PARAMETER);
    assert_eq!(block, 0);
}

fn poke(address: u64, byte: u8) {
    // SAFETY: memory of the pool's; or the case is that it is not accessible.
    unsafe { (address as *mut u8).write_volatile(byte) };
}

fn add(pool: &'static Pool, rule: Rule) {
    pool.attached().unwrap().add(rule).unwrap();
}

fn double_free(pool: &'static Pool, disk: AdapterId) {
    let block = start_io(pool, disk, 100);
    complete(pool, disk, block);
    refused(pool, disk, block);
    stays();
}

fn irql(pool: &'static Pool, disk: AdapterId) {
    let block = start_io(pool, disk, 100);
    let _dirql = Irql::raise(Irql::new(5).unwrap());
    let mut other = 0;
    assert_eq!(pool.allocate(disk, 64, tag!("Srb0"), Some(&mut other)), Status::INVALID_IRQL);
    // SAFETY: it is refused.
    assert_eq!(unsafe { pool.free(disk, block) }, Status::INVALID_IRQL);
}

fn overrun(pool: &'static Pool, disk: AdapterId) {
    let block = start_io(pool, disk, 100);
    poke(block + 100, 0x41);
    poke(block + 102, 0x42);
    complete(pool, disk, block);
    stays();
}

fn special_overrun(pool: &'static Pool, disk: AdapterId) {
    add(pool, Rule::new().guard(Guard::After));
    let block = start_io(pool, disk, 100);
    poke(block + 101, 0x41);
    complete(pool, disk, block);
    stays();
}

fn special_underrun(pool: &'static Pool, disk: AdapterId) {
    add(pool, Rule::new().guard(Guard::After));
    let block = start_io(pool, disk, 100);
    poke(block - 1, 0x41);
    complete(pool, disk, block);
    stays();
}

fn guard_page(pool: &'static Pool, disk: AdapterId) {
    add(pool, Rule::new().guard(Guard::After));
    let block = start_io(pool, disk, 96);
    poke(block + 96, 0x41);
    stays();
}

fn write_after_free(pool: &'static Pool, disk: AdapterId) {
    let block = start_io(pool, disk, 100);
    complete(pool, disk, block);
    poke(block + 8, 0x41);
    pool.attached().unwrap().sweep();
}

fn access_after_free(pool: &'static Pool, disk: AdapterId) {
    add(pool, Rule::new().guard(Guard::After));
    let block = start_io(pool, disk, 100);
    complete(pool, disk, block);
    poke(block + 8, 0x41);
    stays();
}

fn left_behind(pool: &'static Pool, disk: AdapterId) {
    // (Not three calls in a row, which a compiler may make of a loop.)
    let sizes = std::hint::black_box(vec![208; 3]);
    for bytes in sizes {
        start_io(pool, disk, bytes);
    }
    pool.remove_adapter(disk).unwrap();
    eprint!("{}", pool.leaks(Some(disk)));
}

fn wrong_owner(pool: &'static Pool, disk: AdapterId) {
    let other = pool.add_adapter("disk1").unwrap();
    let block = start_io(pool, disk, 100);
    refused(pool, other, block);
    stays();
}

fn overwritten(pool: &'static Pool, disk: AdapterId) {
    add(pool, Rule::new().overwrite());
    let mut out = start_io(pool, disk, 100);
    // SAFETY: the pool lives.
    let status = unsafe { pool.caller(disk).allocate(64, tag!("Srb0"), &mut out) };
    assert_eq!(status, Status::SUCCESS);
}

const CASE: &str = "STORPORT_POOL_TOLD_CASE";

/// The child: does what its case does, and writes what the hook hears.
fn child(name: &str) {
    let pool: &'static Pool =
        Box::leak(Box::new(PoolOptions::new(64 << 20).strict_tags(true).build().unwrap()));
    let disk = pool.add_adapter("disk0").unwrap();
    pool.on_violation(|violation| eprint!("{}", violation.report()));
    let checks = Rule::new().canary().track().quarantine().irql();
    pool.verifier(VerifierOptions::new()).unwrap().add(checks).unwrap();
    pool.explain_faults().unwrap();
    let &(_, case) = CASES.iter().find(|(case, _)| *case == name).unwrap();
    case(pool, disk);
    std::process::exit(0);
}

/// Numbers that differ from run to run become `#`: addresses, and the tests' own lines.
fn masked(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("0x") {
        out.push_str(&rest[..at]);
        let digits = rest[at + 2..].find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(rest.len() - at - 2);
        let number = &rest[at..at + 2 + digits];
        out.push_str(if digits > 6 { "#" } else { number });
        rest = &rest[at + 2 + digits..];
    }
    out.push_str(rest);
    let lines = out.lines().map(|line| match line.rsplit_once(".rs:") {
        Some((before, _)) => format!("{before}.rs:#"),
        None => line.to_string(),
    });
    // Where the test's own machinery begins differs from build to build.
    let mut own = false;
    let kept = lines.filter(|line| {
        let frame = line.starts_with("      ") && !line[6..].starts_with(' ');
        own = frame && (own || line.contains("verifier_told::child"));
        // The standard library's own differ from version to version.
        !own && !line.contains("/rustc/")
    });
    kept.map(|line| line + "\n").collect()
}

#[test]
fn each_misuse_is_told_in_full() {
    if let Ok(name) = std::env::var(CASE) {
        child(&name);
    }
    // What is told, by case: `#` stands for a number that differs from run to run.
    let expected = include_str!("verifier_told.txt");
    let mut told_all = String::new();
    for (name, _) in CASES {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "each_misuse_is_told_in_full", "--nocapture"])
            .env(CASE, name)
            .output()
            .unwrap();
        let faults = ["guard_page", "access_after_free"].contains(name);
        let told = masked(&String::from_utf8(child.stderr).unwrap());
        assert_eq!(child.status.signal(), faults.then_some(11), "{name}: {told}");
        assert!(faults || child.status.success(), "{name}: {told}");
        told_all += &format!("== {name}\n{told}");
    }
    if let Some((n, (told, line))) =
        told_all.lines().zip(expected.lines()).enumerate().find(|(_, (told, line))| told != line)
    {
        panic!("line {}: {told:?}, not {line:?}; in all:\n{told_all}", n + 1);
    }
    assert_eq!(told_all.lines().count(), expected.lines().count(), "{told_all}");
}
