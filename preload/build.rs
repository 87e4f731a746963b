//! How the library is linked.

fn main() {
    // The kernel may look at a thread's last section after the library was closed.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
    println!("cargo:rerun-if-changed=build.rs");
}
