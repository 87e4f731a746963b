//! The committed header is what cbindgen makes of the crate.

use std::path::Path;

#[test]
fn the_header_is_what_the_crate_says() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut config = cbindgen::Config::from_file(here.join("cbindgen.toml")).unwrap();
    config.after_includes = Some(std::fs::read_to_string(here.join("kit.h")).unwrap());
    let mut made = Vec::new();
    cbindgen::Builder::new().with_crate(here).with_config(config).generate().unwrap().write(&mut made);
    // What Rust's readers know as a heading.
    let made = String::from_utf8(made).unwrap().replace("// # Safety\n", "// The caller promises:\n");
    let file = here.join("include/storport_pool.h");
    if std::env::var_os("STORPORT_POOL_WRITE_HEADER").is_some() {
        std::fs::write(&file, &made).unwrap();
    }
    let committed = std::fs::read_to_string(&file).unwrap();
    assert!(
        committed == made,
        "{} is not what cbindgen makes; STORPORT_POOL_WRITE_HEADER=1 writes it anew",
        file.display()
    );
}
