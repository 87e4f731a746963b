//! The results as JSON.

use crate::results::Report;

/// The report, for programs and for a later comparison.
pub(crate) fn render(report: &Report) -> Result<String, String> {
    let mut text =
        serde_json::to_string_pretty(report).map_err(|error| format!("the results as JSON: {error}"))?;
    text.push('\n');
    Ok(text)
}
