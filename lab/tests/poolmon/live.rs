//! Processes that publish, and their end.

use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use storport_pool::watch::Reader;

use crate::{command, folder, poolmon, refused, text};

/// A demonstration, killed at the test's end.
struct Live(Child);

impl Live {
    fn start(folder: &Path) -> Live {
        let mut command = command(folder, &["live"]);
        let live = Live(command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap());
        let watch = folder.join(format!("storport-pool/{}.watch", live.0.id()));
        for _ in 0..2000 {
            if Reader::open(&watch)
                .is_ok_and(|mut reader| reader.read().is_ok_and(|picture| picture.number > 3))
            {
                return live;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("it published nothing");
    }

    fn pid(&self) -> String {
        self.0.id().to_string()
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn json(folder: &Path, arguments: &[&str]) -> Value {
    let output = poolmon(folder, &[&["--json", "-"], arguments].concat());
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_process_is_watched_to_its_end() {
    let folder = folder("live");
    let mut live = Live::start(&folder);
    let seen = json(&folder, &["--pid", &live.pid()]);
    assert_eq!((&seen["process"]["state"], &seen["process"]["pid"]), (&"runs".into(), &live.0.id().into()));
    assert!(seen["tags"].as_array().unwrap().iter().any(|row| row["tag"] == "ReqT"), "{seen}");
    // It is the only one.
    assert_eq!(json(&folder, &[])["process"]["pid"], live.0.id());
    let other = Live::start(&folder);
    let error = poolmon(&folder, &["--once"]);
    refused(&error, "several processes watch a pool, --pid says which: ");
    assert!([&live, &other].iter().all(|live| text(&error.stderr).contains(&live.pid())));
    // One that is killed leaves its last picture, and does not count.
    live.0.kill().unwrap();
    live.0.wait().unwrap();
    let output = poolmon(&folder, &["--once", "--pid", &live.pid()]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains(" has ended; picture "), "{}", text(&output.stdout));
    assert_eq!(json(&folder, &[])["process"]["pid"], other.0.id());
    // One that ends by itself takes its watch with it.
    let mut other = other;
    drop(other.0.stdin.take());
    assert!(other.0.wait().unwrap().success());
    refused(&poolmon(&folder, &["--once", "--pid", &other.pid()]), "watches no pool");
    refused(&poolmon(&folder, &["--once"]), "no process of yours watches a pool");
}

#[test]
fn the_demonstration_needs_nothing_else() {
    let folder = folder("demo");
    let seen = json(&folder, &["--demo"]);
    assert_eq!(seen["process"]["state"], "runs");
    let left = std::fs::read_dir(folder.join("storport-pool")).unwrap().count();
    assert_eq!(left, 0, "the demonstration goes on");
}

/// The replay is watched where it is asked for: from its beginning, until Ctrl-C.
#[test]
fn a_replay_is_watched() {
    let folder = folder("replay");
    let mut replay = command(&folder, &["replay", "--quick", "--watch"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // Each round's removal leaves blocks of this tag. More than one round's: the rounds follow on each other.
    const ROUND: u64 = 24;
    let mut leaked = 0;
    while leaked <= ROUND {
        assert!(replay.try_wait().unwrap().is_none(), "it ended, with {leaked} allocations of LkRq seen");
        // It takes a moment to begin.
        let output = poolmon(&folder, &["--json", "-"]);
        let Ok(seen) = serde_json::from_slice::<Value>(&output.stdout) else { continue };
        assert_eq!(seen["process"]["pid"], replay.id());
        let row = seen["tags"].as_array().unwrap().iter().find(|row| row["tag"] == "LkRq");
        leaked = row.map_or(0, |row| row["allocs"].as_u64().unwrap());
    }
    kill(Pid::from_raw(replay.id() as i32), Signal::SIGINT).unwrap();
    let output = replay.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", output.status);
    assert!(text(&output.stdout).contains("ReqT"), "{}", text(&output.stdout));
    // It takes its watch with it.
    assert_eq!(std::fs::read_dir(folder.join("storport-pool")).unwrap().count(), 0);
}

#[test]
fn a_replay_is_not_watched_by_default() {
    let folder = folder("unwatched");
    let output = command(&folder, &["replay", "--quick", "--record", "a.trace"]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(!folder.join("storport-pool").exists());
    let output = command(&folder, &["replay", "--watch", "--record", "a.trace"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}

/// The pool beside itself, watched, in turns of one run.
#[test]
fn the_watched_pool_is_measured() {
    let folder = folder("watched");
    let arguments =
        ["latency", "--quick", "--scenario", "remote-100", "--peers", "pool-watched", "--json", "run.json"];
    let output = command(&folder, &arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let report: Value = serde_json::from_slice(&std::fs::read(folder.join("run.json")).unwrap()).unwrap();
    let allocators = report["scenarios"][0]["allocators"].as_array().unwrap();
    let names: Vec<_> = allocators.iter().map(|allocator| allocator["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["storport-pool", "pool-watched"]);
    assert!(allocators.iter().all(|allocator| allocator["free"]["mean"].as_f64().unwrap() > 0.0), "{report}");
}

/// The live view on a terminal that goes away. No signal says so: it is not the program's controlling one.
#[test]
fn the_live_view_ends_with_its_terminal() {
    use std::fs::File;
    use std::io::Read;
    use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

    let folder = folder("hangup");
    let live = Live::start(&folder);
    let (mut ours, mut its) = (-1, -1);
    let size = libc::winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: it writes the two numbers, and reads the size; it is asked for no name.
    let opened = unsafe { libc::openpty(&mut ours, &mut its, std::ptr::null_mut(), std::ptr::null(), &size) };
    assert_eq!(opened, 0);
    // SAFETY: just opened, nobody else's.
    let (ours, its) = unsafe { (OwnedFd::from_raw_fd(ours), OwnedFd::from_raw_fd(its)) };
    // Or the program has it too, and it never hangs up.
    // SAFETY: our own descriptor.
    let closes = unsafe { libc::fcntl(ours.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC) };
    assert_eq!(closes, 0);
    let mut view = command(&folder, &["poolmon", "--pid", &live.pid()]);
    let mut view =
        Live(view.stdin(its.try_clone().unwrap()).stdout(its).stderr(Stdio::null()).spawn().unwrap());
    let mut ours = File::from(ours);
    let mut seen = Vec::new();
    while !text_of(&seen).contains("ReqT") {
        let mut some = [0; 4096];
        let count = ours.read(&mut some).unwrap();
        seen.extend_from_slice(&some[..count]);
    }
    drop(ours);
    for _ in 0..2000 {
        if let Some(status) = view.0.try_wait().unwrap() {
            assert_eq!(status.code(), Some(0));
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("it goes on without a terminal");
}

fn text_of(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
