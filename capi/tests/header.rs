//! The committed header is what cbindgen makes of the crate.

use std::path::Path;

#[test]
fn the_header_is_what_the_crate_says() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut config = cbindgen::Config::from_file(here.join("cbindgen.toml")).unwrap();
    config.after_includes = Some(std::fs::read_to_string(here.join("prelude.h")).unwrap());
    let mut made = Vec::new();
    cbindgen::Builder::new().with_crate(here).with_config(config).generate().unwrap().write(&mut made);
    // What Rust's readers know as a heading.
    let made =
        short_comments(&String::from_utf8(made).unwrap()).replace("# Safety\n", "The caller promises:\n");
    // C89 has no such comments.
    let made = made.replace("#endif // __cplusplus", "#endif").replace("#endif  // __cplusplus", "#endif");
    let made = made.replace("}  // extern \"C\"", "}");
    // Behind the guard, since it is read at each inclusion.
    let made = made + &std::fs::read_to_string(here.join("kit.h")).unwrap();
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

/// Comments begin and end in their first and last line of text.
fn short_comments(made: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    let (mut begins, mut inside) = (false, false);
    for line in made.lines() {
        let (text, indent) = (line.trim(), line.len() - line.trim_start().len());
        match text {
            "/*" => (begins, inside) = (true, true),
            "*/" => {
                lines.last_mut().unwrap().push_str(" */");
                inside = false;
            }
            _ if begins => {
                lines.push(format!("{}/* {text}", " ".repeat(indent - 1)));
                begins = false;
            }
            "" => lines.push(String::new()),
            _ if inside => lines.push(format!("{}{text}", " ".repeat(indent + 2))),
            _ => lines.push(line.to_owned()),
        }
    }
    lines.join("\n") + "\n"
}
