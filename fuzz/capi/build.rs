//! As capi/build.rs, from here.

fn main() {
    println!("cargo:rerun-if-changed=../../capi/c/extended.c");
    cc::Build::new().file("../../capi/c/extended.c").include("../../capi/include").compile("storport_pool_extended");
}
