//! How long the tests go on that only find more the longer they run. `cargo test` has few rounds, so that it ends in
//! minutes. `STORPORT_POOL_ROUNDS=full` has all of them: ci/test.sh sets it.

/// So many of these rounds as the variable says.
pub fn rounds<N>(few: N, full: N) -> N {
    match std::env::var("STORPORT_POOL_ROUNDS").as_deref() {
        Err(std::env::VarError::NotPresent) | Ok("" | "few") => few,
        Ok("full") => full,
        other => panic!("STORPORT_POOL_ROUNDS is few or full, not {other:?}"),
    }
}
