//! As capi/build.rs, from here.

fn main() {
    println!("cargo:rerun-if-changed=../c/extended.c");
    cc::Build::new().file("../c/extended.c").include("../include").compile("storport_pool_extended");
}
