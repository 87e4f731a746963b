//! Calls of several pools at once, of every platform: each answer is the reference's.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use storport_pool_fuzz::call::{Call, Pointer, Who};
use storport_pool_fuzz::make::Make;
use storport_pool_fuzz::refused::Odd;
use storport_pool_fuzz::{All, Subject, go_to_cpu};

const POOLS: usize = 3;
type Pools = [Option<Box<dyn Subject>>; POOLS];

#[derive(Arbitrary, Debug)]
enum Op {
    /// Of the first pool.
    First(Call),
    Call {
        pool: u8,
        call: Call,
    },
    Rare(Rare),
}

#[derive(Arbitrary, Debug)]
enum Rare {
    /// A thread's first call, on a CPU.
    OnThread {
        pool: u8,
        cpu: u8,
        call: Call,
    },
    /// Frees an address of one pool in another.
    Elsewhere {
        from: u8,
        to: u8,
        pointer: Pointer,
        who: Who,
    },
    Cpu(u8),
    /// A pool goes, as it is or with all blocks freed, and another one comes.
    Make {
        pool: u8,
        finish: bool,
        make: Make,
    },
    Refused(Odd),
}

#[derive(Arbitrary, Debug)]
struct Input {
    first: Make,
    ops: All<Op>,
}

fn place(pool: u8) -> usize {
    usize::from(pool) % POOLS
}

fuzz_target!(|input: Input| {
    go_to_cpu(0);
    let mut pools: Pools = [Some(input.first.build()), None, None];
    for op in &input.ops.0 {
        match *op {
            Op::First(ref call) => pools[0].as_mut().unwrap().run(call),
            Op::Call { pool, ref call } => {
                if let Some(pool) = &mut pools[place(pool)] {
                    pool.run(call);
                }
            }
            Op::Rare(ref rare) => run(rare, &mut pools),
        }
    }
    for mut pool in pools.into_iter().flatten() {
        end(&mut pool, true);
        pool.leave();
    }
});

fn end(pool: &mut Box<dyn Subject>, finish: bool) {
    pool.check();
    if finish {
        pool.finish();
    }
}

fn run(rare: &Rare, pools: &mut Pools) {
    match *rare {
        Rare::OnThread { pool, cpu, ref call } => {
            if let Some(pool) = &mut pools[place(pool)] {
                pool.run_on(u32::from(cpu % 8), call);
            }
        }
        Rare::Elsewhere { from, to, ref pointer, ref who } => {
            let Some(address) = pools[place(from)].as_ref().map(|pool| pool.address(pointer)) else {
                return;
            };
            if let Some(pool) = &mut pools[place(to)] {
                pool.free(who, address);
            }
        }
        Rare::Cpu(cpu) => go_to_cpu(cpu),
        Rare::Make { pool, finish, ref make } => {
            if let Some(mut old) = pools[place(pool)].replace(make.build()) {
                end(&mut old, finish);
                old.leave();
            }
        }
        Rare::Refused(ref odd) => odd.check(),
    }
}
