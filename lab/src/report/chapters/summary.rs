//! What a hurried reader takes away.

use super::super::document::{Kind, Term};
use super::super::grid::Grid;
use super::super::ratio::{Measure, Quantity, Verdict};
use super::super::standing::{contract_summary, worst_row};
use super::super::text::ratio;
use crate::peers;
use crate::results::{Machine, Report};

/// Does it keep the contract, how fast is it against whom, where does it lose.
pub(super) fn of(report: &Report, grids: &[Grid]) -> Vec<(String, String)> {
    let mut said = Vec::new();
    if !report.contract.is_empty() {
        let kept = report.contract.iter().all(|check| check.ok);
        let point = if kept { "It keeps the contract." } else { "It does not keep the contract." };
        said.push((point.to_owned(), format!("Calls checked live: {}.", contract_summary(report))));
    }
    if report.machine.quick {
        said.push(("A quick run:".to_owned(), "the numbers are rough.".to_owned()));
    }
    said.extend(grids.iter().filter_map(standing));
    if !report.leaks.is_empty() {
        let blocks: u64 = report.leaks.iter().map(|leak| leak.blocks).sum();
        let rest = format!("Removing the leaking adapter named all {blocks} blocks it had left, by tag.");
        said.push(("It names what leaks.".to_owned(), rest));
    }
    said
}

/// How a measure went. `None`: nobody else has it.
fn standing(grid: &Grid) -> Option<(String, String)> {
    let others: Vec<_> =
        grid.columns.iter().enumerate().filter(|(_, name)| !peers::is_the_pool(name)).collect();
    let means: Vec<_> = others
        .into_iter()
        .filter_map(|(column, name)| Some((name.as_str(), grid.overall(column)?.0)))
        .collect();
    let faster = means.iter().filter(|(_, mean)| *mean < 1.0).count();
    let what = subject(grid);
    let against = match (faster, means.as_slice()) {
        (_, []) => return None,
        (1, [(one, _)]) => format!("is faster than {one}"),
        (_, [(one, _)]) => format!("is not faster than {one}"),
        (faster, all) if faster == all.len() => format!("is faster than each of {faster} others"),
        (0, all) => format!("is faster than none of {} others", all.len()),
        (faster, all) => format!("is faster than {faster} of {} others", all.len()),
    };
    let hardest = grid.hardest();
    let scenarios = match hardest.as_slice() {
        [only] => format!("in {}, the only scenario", only.scenario),
        all => format!("over {} scenarios together", all.len()),
    };
    let ratios: Vec<_> = hardest.iter().map(|found| found.compared.ratio.value).collect();
    let mut rest = ends(&means);
    let lost = grid.lost();
    let sure = grid.count(|verdict| !matches!(verdict, Verdict::Unclear(_)));
    rest += &match (lost, ratios.len()) {
        _ if sure == 0 => " Nothing tells where it loses: the turns are too few, or too noisy.".to_owned(),
        (0, _) => " It loses nowhere beyond noise.".to_owned(),
        (_, 1) => " It loses to at least one of them.".to_owned(),
        (lost, all) => format!(" It loses to at least one of them in {lost} of {all} scenarios."),
    };
    if let Some(row) = worst_row(&hardest).filter(|_| lost > 0 && ratios.len() > 1) {
        rest += &format!(" The worst: {row}.");
    }
    Some((format!("{what} {against}, {scenarios}."), rest))
}

/// The others' two ends: whom it takes the most time of, and whom the least.
fn ends(means: &[(&str, f64)]) -> String {
    let by = |a: &&(&str, f64), b: &&(&str, f64)| a.1.total_cmp(&b.1);
    match (means.iter().max_by(by), means.iter().min_by(by)) {
        (Some((fastest, most)), Some((slowest, least))) if fastest != slowest => format!(
            "It takes {} of the time of {fastest}, the fastest of them, and {} of that of {slowest}, the slowest.",
            ratio(*most),
            ratio(*least)
        ),
        (Some((only, mean)), _) => format!("It takes {} of {only}'s time.", ratio(*mean)),
        _ => String::new(),
    }
}

/// A measure as a sentence begins with it.
fn subject(grid: &Grid) -> String {
    let what = match grid.measure {
        Measure::Free => "Free",
        Measure::Allocate => "Allocate",
        Measure::Pair => "Allocate with free",
    };
    match grid.quantity {
        Quantity::Mean => what.to_owned(),
        Quantity::Tail => format!("{what} at its p99.9"),
    }
}

/// The words that this and the tables use.
pub(super) fn words(machine: &Machine) -> Vec<Term> {
    let noise = "The ratio's interval at 95 % is clear of 1, over the turns of this run.";
    let noise = if machine.processes > 1 {
        format!(
            "{noise} Each turn was in a process of its own, so what differs between processes is in the interval. What \
             differs between runs is not: look at a row of several threads in a second run."
        )
    } else {
        format!(
            "{noise} Each allocator ran each scenario in one process, and some processes are slower than others for all \
             their life: look at a row that stands out in a second run."
        )
    };
    let word =
        |name: &str, about: &str| Term { kind: Kind::Word, name: name.to_owned(), about: about.to_owned() };
    vec![
        word("ratio", "The pool's time over the other's. Below 1 the pool is faster: 0.50 is half the time."),
        word(
            "mean",
            "What a call takes when many are timed together. Of several scenarios' ratios, the geometric mean: 2 and 1/2 \
             come to 1.",
        ),
        word("p99.9", "The 99.9th percentile: of 1000 calls, each timed alone, 999 took no longer."),
        word("beyond noise", &format!("{noise} What is not clear of 1 is called too noisy to tell.")),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::super::made_up::{self, TURNS, cannot, frees, scenario};
    use super::super::super::standing::standings;
    use super::*;

    fn said(report: &Report) -> Vec<String> {
        let grids = standings(report);
        of(report, &grids).into_iter().map(|(point, rest)| format!("{point} {rest}")).collect()
    }

    #[test]
    fn it_says_where_it_loses() {
        let report = made_up::report(vec![
            scenario(
                "hot",
                vec![
                    frees("pool", 4.0, &TURNS),
                    frees("b", 8.0, &TURNS),
                    frees("pool-portable", 1.0, &TURNS),
                ],
            ),
            scenario(
                "cold",
                vec![frees("pool", 4.0, &TURNS), frees("b", 3.0, &TURNS), frees("c", 2.0, &TURNS)],
            ),
        ]);
        let said = said(&report);
        assert_eq!(said.len(), 2, "{said:?}");
        assert!(
            said[0].starts_with("Free is faster than 1 of 2 others, over 2 scenarios together. "),
            "{said:?}"
        );
        for part in [
            "It takes 2.00 of the time of c, the fastest of them, and 0.82 of that of b, the slowest.",
            "It loses to at least one of them in 1 of 2 scenarios. The worst: cold, 2.00 of c's time",
        ] {
            assert!(said[0].contains(part), "no {part} in {said:?}");
        }
        assert!(said[1].starts_with("Free at its p99.9 is faster than 1 of 2 others"), "{said:?}");
    }

    /// The fastest other one may be too noisy to tell of, and another one not.
    #[test]
    fn a_loss_counts_beside_a_noisy_one() {
        let mut wild = TURNS;
        wild.iter_mut().enumerate().for_each(|(turn, time)| *time *= if turn % 2 == 0 { 0.2 } else { 1.2 });
        let frees = vec![frees("pool", 4.0, &TURNS), frees("b", 3.0, &TURNS), frees("c", 2.0, &wild)];
        let report = made_up::report(vec![scenario("hot", frees)]);
        assert!(said(&report)[0].contains("It loses to at least one of them."), "{:?}", said(&report));
    }

    #[test]
    fn it_says_nothing_of_nobody() {
        let report =
            made_up::report(vec![scenario("hot", vec![frees("pool", 4.0, &TURNS), cannot("b", "why")])]);
        assert_eq!(said(&report), Vec::<String>::new());
        let alone =
            made_up::report(vec![scenario("hot", vec![frees("pool", 4.0, &TURNS), frees("b", 8.0, &TURNS)])]);
        let said = said(&alone);
        assert!(
            said[0]
                .starts_with("Free is faster than b, in hot, the only scenario. It takes 0.50 of b's time."),
            "{said:?}"
        );
        assert!(said[0].ends_with("It loses nowhere beyond noise."), "{said:?}");
    }

    #[test]
    fn no_shape_is_too_odd() {
        for report in made_up::shapes() {
            let said = said(&report);
            assert!(said.iter().all(|line| !line.contains("NaN")));
            if report.machine.quick {
                assert!(said[0].starts_with("A quick run: "), "{said:?}");
                assert!(said[1..].iter().all(|line| line.ends_with("too few, or too noisy.")), "{said:?}");
            }
        }
    }
}
