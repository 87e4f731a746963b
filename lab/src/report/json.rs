//! The results as JSON.

use crate::results::{Latency, Measured, Report, SCHEMA};
use crate::scenarios::over_time;

/// The report, for programs and for a later comparison or page.
pub(super) fn render(report: &Report) -> Result<String, String> {
    let mut text =
        serde_json::to_string(&kept(report)).map_err(|error| format!("the results as JSON: {error}"))?;
    text.push('\n');
    Ok(text)
}

/// Without what no page shows and no comparison asks for, which is two thirds of all: curves of what has no chart, and
/// times over time but of the scenarios where they are drawn.
fn kept(report: &Report) -> Report {
    let mut report = report.clone();
    for scenario in &mut report.scenarios {
        let drawn = over_time(&scenario.name);
        for Measured { alloc, free, pair, .. } in &mut scenario.allocators {
            let charted = if free.is_some() { &mut *free } else { &mut *pair };
            for latency in charted.iter_mut().filter(|_| !drawn) {
                latency.timeline.clear();
            }
            let pair = if free.is_some() { &mut *pair } else { &mut None };
            alloc.iter_mut().chain(pair).for_each(figures_alone);
        }
        for Measured { alloc, free, pair, .. } in &mut scenario.bulk {
            alloc.iter_mut().chain(free).chain(pair).for_each(figures_alone);
        }
    }
    report
}

fn figures_alone(latency: &mut Latency) {
    latency.curve.clear();
    latency.timeline.clear();
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
    use super::super::made_up::{self, TURNS, frees, scenario};
    use super::super::standing::standings;
    use super::super::{chapters, page};
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

    /// What was written makes the page that the run made.
    #[test]
    fn what_is_not_written_is_not_missed() {
        let page = |report: &Report| page::render(&chapters::run(report, &standings(report)));
        let mut shapes = made_up::shapes();
        for (name, pair) in [("hot", false), ("pair", true), ("oversubscribed", true), ("cold", false)] {
            let measured = |name, mean| {
                let frees = frees(name, mean, &TURNS);
                let alloc = Some(made_up::latency(2.0 * mean, &TURNS));
                if pair {
                    Measured { pair: frees.free, free: None, ..frees }
                } else {
                    Measured { alloc, ..frees }
                }
            };
            shapes
                .push(made_up::report(vec![scenario(name, vec![measured("pool", 2.0), measured("b", 3.0)])]));
        }
        for report in shapes {
            let read = parse(&render(&report).unwrap()).unwrap();
            assert_eq!(page(&read), page(&report));
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
