//! `storport-pool inspect`: a pool's metadata in a file, as the pool itself knows it.

mod common;

use std::path::Path;
use std::process::{Command, Output};
use std::ptr::NonNull;

use common::{folder, text};
use serde_json::Value;
use storport_pool::{
    Config, Image, ImageError, Platform, Pool, PoolOptions, Portable, SingleCpu, TagPattern, tag,
};

fn run(folder: &Path, arguments: &[&str]) -> Output {
    let mut program = Command::new(env!("CARGO_BIN_EXE_storport-pool"));
    program.current_dir(folder).arg("inspect").args(arguments).output().unwrap()
}

/// What the program shows, when all is well.
fn shown(folder: &Path, arguments: &[&str]) -> String {
    let output = run(folder, arguments);
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()), "{arguments:?}");
    text(&output.stdout)
}

fn json(folder: &Path, arguments: &[&str]) -> Value {
    serde_json::from_str(&shown(folder, arguments)).unwrap()
}

/// Blocks of two tags, and a large run. The last one's address.
fn busy<P: Platform>(pool: &Pool<P>) -> u64 {
    let disk = pool.add_adapter("disk0").unwrap();
    let mut last = 0;
    for n in 0..50 {
        let (bytes, tag) = [(40, tag!("Ahci")), (300, tag!("Ahcj")), (100_000, tag!("Scsi"))][n % 3];
        assert!(pool.allocate(disk, bytes, tag, Some(&mut last)).is_success());
        if n % 5 == 0 {
            // SAFETY: nobody uses it.
            assert!(unsafe { pool.free(disk, last) }.is_success());
        }
    }
    last
}

fn pool() -> (Pool<Portable<SingleCpu>>, u64) {
    let pool = PoolOptions::new(32 << 20).build_on(Portable::new(SingleCpu)).unwrap();
    let last = busy(&pool);
    (pool, last)
}

/// A pool's metadata as it lies in memory, and what the pool says of itself.
fn memory() -> (Vec<u8>, Pool<Portable<SingleCpu>>, u64) {
    let config = Config::new(0x7000_0000_0000, 32 << 20);
    let bytes = config.metadata_bytes().unwrap();
    let memory = Box::leak(vec![0u64; bytes / 8 + 512].into_boxed_slice());
    let start = (memory.as_mut_ptr() as usize).next_multiple_of(4096) as *mut u8;
    let metadata = NonNull::slice_from_raw_parts(NonNull::new(start).unwrap(), bytes);
    // SAFETY: the memory is zeroed, nobody else's, and never given back; nobody uses the range.
    let pool = unsafe { Pool::new_in(&config, metadata, Portable::new(SingleCpu)) }.unwrap();
    let last = busy(&pool);
    // SAFETY: nobody writes to it meanwhile.
    (unsafe { metadata.as_ref() }.to_vec(), pool, last)
}

/// What the program says of a file is what the pool says.
fn says_the_same<P: Platform>(folder: &Path, file: &str, kind: &str, pool: &Pool<P>, block: u64) {
    let (base, bytes) = pool.range();
    let usage = pool.usage();
    let whole = shown(folder, &[file]);
    assert!(whole.starts_with(&format!("{kind} of a pool: {} KiB at {base:#x}\n", bytes >> 10)), "{whole}");
    assert!(
        whole.contains(&format!("{} live blocks, {} bytes asked for", usage.live, usage.bytes_requested))
    );
    assert!(whole.contains("adapters: disk0 (") && whole.ends_with("The metadata is well.\n"), "{whole}");
    let document = json(folder, &[file, "--json", "-"]);
    assert_eq!(document["source"], kind);
    assert_eq!(document["range"]["address"], format!("{base:#x}"));
    let mut rows = document["tags"].as_array().unwrap().iter();
    pool.for_each_tag(|row| {
        let line = format!(
            " {} Nonp {:10} {:16} {:9} {:9}",
            row.tag, row.allocs, row.frees, row.live, row.bytes_requested
        );
        assert!(whole.contains(&line), "{line} in {whole}");
        let theirs = rows.next().unwrap();
        assert_eq!((&theirs["tag"], &theirs["live"]), (&row.tag.to_string().into(), &row.live.into()));
    });
    assert!(rows.next().is_none());

    let at = format!("{:#x}", block + 5);
    let page = shown(folder, &[file, "--address", &at]);
    let document = json(folder, &[file, "--address", &at, "--json", "-"]);
    let mut lines = page.lines().skip(2);
    let mut rows = document["page"]["blocks"].as_array().unwrap().iter();
    let found = pool.inspect_page(block + 5, |block| {
        let (line, row) = (lines.next().unwrap(), rows.next().unwrap());
        assert!(line.contains(&format!("{:#x}", block.address)) && line.contains(&block.state.to_string()));
        assert_eq!(row["state"], block.state.to_string());
        assert_eq!((&row["capacity"], &row["bytes"]), (&block.capacity.into(), &block.bytes.into()));
        assert_eq!(row["owner"], block.owner.map_or(Value::Null, |_| "disk0".into()));
    });
    assert!(lines.next().is_none() && rows.next().is_none());
    assert_eq!(document["page"]["address"], format!("{:#x}", found.unwrap()));
    assert!(page.contains(&format!("\n*{block:#x}")), "{page}");

    let tagged = shown(folder, &[file, "--tag", "Ahc?"]);
    let document = json(folder, &[file, "--tag", "Ahc?", "--json", "-"]);
    let mut rows = document["blocks"].as_array().unwrap().iter();
    let count = pool.for_each_block_of(TagPattern::new("Ahc?").unwrap(), |block| {
        assert_eq!(rows.next().unwrap()["address"], format!("{:#x}", block.address));
        assert!(tagged.contains(&format!("{:#x}", block.address)));
    });
    assert!(rows.next().is_none() && count > 0 && tagged.contains(&format!("\n{count} blocks, ")));

    let report = pool.check().unwrap();
    let checked = shown(folder, &[file, "--check"]);
    assert!(
        checked.contains(&format!("live {}, loaded {}", report.places.live, report.places.loaded)),
        "{checked}"
    );
    let document = json(folder, &[file, "--check", "--json", "-"]);
    assert_eq!((&document["check"]["good"], &document["check"]["faults"]), (&true.into(), &0.into()));
    assert_eq!(document["check"]["places"]["never_carved"], report.places.never_carved);
}

#[test]
fn an_image() {
    let folder = folder("image");
    let (mut pool, block) = pool();
    std::fs::write(folder.join("pool.image"), pool.save()).unwrap();
    says_the_same(&folder, "pool.image", "image", &pool, block);
    // Into a file, and nothing else on the way.
    assert_eq!(shown(&folder, &["pool.image", "--json=out.json"]), "");
    let written: Value = serde_json::from_slice(&std::fs::read(folder.join("out.json")).unwrap()).unwrap();
    assert_eq!(written, json(&folder, &["--json", "-", "pool.image"]));
}

#[test]
fn memory_with_other_things_around() {
    let folder = folder("memory");
    let (bytes, pool, block) = memory();
    // Across the pieces in which the file is read.
    let before = (1 << 20) - 8192;
    std::fs::write(folder.join("memory"), [vec![0xA5; before], bytes.clone(), vec![1; 99]].concat()).unwrap();
    says_the_same(&folder, "memory", "memory", &pool, block);
    std::fs::write(folder.join("two"), [bytes.clone(), bytes].concat()).unwrap();
    assert_eq!(refused(&folder, &["two"]), "'two' has 2 pools: say which one by --pool 1 to --pool 2");
    assert_eq!(refused(&folder, &["two", "--pool", "3"]), "'two' has pools 1 to 2, but no pool 3");
    assert_eq!(refused(&folder, &["two", "--pool", "0"]), "'two' has pools 1 to 2, but no pool 0");
    assert_eq!(shown(&folder, &["two", "--pool", "2", "--check"]), shown(&folder, &["memory", "--check"]));
}

/// A core file of so many pieces of memory: each one's address, and its bytes, or how many it had that were not written.
fn core(pieces: &[(u64, Result<&[u8], u64>)]) -> Vec<u8> {
    const HEADER: usize = 64;
    const PROGRAM: usize = 56;
    let mut file = vec![0x7F, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    // A core file, of x86-64, of this version.
    file.extend([4u16.to_le_bytes(), 62u16.to_le_bytes()].concat());
    file.extend(1u32.to_le_bytes());
    [0, HEADER as u64, 0].iter().for_each(|offset| file.extend(offset.to_le_bytes()));
    file.extend(0u32.to_le_bytes());
    let sizes = [HEADER as u16, PROGRAM as u16, pieces.len() as u16, 0, 0, 0];
    sizes.iter().for_each(|size| file.extend(size.to_le_bytes()));
    let mut at = 8192;
    for (address, bytes) in pieces {
        let (written, whole) =
            bytes.map_or_else(|bytes| (0, bytes), |bytes| (bytes.len() as u64, bytes.len() as u64));
        // To be loaded, readable and writable.
        [1u32, 6].iter().for_each(|word| file.extend(word.to_le_bytes()));
        [at, *address, 0, written, whole, 4096].iter().for_each(|word| file.extend(word.to_le_bytes()));
        at += written;
    }
    file.resize(8192, 0);
    pieces.iter().filter_map(|(_, bytes)| bytes.ok()).for_each(|bytes| file.extend(bytes));
    file
}

#[test]
fn a_core_file() {
    let folder = folder("core");
    let (bytes, pool, block) = memory();
    let (low, high) = bytes.split_at(40960);
    let at = 0x7F00_0000_1000;
    let between = vec![7; 5000];
    // In pieces that are out of order, with others between them, and one that was not written.
    let pieces = [(at + 40960, Ok(high)), (0x1000, Ok(&between[..])), (at, Ok(low)), (0x9000, Err(4096))];
    std::fs::write(folder.join("core"), core(&pieces)).unwrap();
    says_the_same(&folder, "core", "core", &pool, block);

    std::fs::write(folder.join("part"), core(&[(at, Ok(low))])).unwrap();
    let part = "has only part of the metadata of the pool at 0x700000000000";
    assert_eq!(refused(&folder, &["part"]), format!("'part' {part}"));
    std::fs::write(folder.join("none"), core(&pieces[1..2])).unwrap();
    assert!(refused(&folder, &["none"]).starts_with("'none' is no image, and has no pool's metadata"));
    std::fs::write(folder.join("torn"), &core(&pieces)[..80]).unwrap();
    assert!(refused(&folder, &["torn"]).starts_with("'torn' is no whole ELF file: "));
    let program = env!("CARGO_BIN_EXE_storport-pool");
    assert_eq!(refused(&folder, &[program]), format!("'{program}' is an ELF file, but no core file"));
}

/// The one line that the program says to what it refuses.
fn refused(folder: &Path, arguments: &[&str]) -> String {
    let output = run(folder, arguments);
    let error = text(&output.stderr);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{arguments:?}: {error}");
    let line = error.strip_prefix("error: ").unwrap().strip_suffix('\n').unwrap();
    line.to_owned()
}

#[test]
fn what_is_wrong_is_told() {
    let folder = folder("wrong");
    let (mut pool, _) = pool();
    let image = pool.save();
    // Words are changed until the library finds fault with one. Behind the header, where the metadata's are.
    let mut found = 0;
    for word in (4000..image.len() - 64).step_by(44) {
        let mut changed = image.clone();
        changed[word] ^= 0x10;
        Image::seal(&mut changed);
        let Err(ImageError::Fault(fault)) = Image::read(&changed) else { continue };
        std::fs::write(folder.join("wrong"), &changed).unwrap();
        let output = run(&folder, &["wrong", "--check"]);
        let told = text(&output.stdout);
        assert_eq!((output.status.code(), text(&output.stderr)), (Some(1), String::new()), "{told}");
        assert!(told.starts_with(&format!("{}: ", fault.what)), "{fault} in {told}");
        assert!(told.contains(&format!(" {}", fault.at)) && told.contains(" wrong.\n"), "{fault} in {told}");
        let output = run(&folder, &["wrong", "--check", "--json", "-"]);
        let document: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((output.status.code(), &document["check"]["good"]), (Some(1), &false.into()));
        assert_eq!(document["check"]["findings"][0]["what"], fault.what);
        // All else can be looked at.
        assert!(shown(&folder, &["wrong"]).contains("wrong with the metadata: see --check"));
        shown(&folder, &["wrong", "--tag", "*"]);
        found += 1;
        if found == 8 {
            break;
        }
    }
    assert_eq!(found, 8, "too few changes were faults");
}

#[test]
fn bad_files_and_options_are_named() {
    let folder = folder("bad");
    let (mut pool, _) = pool();
    let image = pool.save();
    std::fs::write(folder.join("good"), &image).unwrap();
    std::fs::write(folder.join("torn"), &image[..image.len() - 4]).unwrap();
    std::fs::write(folder.join("empty"), "").unwrap();
    std::fs::write(folder.join("text"), "no pool\n".repeat(9999)).unwrap();
    std::fs::write(folder.join("nothing"), vec![0; 3 << 20]).unwrap();
    let none = "is no image, and has no pool's metadata, or that of another build of the library";
    for (arguments, message) in [
        (&["absent"][..], "cannot read 'absent': "),
        (&["."], "cannot read '.': "),
        (&["empty"], &format!("'empty' {none}")),
        (&["text"], &format!("'text' {none}")),
        (&["nothing"], &format!("'nothing' {none}")),
        (&["torn"], "'torn': the image is not whole, or was changed"),
        (&["good", "--pool", "2"], "'good' has one pool: --pool 1 is all there is"),
        (&["good", "--address", "16"], "0x10 is outside of the pool's range, which is 0x"),
        (&["good", "--json=none/x"], "cannot write 'none/x': "),
    ] {
        let line = refused(&folder, arguments);
        assert!(line.starts_with(message) && !line.contains('\n'), "{arguments:?}: {line}");
    }
    for (arguments, message) in [
        (&["good", "--address", "16k"][..], "an address is wanted, such as 0x7f0012345678"),
        (&["good", "--tag", ""], "1 to 16 printable characters are wanted"),
        (&["good", "--tag", "12345678901234567"], "1 to 16 printable characters are wanted"),
        (&[], "not provided"),
    ] {
        let output = run(&folder, arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(text(&output.stderr).contains(message), "{}", text(&output.stderr));
    }
    let help = shown(&folder, &["--help"]);
    for word in ["Usage:", "--json", "--address", "--tag", "--check", "--pool", "Exit status"] {
        assert!(help.contains(word), "no {word} in {help}");
    }
    assert!(!help.contains("--html") && !help.contains("--quick") && !help.contains("--peers"));
    // WinDbg's way of writing an address.
    let (base, _) = pool.range();
    let written = format!("{:#x}`{:08x}", base >> 32, base & 0xFFFF_FFFF);
    assert_eq!(
        shown(&folder, &["good", "--address", &written]),
        shown(&folder, &["good", "--address", &base.to_string()])
    );
}

#[cfg(target_os = "linux")]
#[test]
fn output_that_cannot_be_written_is_told() {
    use std::process::Stdio;

    let folder = folder("output");
    let (mut pool, _) = pool();
    std::fs::write(folder.join("good"), pool.save()).unwrap();
    let output = |arguments: &[&str], out: Stdio| {
        let mut program = Command::new(env!("CARGO_BIN_EXE_storport-pool"));
        program.current_dir(&folder).args(arguments).stdin(Stdio::null()).stdout(out).output().unwrap()
    };
    for arguments in [
        &["inspect", "good"][..],
        &["inspect", "good", "--json", "-"],
        &["inspect", "good", "--tag", "*"],
        &["inspect", "good", "--check"],
        &["contract"],
    ] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let full = output(arguments, full.into());
        let error = text(&full.stderr);
        assert_eq!((full.status.code(), error.lines().count()), (Some(2), 1), "{arguments:?}: {error}");
        assert!(error.starts_with("error: cannot write to the standard output: "), "{error}");
        // Nobody reads on.
        let (ours, its) = std::io::pipe().unwrap();
        drop(ours);
        let closed = output(arguments, its.into());
        assert_eq!((closed.status.code(), text(&closed.stderr)), (Some(0), String::new()), "{arguments:?}");
    }
}

/// Far longer than its header says, though sparse: it is refused before it is read.
#[test]
fn an_image_is_no_longer_than_its_header_says() {
    let folder = folder("long");
    let (mut pool, _) = pool();
    let image = pool.save();
    for (name, bytes) in [
        ("long", &image[..]),
        ("geometry", &[&image[..16], &[0xff; 40][..]].concat()[..]),
        ("short", &image[..20]),
    ] {
        std::fs::write(folder.join(name), bytes).unwrap();
    }
    for name in ["long", "geometry"] {
        std::fs::OpenOptions::new().write(true).open(folder.join(name)).unwrap().set_len(10 << 30).unwrap();
    }
    let program = env!("CARGO_BIN_EXE_storport-pool");
    for name in ["long", "geometry", "short"] {
        // With an address space of 2 GiB.
        let limited = format!("ulimit -v 2097152; exec '{program}' inspect {name}");
        let output = Command::new("sh").current_dir(&folder).args(["-c", &limited]).output().unwrap();
        let error = format!("error: '{name}': the image is not whole, or was changed\n");
        assert_eq!((output.status.code(), text(&output.stderr)), (Some(2), error));
        std::fs::remove_file(folder.join(name)).unwrap();
    }
}

/// A pipe whose other end never comes, and names that would move a terminal.
#[cfg(target_os = "linux")]
#[test]
fn pipes_and_names_are_harmless() {
    let folder = folder("names");
    assert!(Command::new("mkfifo").arg(folder.join("pipe")).status().unwrap().success());
    assert_eq!(refused(&folder, &["pipe"]), "cannot read 'pipe': this is no regular file");
    assert_eq!(refused(&folder, &["/dev/null"]), "cannot read '/dev/null': this is no regular file");
    assert!(
        refused(&folder, &["a\u{1b}[2J\u{202e}\nb"])
            .starts_with("cannot read 'a\u{FFFD}[2J\u{FFFD}\u{FFFD}b': ")
    );
    let mut pool = PoolOptions::new(1 << 20).build_on(Portable::new(SingleCpu)).unwrap();
    let disk = pool.add_adapter("\u{1b}[31mred\u{202e}\nx").unwrap();
    assert!(pool.allocate(disk, 100, tag!("Srb0"), Some(&mut 0)).is_success());
    std::fs::write(folder.join("image"), pool.save()).unwrap();
    for arguments in [&["image"][..], &["image", "--tag", "*"]] {
        let shown = shown(&folder, arguments);
        assert!(shown.contains("\u{FFFD}[31mred\u{FFFD}\u{FFFD}x"), "{shown}");
        assert!(!shown.contains(['\u{1b}', '\u{202e}']), "{shown}");
    }
}
