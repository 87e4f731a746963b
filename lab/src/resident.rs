//! Resident memory of this process, in bytes; 0 where the system does not say.

/// Now, exactly.
pub(crate) fn now() -> u64 {
    field("/proc/self/smaps_rollup", "Rss:")
}

/// At most since the process began, or since [`reset_peak`].
pub(crate) fn peak() -> u64 {
    field("/proc/self/status", "VmHWM:")
}

/// Begins [`peak`] anew.
pub(crate) fn reset_peak() {
    // Refused at worst: the peak then counts what came before, too.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// A field in kB.
fn field(file: &str, name: &str) -> u64 {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let value =
        text.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok());
    value.map_or(0, |kib: u64| kib << 10)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn what_is_touched_is_resident() {
        let before = now();
        let block = std::hint::black_box(vec![1_u8; 64 << 20]);
        assert!(now() >= before + (60 << 20) && peak() >= before + (60 << 20));
        assert_eq!(block[1 << 20], 1);
    }
}
