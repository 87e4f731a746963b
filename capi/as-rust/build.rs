//! As capi/build.rs, from here.

fn main() {
    let files = ["c/extended.c", "c/pin.c", "c/kit/storport.c", "c/kit/executive.c", "c/kit/irql.c"];
    println!("cargo:rerun-if-changed=../include/storport_pool.h");
    let mut build = cc::Build::new();
    for file in files.map(|file| format!("../{file}")) {
        println!("cargo:rerun-if-changed={file}");
        build.file(file);
    }
    build.include("../include").compile("storport_pool_extended");
}
