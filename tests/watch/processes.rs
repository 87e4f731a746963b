//! Forks, ends, limits, and where a watch lies by default.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use nix::libc;
use storport_pool::Pool;
use storport_pool::watch::{Process, ReadError, Reader, Watch, WatchError};

use crate::{folder, full_pool, path};

/// What a test does in a process of its own: this program again, with one test and a stage.
fn stage(test: &str, stage: &str, path: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env("WATCH_STAGE", stage)
        .env("WATCH_PATH", path);
    command
}

fn its_stage() -> Option<(String, PathBuf)> {
    Some((std::env::var("WATCH_STAGE").ok()?, std::env::var_os("WATCH_PATH")?.into()))
}

fn runs_well(mut command: Command) {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

#[test]
fn a_forked_child_writes_nothing() {
    let Some((_, path)) = its_stage() else {
        return runs_well(stage("processes::a_forked_child_writes_nothing", "fork", &path("fork")));
    };
    let pool = Arc::new(Pool::new(1 << 20).unwrap());
    let mut watch = Watch::create(&path).unwrap();
    watch.publish(&pool).unwrap();
    let other = path.with_extension("thread");
    let publisher =
        Watch::create(&other).unwrap().publish_every(Arc::clone(&pool), Duration::from_secs(3600)).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    // SAFETY: the child calls nothing that another thread may have locked, but the allocator, which glibc repairs.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let refused = watch.publish(&pool) == Err(WatchError::Forked);
        drop(watch);
        drop(publisher);
        // SAFETY: the process ends.
        unsafe { libc::_exit(if refused { 0 } else { 1 }) };
    }
    let mut status = 0;
    // SAFETY: the status may be written.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert_eq!(status, 0);
    assert!(std::fs::read(&path).unwrap() == bytes && other.exists());
    watch.publish(&pool).unwrap();
    assert_eq!(Reader::open(&path).unwrap().read().unwrap().number, 2);
    drop((watch, publisher));
    assert!(!path.exists() && !other.exists());
}

/// The process is the same after exec, with the same id, and its watch is left behind.
#[test]
fn a_process_that_calls_exec_may_watch_again() {
    const TEST: &str = "processes::a_process_that_calls_exec_may_watch_again";
    use std::os::unix::process::CommandExt;

    let pool = Pool::new(1 << 20).unwrap();
    match its_stage() {
        None => runs_well(stage(TEST, "before", &path("exec"))),
        Some((before, path)) if before == "before" => {
            let mut watch = Watch::create(&path).unwrap();
            (0..3).for_each(|_| watch.publish(&pool).unwrap());
            assert_eq!(Watch::create(&path).unwrap_err(), WatchError::InUse(std::process::id()));
            panic!("{}", stage(TEST, "after", &path).exec());
        }
        Some((_, path)) => {
            let mut left = Reader::open(&path).unwrap();
            assert_eq!((left.pid(), left.process()), (std::process::id(), Process::Runs));
            let mut watch = Watch::create(&path).unwrap();
            watch.publish(&pool).unwrap();
            assert_eq!(Watch::create(&path).unwrap_err(), WatchError::InUse(std::process::id()));
            assert_eq!(Reader::open(&path).unwrap().read().unwrap().number, 1);
            assert_eq!(left.read().unwrap().number, 3);
        }
    }
}

fn started(mut command: Command, path: &Path) -> (Child, Reader) {
    let mut child =
        command.stdout(Stdio::null()).stderr(Stdio::null()).stdin(Stdio::piped()).spawn().unwrap();
    for _ in 0..10_000 {
        if let Ok(mut reader) = Reader::open(path)
            && reader.read().is_ok()
        {
            return (child, reader);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let _ = child.kill();
    let _ = child.wait();
    panic!("it published nothing");
}

#[test]
fn a_killed_process_leaves_its_last_picture() {
    const TEST: &str = "processes::a_killed_process_leaves_its_last_picture";
    if let Some((_, path)) = its_stage() {
        let pool: &'static Pool = Box::leak(Box::new(full_pool()));
        let _publisher = Watch::create(&path).unwrap().publish_every(pool, Duration::from_millis(5)).unwrap();
        loop {
            std::thread::park();
        }
    }
    let path = path("killed");
    let (mut child, mut reader) = started(stage(TEST, "publish", &path), &path);
    assert_eq!((reader.process(), reader.pid()), (Process::Runs, child.id()));
    assert_eq!(Watch::create(&path).unwrap_err(), WatchError::InUse(child.id()));
    child.kill().unwrap();
    // Not waited for yet: a zombie, whose id nobody else has. Its death takes a moment.
    while reader.process() == Process::Runs {
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(reader.process(), Process::Ended);
    child.wait().unwrap();
    assert_eq!(reader.process(), Process::Ended);
    let picture = reader.read().unwrap();
    assert_eq!(format!("{:?}", picture.totals.live), format!("{:?}", full_pool().usage().live));
    // Its place is free again, and what was read stays readable.
    let mut watch = Watch::create(&path).unwrap();
    watch.publish(&Pool::new(1 << 20).unwrap()).unwrap();
    assert_eq!(Reader::open(&path).unwrap().pid(), std::process::id());
    assert_eq!(reader.read().unwrap().number, picture.number);
}

/// A process with the same id that began at another time is another one.
#[test]
fn a_reused_id_is_noticed() {
    let path = path("reused");
    let mut watch = Watch::create(&path).unwrap();
    watch.publish(&Pool::new(1 << 20).unwrap()).unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    let copy = path.with_extension("copy");
    let process = |bytes: &[u8]| {
        std::fs::write(&copy, bytes).unwrap();
        Reader::open(&copy).unwrap().process()
    };
    assert_eq!(process(&bytes), Process::Runs);
    for (at, expected) in [(24, Process::Ended), (32, Process::Ended), (48, Process::Unknown)] {
        bytes[at] ^= 1;
        seal(&mut bytes);
        assert_eq!(process(&bytes), expected, "{at}");
        bytes[at] ^= 1;
    }
}

/// The header's checksum, as the format's description has it.
fn seal(bytes: &mut [u8]) {
    let mut sum = 0xCBF2_9CE4_8422_2325_u64;
    for word in bytes[..120].chunks_exact(4) {
        let word = u32::from_le_bytes(word.try_into().unwrap());
        sum = (sum ^ u64::from(word)).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29);
    }
    bytes[120..128].copy_from_slice(&sum.to_le_bytes());
}

#[test]
fn a_write_that_fails_is_counted() {
    let Some((_, path)) = its_stage() else {
        return runs_well(stage("processes::a_write_that_fails_is_counted", "limit", &path("limit")));
    };
    let limit = |bytes| {
        let limit = libc::rlimit { rlim_cur: bytes, rlim_max: libc::RLIM_INFINITY };
        // SAFETY: the limit may be read; the signal is ignored, so that a write fails instead.
        unsafe {
            libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
            assert_eq!(libc::setrlimit(libc::RLIMIT_FSIZE, &raw const limit), 0);
        }
    };
    let pool = Pool::new(1 << 20).unwrap();
    let mut watch = Watch::create(&path).unwrap();
    watch.publish(&pool).unwrap();
    limit(4096);
    for _ in 0..2 {
        let error = watch.publish(&pool).unwrap_err();
        assert!(matches!(error, WatchError::Os(_, libc::EFBIG)), "{error}");
    }
    assert!(matches!(Watch::create(path.with_extension("more")), Err(WatchError::Limit(_))));
    assert_eq!(Reader::open(&path).unwrap().read().unwrap().number, 1);
    limit(libc::RLIM_INFINITY);
    watch.publish(&pool).unwrap();
    let picture = Reader::open(&path).unwrap().read().unwrap();
    assert_eq!((picture.number, picture.missed), (2, 2));
}

#[test]
fn a_default_path_that_is_safe() {
    const TEST: &str = "processes::a_default_path_that_is_safe";
    let Some((stage_name, _)) = its_stage() else {
        let runtime = |name: &str| folder(&format!("runtime-{name}"));
        let start = |name: &str, runtime: &Path| {
            let mut command = stage(TEST, name, runtime);
            command.env("XDG_RUNTIME_DIR", runtime);
            runs_well(command);
        };
        let good = runtime("good");
        start("good", &good);
        assert_eq!(std::fs::read_dir(good.join("storport-pool")).unwrap().count(), 0, "something was left");
        assert_eq!(
            std::fs::metadata(good.join("storport-pool")).unwrap().permissions().mode() & 0o777,
            0o700
        );
        let open = runtime("open");
        std::fs::create_dir(open.join("storport-pool")).unwrap();
        std::fs::set_permissions(open.join("storport-pool"), PermissionsExt::from_mode(0o755)).unwrap();
        start("refused", &open);
        let link = runtime("link");
        symlink(good.join("storport-pool"), link.join("storport-pool")).unwrap();
        start("refused", &link);
        let file = runtime("file");
        std::fs::write(file.join("storport-pool"), "").unwrap();
        start("refused", &file);
        return;
    };
    if stage_name == "refused" {
        assert_eq!(Watch::for_this_process().unwrap_err(), WatchError::Folder);
        assert_eq!(
            Reader::of_process(std::process::id()).unwrap_err(),
            ReadError::NotWatched(std::process::id())
        );
        return;
    }
    let pid = std::process::id();
    // What a process that was killed left in the folder stays in the list.
    let before = storport_pool::watch::watched_processes();
    let mut with_this = [&before[..], &[pid]].concat();
    with_this.sort_unstable();
    let mut watch = Watch::for_this_process().unwrap();
    assert_eq!(watch.path(), storport_pool::watch::path_of_process(pid));
    assert_eq!(Watch::for_this_process().unwrap_err(), WatchError::InUse(pid));
    watch.publish(&Pool::new(1 << 20).unwrap()).unwrap();
    assert_eq!(Reader::of_process(pid).unwrap().read().unwrap().number, 1);
    assert_eq!(storport_pool::watch::watched_processes(), with_this);
    // A link under the name leads nobody astray.
    let path = watch.path().to_owned();
    let elsewhere = path.with_extension("elsewhere");
    std::fs::rename(&path, &elsewhere).unwrap();
    symlink(&elsewhere, &path).unwrap();
    assert!(Reader::of_process(pid).is_err());
    assert_eq!(Watch::for_this_process().unwrap_err(), WatchError::Exists);
    std::fs::remove_file(&path).unwrap();
    std::fs::rename(&elsewhere, &path).unwrap();
    drop(watch);
    assert_eq!(storport_pool::watch::watched_processes(), before);
}
