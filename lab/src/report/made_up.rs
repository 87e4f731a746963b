//! Reports for the tests, made up.

use crate::results::{Latency, Machine, Measured, Memory, Report, SCHEMA, Scenario, TurnLatency};

/// A distribution about `mean` ns with a turn for each factor.
pub(super) fn latency(mean: f64, turns: &[f64]) -> Latency {
    let turn = |factor: &f64| TurnLatency {
        best: 0.9 * mean * factor,
        median: mean * factor,
        p999: 20.0 * mean * factor,
    };
    Latency {
        mean: 0.9 * mean,
        mean_median: mean,
        p50: 20.0 + mean,
        p99: 10.0 * mean,
        p999: 20.0 * mean,
        p9999: 100.0 * mean,
        max: 1000.0 * mean,
        curve: (0..40)
            .map(|step| 10_f64.powf(f64::from(step) / 8.0))
            .map(|left| (1.0 - 1.0 / left, 20.0 + mean * left.sqrt()))
            .collect(),
        turns: turns.iter().map(turn).collect(),
        timeline: (0..50).map(|step| (f64::from(step), mean * f64::from(1 + step % 7))).collect(),
    }
}

pub(super) const TURNS: [f64; 12] = [1.0, 1.1, 0.9, 1.0, 1.2, 0.8, 1.0, 1.1, 0.9, 1.0, 1.05, 0.95];

/// An allocator with free alone.
pub(super) fn frees(name: &str, mean: f64, turns: &[f64]) -> Measured {
    Measured { name: name.to_owned(), free: Some(latency(mean, turns)), ..Measured::default() }
}

pub(super) fn cannot(name: &str, why: &str) -> Measured {
    Measured { name: name.to_owned(), cannot: Some(why.to_owned()), ..Measured::default() }
}

pub(super) fn scenario(name: &str, allocators: Vec<Measured>) -> Scenario {
    Scenario { name: name.to_owned(), about: format!("What {name} does."), allocators, bulk: Vec::new() }
}

pub(super) fn report(scenarios: Vec<Scenario>) -> Report {
    Report { schema: SCHEMA, timer: latency(1.0, &[1.0]), scenarios, ..Report::default() }
}

/// Every shape a report may have: peers that cannot, one allocator alone, no turns, bulk calls, a quick run, nothing.
pub(super) fn shapes() -> Vec<Report> {
    let memory =
        Memory { payload: 1 << 20, before: 1 << 20, peak: 4 << 20, freed: 3 << 20, trimmed: 2 << 20 };
    let with_memory = |measured| Measured { memory: Some(memory), ..measured };
    let many =
        (0..14).map(|peer| with_memory(frees(&format!("peer <{peer}>"), 1.0 + f64::from(peer), &TURNS)));
    let quick = Machine { quick: true, ..Machine::default() };
    vec![
        report(vec![]),
        report(vec![scenario("alone", vec![frees("pool", 2.0, &TURNS)])]),
        report(vec![scenario("none", vec![cannot("pool", "a"), cannot("b", "why & so"), cannot("c", "d")])]),
        report(vec![scenario("empty", vec![])]),
        report(vec![scenario("turnless", vec![frees("pool", 2.0, &[]), frees("b", 3.0, &[])])]),
        report(vec![scenario("zeros", vec![frees("pool", 0.0, &[0.0; 12]), frees("b", 0.0, &[0.0; 12])])]),
        report(vec![
            scenario("hot", many.collect()),
            scenario("cold", vec![with_memory(frees("peer <0>", 9.0, &TURNS)), cannot("peer <3>", "x < y")]),
        ]),
        report(vec![Scenario {
            bulk: vec![frees("pool bulk 8", 1.0, &TURNS), cannot("pool hint", "x < y")],
            ..scenario("bulk", vec![frees("pool", 2.0, &TURNS), frees("b", 3.0, &TURNS)])
        }]),
        Report {
            machine: quick,
            ..report(vec![scenario("hot", vec![frees("pool", 2.0, &[1.0]), frees("b", 3.0, &[1.0])])])
        },
    ]
}
