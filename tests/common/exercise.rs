//! What a pool must do whatever was done to it before.

use std::collections::BTreeMap;

use storport_pool::{Platform, Pool};

use super::{alloc, free, picture};

/// Uses a pool up and gives all back: no block overlaps another one.
pub fn use_up<P: Platform>(pool: &Pool<P>) {
    let _ = picture(pool);
    let Ok(id) = pool.add_adapter("new") else { return };
    let (base, len) = pool.range();
    let mut held = BTreeMap::new();
    for bytes in [16, 100, 4096, 5000, 48, 1000, 1 << 16] {
        for _ in 0..400 {
            let Ok(address) = alloc(pool, id, bytes) else { break };
            assert!(address >= base && address + u64::from(bytes) <= base + len);
            let before = held.range(..address + u64::from(bytes)).next_back();
            assert!(before.is_none_or(|(at, bytes)| at + u64::from(*bytes) <= address), "they overlap");
            held.insert(address, bytes);
        }
    }
    for address in (base..base + len).step_by(16) {
        if let Some(found) = pool.block_at(address).filter(|found| found.live) {
            let other = found.owner != id;
            assert!(!other || free(pool, found.owner, found.address).is_success() || pool.violations() > 0);
        }
    }
    for &address in held.keys() {
        let _ = free(pool, id, address);
    }
    let _ = pool.remove_adapter(id);
    let _ = pool.trim();
    let _ = picture(pool);
}
