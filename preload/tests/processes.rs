//! Threads, forks, spawned children, handlers, hard reallocations, and C++.

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod common;

use common::{good, preloaded, program, reported, without_rseq};

fn on_both(file: &str, bytes: &str, says: &str) {
    for without in [false, true] {
        let mut command = preloaded(program(file));
        if without {
            command = without_rseq(command);
        }
        let output =
            good(command.env("STORPORT_PRELOAD_BYTES", bytes).env("STORPORT_PRELOAD_REPORT", "stderr"));
        assert_eq!(String::from_utf8_lossy(&output.stdout), says);
        assert_eq!(reported(&output, "violations"), 0);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!told.contains("STOP"), "{told}");
        // rseq may not be there.
        assert!(!without || told.contains("commit=twin"), "{told}");
    }
}

#[test]
fn threads_and_children() {
    on_both("processes.c", "8G", "much done, 0 wrong\n");
}

#[test]
fn a_handler_may_allocate() {
    on_both("handlers.c", "8G", "often, 0 wrong\n");
}

/// In spans of one page, and of 64 KiB.
#[test]
fn a_full_range_among_threads_and_handlers() {
    for bytes in ["6M", "12M"] {
        on_both("crowded.c", bytes, "often refused, 0 wrong\n");
    }
}

/// And its report comes, though the program has closed standard error.
#[test]
fn realloc_where_it_is_hard() {
    on_both("realloced.c", "16M", "0 wrong\n");
}

#[test]
fn cpp_has_all_its_operators() {
    on_both("objects.cpp", "8G", "0 wrong\n");
}

/// Its executable's functions come before the library's, in the library too; none mixes the two.
#[test]
fn a_program_with_a_malloc_of_its_own() {
    on_both("own.c", "8G", "0 wrong\n");
}
