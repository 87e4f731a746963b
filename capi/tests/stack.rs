//! How much stack the calls take: no more than docs/PORTING.md says.

mod common;

use std::process::Command;

use common::{compiler, given_libraries, here, libraries, out, run};

/// What the table of calls says, in bytes, by the names that tests/c/stack.c prints.
const MOST: [(&str, u64); 22] = [
    ("allocate", 4096),
    ("free", 256),
    ("free_refused", 2048),
    ("allocate_all", 4096),
    ("free_all", 256),
    ("bulk", 4096),
    ("tagged", 4096),
    ("create_destroy", 24576),
    ("adapter", 2048),
    ("trim", 4096),
    ("usage", 1536),
    ("snapshot", 6144),
    ("last_error", 1536),
    ("aligned", 4096),
    ("resize", 256),
    ("block_at", 256),
    ("bulk_refused", 2304),
    ("remove_leak", 4096),
    ("verified", 6144),
    ("verified_free", 4096),
    ("verified", 6144),
    ("overrun", 4096),
];

#[test]
fn as_much_stack_as_is_said() {
    // What is not optimized takes a multiple: then only what is far off is found.
    let factor = if given_libraries().is_some() { 1 } else { 16 };
    let program = out("stack");
    let mut compiler = compiler(false, "c11");
    compiler.arg("-o").arg(&program).arg(here().join("tests/c/stack.c"));
    run(compiler.arg(libraries().join("libstorport_pool.a")).args(["-lpthread", "-lm", "-ldl"]));
    let said = run(&mut Command::new(program)).stdout;
    let said = String::from_utf8(said).unwrap();
    let mut measured = said.lines().map(|line| line.split_once(' ').unwrap());
    for (name, most) in MOST {
        let (call, bytes) = measured.next().unwrap();
        let bytes: u64 = bytes.parse().unwrap();
        assert!(call == name && bytes <= most * factor, "{call} takes {bytes} bytes, {name} {most} at most");
    }
    assert!(measured.next().is_none() && said.contains("trim "), "{said}");
}
