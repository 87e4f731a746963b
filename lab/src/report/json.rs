//! The results as JSON.

use crate::results::{Report, SCHEMA};

/// The report, for programs and for a later comparison.
pub(super) fn render(report: &Report) -> Result<String, String> {
    let mut text = serde_json::to_string(report).map_err(|error| format!("the results as JSON: {error}"))?;
    text.push('\n');
    Ok(text)
}

/// What [`render`] wrote.
///
/// # Errors
/// The end of a sentence that begins with the file's name.
pub(super) fn parse(text: &str) -> Result<Report, String> {
    let foreign = |error| format!("is no result of this program: {error}");
    let value: serde_json::Value = serde_json::from_str(text).map_err(foreign)?;
    match value.get("schema").and_then(serde_json::Value::as_u64) {
        Some(schema) if schema == u64::from(SCHEMA) => {}
        Some(schema) => return Err(format!("has schema {schema}; this program reads {SCHEMA}")),
        None => return Err("is no result of this program: it has no schema".to_owned()),
    }
    serde_json::from_value(value).map_err(foreign)
}

#[cfg(test)]
mod tests {
    use super::super::made_up;
    use super::*;
    use crate::results::Scenario;

    #[test]
    fn what_is_written_can_be_read() {
        for report in made_up::shapes() {
            let read = parse(&render(&report).unwrap()).unwrap();
            let names = |report: &Report| -> Vec<_> {
                let allocators =
                    |scenario: &Scenario| scenario.allocators.iter().map(|one| one.name.clone()).collect();
                report.scenarios.iter().map(allocators).collect::<Vec<Vec<_>>>()
            };
            assert_eq!(names(&read), names(&report));
        }
    }

    #[test]
    fn what_is_foreign_is_named() {
        for (text, message) in [
            ("", "is no result of this program: EOF"),
            ("{}", "it has no schema"),
            ("{\"schema\": 1}", "has schema 1; this program reads 2"),
            ("{\"schema\": 2}", "missing field `machine`"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(message), "{error}");
        }
    }
}
