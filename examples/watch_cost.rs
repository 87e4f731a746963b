//! Publishes a pool's picture so many times, for Valgrind to count: `docs/DEBUGGING.md` has the numbers and the command.
//!
//! `watch_cost BLOCKS PUBLISHES`: a pool of 64 MiB with so many live blocks of eight tags, and so many publishes.

#[cfg(target_os = "linux")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    use storport_pool::{Pool, PoolTag, watch::Watch};

    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse::<u32>());
    let (Some(blocks), Some(publishes)) = (arguments.next(), arguments.next()) else {
        return Err("watch_cost BLOCKS PUBLISHES".into());
    };
    let (blocks, publishes) = (blocks?, publishes?);
    let pool = Pool::new(64 << 20)?;
    let disk = pool.add_adapter("disk0")?;
    for n in 0..blocks {
        let tag = PoolTag::new(&format!("Tag{}", n % 8))?;
        let status = pool.allocate(disk, [32, 48, 80, 208][n as usize % 4], tag, Some(&mut 0));
        assert!(status.is_success(), "{status}");
    }
    let mut watch = Watch::create(std::env::temp_dir().join(format!("watch-cost-{}", std::process::id())))?;
    for _ in 0..publishes {
        watch.publish(&pool)?;
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn main() {}
