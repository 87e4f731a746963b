//! Compiles the one function that Rust cannot define.

fn main() {
    println!("cargo:rerun-if-changed=c/extended.c");
    println!("cargo:rerun-if-changed=include/storport_pool.h");
    let mut build = cc::Build::new();
    build.file("c/extended.c").include("include").std("c99");
    build.flag_if_supported("-Wall").flag_if_supported("-Wextra").flag_if_supported("-Wpedantic");
    // The kernel may look at a thread's last section after the library was closed.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
    build.compile("storport_pool_extended");
}
