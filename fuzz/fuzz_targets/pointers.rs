//! Pointers of every kind into free, between valid calls: a bad one is told, and changes nothing.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use storport_pool_fuzz::call::{Call, Pointer, Who};
use storport_pool_fuzz::make::Make;
use storport_pool_fuzz::{All, go_to_cpu};

#[derive(Arbitrary, Debug)]
enum Step {
    Free {
        pointer: Pointer,
        who: Who,
    },
    /// An address of the other pool.
    Theirs {
        pointer: Pointer,
        who: Who,
    },
    Call(Call),
    TheirCall(Call),
    Cpu(u8),
}

#[derive(Arbitrary, Debug)]
struct Input {
    pool: Make,
    other: Make,
    steps: All<Step>,
}

fuzz_target!(|input: Input| {
    go_to_cpu(0);
    let (mut pool, mut other) = (input.pool.build(), input.other.build());
    for step in &input.steps.0 {
        match *step {
            Step::Free { ref pointer, ref who } => {
                let address = pool.address(pointer);
                pool.free(who, address);
            }
            Step::Theirs { ref pointer, ref who } => {
                let address = other.address(pointer);
                pool.free(who, address);
            }
            Step::Call(ref call) => pool.run(call),
            Step::TheirCall(ref call) => other.run(call),
            Step::Cpu(cpu) => go_to_cpu(cpu),
        }
    }
    for mut pool in [pool, other] {
        pool.check();
        pool.finish();
        pool.leave();
    }
});
