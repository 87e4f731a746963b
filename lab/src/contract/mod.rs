//! The contract, live: each documented status of both routines, and each misuse.

mod allocate;
mod bench;
mod free;
mod misuse;

use crate::results::Check;

/// Runs all checks.
///
/// # Errors
/// A sentence, when a check's ground could not be laid (no memory for a pool).
pub(crate) fn run() -> Result<Vec<Check>, String> {
    let mut checks = allocate::run()?;
    checks.extend(free::run()?);
    checks.extend(misuse::run()?);
    Ok(checks)
}

/// Whether every row went as documented.
pub(crate) fn holds(checks: &[Check]) -> bool {
    checks.iter().all(|check| check.ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_mismatch_breaks_it() {
        let mut checks = run().unwrap();
        assert!(holds(&checks));
        checks[0].ok = false;
        assert!(!holds(&checks));
    }
}
