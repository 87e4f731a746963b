//! What a global allocator's misuse comes to: told, or the program is stopped. Each case in a child process.
#![cfg(target_os = "linux")]

#[path = "common/quiet.rs"]
mod quiet;

use std::alloc::{GlobalAlloc, Layout};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output};
use std::sync::Mutex;

use quiet::Quiet;
use storport_pool::{Status, TaggedAlloc, Violation, ViolationKind, tag};

#[global_allocator]
static GLOBAL: Quiet = Quiet;

static TELLS: TaggedAlloc = TaggedAlloc::new(tag!("Tell"), 1 << 20);
static STOPS: TaggedAlloc = TaggedAlloc::new(tag!("Main"), 1 << 20).abort_on_misuse(true);

const LAYOUT: Layout = Layout::new::<[u64; 3]>();
const CASE: &str = "STORPORT_POOL_TEST_CASE";

fn misuse(of: &TaggedAlloc, case: &str) -> u64 {
    // SAFETY: what the pool refuses changes nothing; nobody uses the blocks.
    unsafe {
        let block = of.alloc(LAYOUT);
        let address = block.addr() as u64;
        match case {
            "double" => {
                of.dealloc(block, LAYOUT);
                say(address);
                of.dealloc(block, LAYOUT);
            }
            "interior" => {
                say(address + 8);
                of.dealloc(block.add(8), LAYOUT);
            }
            "foreign" => {
                say(0x1230);
                of.dealloc(std::ptr::without_provenance_mut(0x1230), LAYOUT);
            }
            "realloc" => {
                of.dealloc(block, LAYOUT);
                say(address);
                assert!(of.realloc(block, LAYOUT, 100).is_null());
            }
            _ => unreachable!(),
        }
        address
    }
}

/// The address, for the parent; and from here on this thread may not ask for memory.
fn say(address: u64) {
    if std::env::var_os(CASE).is_some() {
        println!("address {address}");
        GLOBAL.shut();
    }
}

#[test]
fn child() {
    if let Ok(case) = std::env::var(CASE) {
        // Made before: the line alone is looked at.
        assert!(STOPS.pool().is_some());
        misuse(&STOPS, Box::leak(case.into_boxed_str()));
        GLOBAL.open();
    }
}

fn stopped(case: &str) -> (Output, u64) {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture"])
        .env(CASE, case)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let address = said.split("address ").nth(1).unwrap().lines().next().unwrap().parse().unwrap();
    (output, address)
}

#[test]
fn the_bug_checks_line_then_abort() {
    let double = |at: u64| {
        format!(
            "\n*** STOP: 0x000000C2 (0x0000000000000007, 0x0000000000000000, 0x000000006E69614D, {at:#018X})\n\
             *** storport-pool: double free at {at:#x}, tag 'Main', 24 bytes, of adapter \"program\"; \
             Windows stops with 0xC2 (0x7, 0x0, 0x6E69614D, {at:#X})\n"
        )
    };
    let interior = |at: u64| {
        format!(
            "\n*** STOP: 0x000000C2 (0x0000000000000099, {at:#018X}, 0x0000000000000000, 0x0000000000000000)\n\
             *** storport-pool: free of an address inside a block at {at:#x}, tag 'Main', 24 bytes, of adapter \"program\"; \
             Windows stops with 0xC2 (0x99, {at:#X}, 0x0, 0x0)\n"
        )
    };
    let foreign = |at: u64| {
        format!(
            "\n*** STOP: 0x000000C2 (0x0000000000000043, {at:#018X}, 0x0000000000000000, 0x0000000000000000)\n\
             *** storport-pool: free of an address outside the pool at {at:#x}, called for adapter \"program\"; \
             Windows stops with 0xC2 (0x43, {at:#X}, 0x0, 0x0)\n"
        )
    };
    let cases: [(&str, &dyn Fn(u64) -> String); 4] =
        [("double", &double), ("interior", &interior), ("foreign", &foreign), ("realloc", &double)];
    for (case, line) in cases {
        let (output, address) = stopped(case);
        assert_eq!(output.status.signal(), Some(nix::libc::SIGABRT), "{case}: {output:?}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), line(address), "{case}");
    }
}

#[test]
fn the_programs_own_hook_hears() {
    let pool = TELLS.pool().unwrap();
    static HEARD: Mutex<Vec<Violation>> = Mutex::new(Vec::new());
    pool.on_violation(|violation| HEARD.lock().unwrap().push(*violation));
    let cases = [
        ("double", ViolationKind::DoubleFree),
        ("interior", ViolationKind::Interior),
        ("foreign", ViolationKind::Foreign),
        ("realloc", ViolationKind::DoubleFree),
    ];
    for (case, kind) in cases {
        let address = misuse(&TELLS, case);
        let heard = std::mem::take(&mut *HEARD.lock().unwrap());
        assert_eq!(heard.len(), 1, "{case}: {heard:?}");
        assert_eq!((heard[0].kind, heard[0].caller), (kind, TELLS.adapter().unwrap()), "{case}");
        if case == "double" {
            assert_eq!((heard[0].address, heard[0].tag), (address, Some(tag!("Tell"))));
        }
    }
    assert_eq!(pool.violations(), 4);
    assert_eq!(pool.usage().live, 2, "the block whose inside was freed, and that beside the foreign address");
}

/// Blocks of the pool's other adapters are not the allocator's to free.
#[test]
fn another_adapters_block() {
    static OWN: TaggedAlloc = TaggedAlloc::new(tag!("Main"), 1 << 20);
    let pool = OWN.pool().unwrap();
    let disk = pool.add_adapter("disk").unwrap();
    let mut block = 0;
    assert_eq!(pool.allocate(disk, 24, tag!("Disk"), Some(&mut block)), Status::SUCCESS);
    let pointer = std::ptr::with_exposed_provenance_mut(block as usize);
    // SAFETY: refused.
    unsafe {
        OWN.dealloc(pointer, LAYOUT);
        assert!(OWN.realloc(pointer, LAYOUT, 32).is_null());
        assert_eq!(pool.violations(), 2);
        assert_eq!(pool.free(disk, block), Status::SUCCESS);
    }
}
