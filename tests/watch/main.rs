//! A pool that is watched: what a reader sees, whatever is in the file and whoever writes it.
#![cfg(all(target_os = "linux", not(storport_pool_steps), not(storport_pool_stretch)))]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use storport_pool::{Pool, PoolTag, tag};

mod pictures;
mod processes;

/// A path of the test's own, where nothing is.
fn path(test: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("watch-{test}-{}", std::process::id()));
    let _ = std::fs::remove_file(&path);
    path
}

fn folder(test: &str) -> PathBuf {
    let folder = path(test);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir(&folder).unwrap();
    std::fs::set_permissions(&folder, PermissionsExt::from_mode(0o700)).unwrap();
    folder
}

/// Adapters and tags of all kinds: alive, orphaned, gone, without a name of their own.
fn full_pool() -> Pool {
    let pool = Pool::new(16 << 20).unwrap();
    for (n, name) in ["disk0", "an adapter with a name that is longer than names are", "", "gone", "left"]
        .into_iter()
        .enumerate()
    {
        let adapter = pool.add_adapter(name).unwrap();
        for bytes in [8, 100, 100, 3000, 20_000, 100_000] {
            for tag in [tag!("Aaaa"), PoolTag::from_raw(bytes), PoolTag::from_raw(0)] {
                let mut block = 0;
                assert!(pool.allocate(adapter, bytes, tag, Some(&mut block)).is_success());
                if n == 3 || bytes == 100 {
                    // SAFETY: just allocated.
                    assert!(unsafe { pool.free(adapter, block) }.is_success());
                }
            }
        }
        // SAFETY: nothing is there.
        assert!(!unsafe { pool.free(adapter, 0x1234) }.is_success());
        if n > 2 {
            pool.remove_adapter(adapter).unwrap();
        }
    }
    pool
}
