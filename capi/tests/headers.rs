//! The header by itself, and beside other headers in any order, in each language; ci/headers.sh has mingw-w64's.

mod common;

use std::process::Command;

use common::{compiler, here, out, run, with_library};

const LANGUAGES: [(bool, &str); 6] =
    [(false, "c89"), (false, "c99"), (false, "c11"), (true, "c++98"), (true, "c++11"), (true, "c++17")];
const OURS: &str = "storport_pool.h";

/// Compiles tests/c/order.c with these headers in this order, in each language, and runs it. `shared`: against the shared
/// library, which has no StorPortExtendedFunction.
fn compiles(name: &str, headers: &[&str], flags: &[&str], shared: bool) {
    for (cpp, standard) in LANGUAGES {
        let name = format!("order-{name}-{standard}");
        let order = out(&format!("{name}.h"));
        let text: String = headers.iter().map(|header| format!("#include \"{header}\"\n")).collect();
        std::fs::write(&order, text).unwrap();
        let source = out(&name).with_extension(if cpp { "cpp" } else { "c" });
        std::fs::copy(here().join("tests/c/order.c"), &source).unwrap();
        let program = out(&name);
        let mut compiler = compiler(cpp, standard);
        compiler
            .arg("-pedantic-errors")
            .arg(format!("-DORDER=\"{}\"", order.display()))
            .args(flags)
            .arg("-o")
            .arg(&program);
        run(with_library(compiler.arg(&source), shared));
        run(&mut Command::new(program));
    }
}

#[test]
fn by_itself() {
    compiles("alone", &[OURS], &[], true);
    compiles("twice", &[OURS, OURS], &[], true);
}

/// The C library's headers, which declare what nobody else may.
#[test]
fn the_c_librarys() {
    for (n, theirs) in ["stdlib.h", "pthread.h", "string.h"].into_iter().enumerate() {
        for (m, order) in [[OURS, theirs], [theirs, OURS]].into_iter().enumerate() {
            compiles(&format!("libc-{n}-{m}"), &order, &["-Werror", "-Wredundant-decls"], true);
        }
    }
}

#[test]
fn a_kit_with_unknown_guards() {
    let kit = format!("-I{}", here().join("tests/c/kits/wine").display());
    for (n, kit_header) in ["windef.h", "wdm.h", "storport.h"].into_iter().enumerate() {
        // What is left to include is included by the file, in the end.
        for (m, order) in [[kit_header, OURS], [OURS, kit_header]].into_iter().enumerate() {
            let headers = [order[0], order[1], "storport.h", OURS];
            compiles(&format!("wine-{n}-{m}"), &headers, &[&kit], false);
        }
    }
}
