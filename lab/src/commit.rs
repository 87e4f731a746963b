//! How pools commit, as the environment says. The library reads the variable by itself, and takes words that it does not
//! know for none; who runs the program is to hear of them.

use std::env::VarError;

const VARIABLE: &str = "STORPORT_POOL_COMMIT";

/// Whether the variable has one of its words, or is not set, or empty.
///
/// # Errors
/// A sentence, when it has another.
pub(crate) fn check() -> Result<(), String> {
    match std::env::var(VARIABLE) {
        Err(VarError::NotPresent) => Ok(()),
        Ok(word) if ["", "auto", "portable"].contains(&word.as_str()) => Ok(()),
        Ok(word) => Err(format!("{VARIABLE} is '{word}'; its words are auto and portable")),
        Err(VarError::NotUnicode(_)) => {
            Err(format!("{VARIABLE} is no text; its words are auto and portable"))
        }
    }
}
