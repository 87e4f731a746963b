//! Compiles what Rust cannot define, and the driver kit's names, an object for each kind.

fn main() {
    let files = ["c/extended.c", "c/pin.c", "c/kit/storport.c", "c/kit/executive.c", "c/kit/irql.c"];
    println!("cargo:rerun-if-changed=include/storport_pool.h");
    let mut build = cc::Build::new();
    for file in files {
        println!("cargo:rerun-if-changed={file}");
        build.file(file);
    }
    build.include("include").std("c99");
    build.flag_if_supported("-Wall").flag_if_supported("-Wextra").flag_if_supported("-Wpedantic");
    // The kernel may look at a thread's last section after the library was closed.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
    build.compile("storport_pool_extended");
}
