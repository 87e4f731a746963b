//! How a call's cost grows with CPUs: its atomic operations, those of them that x86-64 locks, and the cache lines
//! that it has to fetch from another CPU, on simulated machines of up to 256. Counts, not times: they repeat.
//! Needs `--cfg storport_pool_steps`. `STORPORT_POOL_GROWTH=<file>` writes them as JSON.
#![cfg(storport_pool_steps)]

mod common;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt::Write;

use common::*;
use storport_pool::steps::{Step, install};
use storport_pool::{AdapterId, Host, Irql, MaskInterrupts, Masked, Platform, Pool, PoolOptions, Portable};

const MACHINES: [u32; 7] = [1, 2, 4, 16, 64, 128, 256];
const BATCH: usize = 64;
const ROUNDS: usize = 12;
/// Rounds until the caches know the work.
const WARM: usize = 4;
const LINE: usize = 64;

thread_local! {
    static CPU: Cell<u32> = const { Cell::new(0) };
    static LINES: RefCell<HashMap<usize, Line>> = RefCell::default();
    static COUNTS: Cell<Cost> = const { Cell::new(Cost { operations: 0, locked: 0, lines: 0 }) };
}

/// Which CPUs have a line.
#[derive(Clone, Copy, Default)]
struct Line([u64; 4]);

impl Line {
    fn only(cpu: u32) -> Line {
        let mut line = Line::default();
        line.0[cpu as usize / 64] = 1 << (cpu % 64);
        line
    }

    fn has(self, cpu: u32) -> bool {
        self.0[cpu as usize / 64] >> (cpu % 64) & 1 != 0
    }

    /// Reads or writes the line, and says whether it had to come from, or be taken from, another CPU.
    fn touch(&mut self, cpu: u32, write: bool) -> bool {
        let own = Line::only(cpu);
        let others = self.0 != [0; 4] && self.0 != own.0;
        let moves = others && (write || !self.has(cpu));
        if write {
            *self = own;
        } else {
            self.0.iter_mut().zip(own.0).for_each(|(all, own)| *all |= own);
        }
        moves
    }
}

/// Of a call.
#[derive(Clone, Copy, Default)]
struct Cost {
    operations: u64,
    locked: u64,
    lines: u64,
}

fn on_step(step: Step, word: usize) {
    let mut cost = COUNTS.get();
    cost.operations += 1;
    cost.locked += u64::from(step == Step::Rmw);
    if step != Step::Fence {
        let write = step != Step::Load;
        let moved =
            LINES.with_borrow_mut(|lines| lines.entry(word / LINE).or_default().touch(CPU.get(), write));
        cost.lines += u64::from(moved);
    }
    COUNTS.set(cost);
}

struct Machine;

impl Host for Machine {
    fn cpu(&self) -> u32 {
        CPU.get()
    }

    fn irql(&self) -> Irql {
        Irql::DISPATCH
    }
}

// SAFETY: one thread, and nothing interrupts it.
unsafe impl MaskInterrupts for Machine {
    type State = ();

    fn mask(&self) {}

    fn unmask(&self, (): ()) {}

    fn fence(&self, _: u32) {}
}

/// Of many calls.
#[derive(Default)]
struct Costs {
    calls: u64,
    sum: Cost,
    most: Cost,
}

impl Costs {
    fn add(&mut self, cost: Cost) {
        self.calls += 1;
        for (sum, most, value) in [
            (&mut self.sum.operations, &mut self.most.operations, cost.operations),
            (&mut self.sum.locked, &mut self.most.locked, cost.locked),
            (&mut self.sum.lines, &mut self.most.lines, cost.lines),
        ] {
            *sum += value;
            *most = value.max(*most);
        }
    }

    fn mean(&self, of: impl Fn(&Cost) -> u64) -> f64 {
        of(&self.sum) as f64 / self.calls as f64
    }
}

/// Who frees what a CPU allocated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Traffic {
    /// Itself.
    Own,
    /// Its neighbour.
    Neighbour,
    /// The first CPU, all of it.
    First,
    /// One CPU allocates; all free in turn.
    FromFirst,
}

const TRAFFIC: [Traffic; 4] = [Traffic::Own, Traffic::Neighbour, Traffic::First, Traffic::FromFirst];

/// What all calls of one kind of traffic took on a machine: allocations and frees.
fn measure<P: Platform>(pool: &Pool<P>, id: AdapterId, cpus: u32, traffic: Traffic) -> [Costs; 2] {
    let mut costs = [Costs::default(), Costs::default()];
    let mut call = |kind: usize, warm: bool, cpu: u32, call: &mut dyn FnMut()| {
        CPU.set(cpu);
        COUNTS.take();
        call();
        if !warm {
            costs[kind].add(COUNTS.get());
        }
    };
    for round in 0..ROUNDS {
        let warm = round < WARM;
        let mut batches: Vec<(u32, Vec<u64>)> = Vec::new();
        for cpu in 0..cpus {
            let (by, freed_by) = match traffic {
                Traffic::Own => (cpu, cpu),
                Traffic::Neighbour => (cpu, (cpu + 1) % cpus),
                Traffic::First => (cpu, 0),
                Traffic::FromFirst => (0, cpu),
            };
            let mut batch = Vec::new();
            for n in 0..BATCH {
                let bytes = 32 + 32 * (n as u32 % 8);
                call(0, warm, by, &mut || batch.push(alloc(pool, id, bytes).unwrap()));
            }
            batches.push((freed_by, batch));
        }
        for (cpu, batch) in batches {
            for block in batch {
                call(1, warm, cpu, &mut || must_free(pool, id, block));
            }
        }
    }
    costs
}

struct Row {
    platform: &'static str,
    traffic: Traffic,
    cpus: u32,
    costs: [Costs; 2],
}

fn rows<P: Platform>(platform: &'static str, host: impl Fn() -> P) -> Vec<Row> {
    let mut rows = Vec::new();
    for cpus in MACHINES {
        for traffic in TRAFFIC {
            LINES.with_borrow_mut(HashMap::clear);
            CPU.set(0);
            let pool = PoolOptions::new(1 << 30).cpus(cpus).build_on(host()).unwrap();
            let id = pool.add_adapter("disk").unwrap();
            let costs = measure(&pool, id, cpus, traffic);
            rows.push(Row { platform, traffic, cpus, costs });
        }
    }
    rows
}

fn json(rows: &[Row]) -> String {
    let mut out = String::from("[\n");
    for (place, row) in rows.iter().enumerate() {
        let Row { platform, traffic, cpus, costs } = row;
        write!(out, "  {{\"platform\": \"{platform}\", \"traffic\": \"{traffic:?}\", \"cpus\": {cpus}")
            .unwrap();
        for (call, costs) in ["allocate", "free"].into_iter().zip(costs) {
            write!(
                out,
                ", \"{call}\": {{\"operations\": {:.3}, \"locked\": {:.3}, \"lines\": {:.3}, \
                 \"most_operations\": {}, \"most_locked\": {}, \"most_lines\": {}}}",
                costs.mean(|cost| cost.operations),
                costs.mean(|cost| cost.locked),
                costs.mean(|cost| cost.lines),
                costs.most.operations,
                costs.most.locked,
                costs.most.lines,
            )
            .unwrap();
        }
        out += if place + 1 == rows.len() { "}\n" } else { "},\n" };
    }
    out + "]\n"
}

#[test]
fn free_costs_the_same_on_each_machine() {
    install(on_step);
    let mut rows = rows("portable", || Portable::new(Machine));
    rows.extend(self::rows("masked", || Masked::new(Machine)));
    for row in &rows {
        let [allocate, free] = &row.costs;
        println!(
            "{:8} {:10} {:3} CPUs: free {:5.2} operations, {:.2} locked, {:.2} lines, at most {} {} {}; \
             allocate {:5.2} {:.2} {:.2}, at most {} {} {}",
            row.platform,
            format!("{:?}", row.traffic),
            row.cpus,
            free.mean(|cost| cost.operations),
            free.mean(|cost| cost.locked),
            free.mean(|cost| cost.lines),
            free.most.operations,
            free.most.locked,
            free.most.lines,
            allocate.mean(|cost| cost.operations),
            allocate.mean(|cost| cost.locked),
            allocate.mean(|cost| cost.lines),
            allocate.most.operations,
            allocate.most.locked,
            allocate.most.lines,
        );
    }
    if let Some(file) = std::env::var_os("STORPORT_POOL_GROWTH") {
        std::fs::write(file, json(&rows)).unwrap();
    }
    check(&rows);
}

/// From the machine on which a block's neighbours are as good as never one's own, more CPUs change nothing.
fn check(rows: &[Row]) {
    const LARGE: u32 = 16;
    /// A free's longest way, and its state: docs/BENCHMARKS.md, "Growth".
    const MOST_LINES: u64 = 6;
    for large in rows.iter().filter(|row| row.cpus == LARGE) {
        let same = |row: &&Row| (row.platform, row.traffic) == (large.platform, large.traffic);
        for row in rows.iter().filter(same).filter(|row| row.cpus > LARGE) {
            let what = format!("{} {:?} on {} CPUs", row.platform, row.traffic, row.cpus);
            let [(allocate, free), (allocate_16, free_16)] =
                [row, large].map(|row| (&row.costs[0], &row.costs[1]));
            assert_eq!(free.most.operations, free_16.most.operations, "{what}");
            assert_eq!(free.most.locked, free_16.most.locked, "{what}");
            // Which lines a rare way meets is chance; how many it may meet is not.
            assert!(free.most.lines <= MOST_LINES, "{what}: {} lines", free.most.lines);
            for (more, less) in [(free, free_16), (allocate, allocate_16)] {
                assert!(
                    more.mean(|cost| cost.operations) < less.mean(|cost| cost.operations) + 0.05,
                    "{what}"
                );
                assert!(more.mean(|cost| cost.locked) < less.mean(|cost| cost.locked) + 0.05, "{what}");
                // The fewer of a line's states are one's own, the more lines come from elsewhere; that ends.
                assert!(more.mean(|cost| cost.lines) < less.mean(|cost| cost.lines) + 0.1, "{what}");
            }
        }
    }
}
