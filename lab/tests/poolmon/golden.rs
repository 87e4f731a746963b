//! The watch v1.watch, printed. `STORPORT_POOL_WRITE_GOLDEN=1` writes it and what it is compared with anew.

use storport_pool::watch::{Picture, WatchOptions};
use storport_pool::{Pool, PoolTag, tag};

use crate::{folder, here, poolmon, refused, text};

/// When the pictures of the file were published, and by whom.
const TIME: u64 = 1_790_000_000_000_000_000;
const PID: u32 = 4242;

fn sum(words: &[&[u8]]) -> [u8; 8] {
    let mut sum = 0xCBF2_9CE4_8422_2325_u64;
    for word in words.iter().flat_map(|bytes| bytes.chunks_exact(4)) {
        let word = u32::from_le_bytes(word.try_into().unwrap());
        sum = (sum ^ u64::from(word)).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29);
    }
    sum.to_le_bytes()
}

/// A watch with two pictures, of a process that nobody can be.
fn made() -> Vec<u8> {
    const AREA: usize = 8 << 10;
    let path = folder("made").join("v1.watch");
    let pool = Pool::new(16 << 20).unwrap();
    let mut watch = WatchOptions::new().area_bytes(AREA as u64).create(&path).unwrap();
    let adapters = ["disk0", "nvme0", "a\u{1b}[31mred", "gone"].map(|name| pool.add_adapter(name).unwrap());
    let take = |adapter: usize, tag, bytes, count: u32| {
        for _ in 0..count {
            assert!(pool.allocate(adapters[adapter], bytes, tag, Some(&mut 0)).is_success());
        }
    };
    let churn = |adapter: usize, tag, bytes, count: u32| {
        for _ in 0..count {
            let mut block = 0;
            assert!(pool.allocate(adapters[adapter], bytes, tag, Some(&mut block)).is_success());
            // SAFETY: just allocated.
            assert!(unsafe { pool.free(adapters[adapter], block) }.is_success());
        }
    };
    take(0, tag!("VioS"), 208, 40);
    take(0, tag!("a,b\""), 16, 1);
    take(1, tag!("NVMe"), 4096, 3);
    take(2, tag!("Ab"), 100_000, 1);
    take(3, tag!("Left"), 500, 2);
    take(0, PoolTag::from_raw(0x01), 700, 1);
    churn(1, tag!("ReqT"), 64, 1_234_567);
    // SAFETY: nothing is there.
    assert!(!unsafe { pool.free(adapters[0], 0x1000) }.is_success());
    pool.remove_adapter(adapters[3]).unwrap();
    watch.publish(&pool).unwrap();
    take(0, tag!("VioS"), 100, 5);
    churn(1, tag!("ReqT"), 80, 4321);
    watch.publish(&pool).unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[16..20].copy_from_slice(&PID.to_le_bytes());
    bytes[24..48].fill(7);
    bytes[72..80].copy_from_slice(&TIME.to_le_bytes());
    bytes[80..96].copy_from_slice(b"golden\0\0\0\0\0\0\0\0\0\0");
    let seal = sum(&[&bytes[..120]]);
    bytes[120..128].copy_from_slice(&seal);
    for slot in [4096, 4096 + AREA] {
        let used = usize::from_le_bytes(bytes[slot + 8..slot + 16].try_into().unwrap());
        bytes[slot + 16..slot + 24].copy_from_slice(&TIME.to_le_bytes());
        let seal = sum(&[&bytes[slot..slot + 56], &bytes[slot + 64..slot + used]]);
        bytes[slot + 56..slot + 64].copy_from_slice(&seal);
    }
    assert!(Picture::from_bytes(&bytes).is_ok());
    bytes
}

/// A file of the folder is what was made.
fn golden(file: &str, made: &str) {
    if std::env::var_os("STORPORT_POOL_WRITE_GOLDEN").is_some() {
        std::fs::write(here(file), made).unwrap();
    }
    assert_eq!(std::fs::read_to_string(here(file)).unwrap(), made, "{file}");
}

#[test]
fn a_fixed_watch_is_printed() {
    if std::env::var_os("STORPORT_POOL_WRITE_GOLDEN").is_some() {
        std::fs::write(here("v1.watch"), made()).unwrap();
    }
    let (folder, watch) = (folder("golden"), here("v1.watch"));
    let watch = watch.to_str().unwrap();
    for (file, arguments) in [
        ("once.txt", &["--once", "-e"][..]),
        ("adapters.txt", &["--once", "--adapters", "--sort", "bytes"]),
        ("once.json", &["--json", "-"]),
        ("once.csv", &["--csv"]),
        ("adapters.csv", &["--csv", "--adapters"]),
        ("filtered.csv", &["--csv", "-i", "*e*", "-i", "V??S", "-x", "NV*", "--sort", "diff"]),
    ] {
        let output = poolmon(&folder, &[arguments, &[watch]].concat());
        assert_eq!(output.status.code(), Some(0), "{file}: {}", text(&output.stderr));
        assert_eq!(text(&output.stderr), "");
        golden(file, &text(&output.stdout));
    }
    // Into a file, the same.
    let output = poolmon(&folder, &["--json=there.json", watch]);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(0), 0));
    golden("once.json", &std::fs::read_to_string(folder.join("there.json")).unwrap());
    refused(&poolmon(&folder, &["--json=none/there.json", watch]), "cannot write 'none/there.json'");
}

#[test]
fn what_cannot_be_watched_is_named() {
    let folder = folder("refused");
    std::fs::write(folder.join("letter"), "a letter\n").unwrap();
    std::fs::write(folder.join("empty"), "").unwrap();
    let mut bytes = std::fs::read(here("v1.watch")).unwrap();
    std::fs::write(folder.join("cut"), &bytes[..3000]).unwrap();
    bytes[8] = 2;
    std::fs::write(folder.join("later"), &bytes).unwrap();
    bytes[8] = 1;
    // Both pictures: what is in use of the slots is at least their heads.
    bytes[4096 + 20] ^= 1;
    bytes[4096 + (8 << 10) + 20] ^= 1;
    std::fs::write(folder.join("changed"), &bytes).unwrap();
    let letter = std::fs::read(folder.join("letter")).unwrap();
    for (arguments, message) in [
        (&["letter"][..], "'letter': this is no watch of a pool"),
        (&["empty"], "'empty': this is no watch of a pool"),
        (&["cut"], "no picture in the watch is whole"),
        (&["changed"], "no picture in the watch is whole"),
        (&["later"], "the watch has version 2 of the format; this program knows version 1"),
        (&["none"], "'none': opening the watch: there is no such file"),
        (&["."], "'.': this is no regular file"),
        (&["--pid", "1"], "process 1 watches no pool: it has not opted in, or there is no such process"),
        (&["--pid", "4294967295"], "process 4294967295 watches no pool"),
        (&["--pid", "0"], "invalid value '0' for '--pid"),
        (&["--pid", "me"], "invalid value 'me' for '--pid"),
        (&["--pid", "1", "letter"], "cannot be used with"),
        (&["--interval", "0"], "a number of seconds is wanted, 0.1 to 3600"),
        (&["--suspects", "2"], "a number of pictures is wanted, 3 to 1000"),
        (&["-i", ""], "a tag or a pattern is wanted"),
        (&["--sort", "age"], "[possible values: tag, allocs, frees, diff, bytes, per-alloc]"),
        (&["--once", "--csv", "letter"], "cannot be used with"),
        (&["--quick", "letter"], "unexpected argument '--quick'"),
        (&[], "no process of yours watches a pool"),
    ] {
        let mut all = arguments.to_vec();
        if !arguments.contains(&"--csv") {
            all.push("--once");
        }
        refused(&poolmon(&folder, &all), message);
    }
    // A test's output is no terminal.
    let watch = here("v1.watch");
    refused(
        &poolmon(&folder, &[watch.to_str().unwrap()]),
        "the output is no terminal: --once, --csv or --json",
    );
    assert_eq!(std::fs::read(folder.join("letter")).unwrap(), letter);
}
