//! A small kernel around the pool, for x86-64 under qemu: it runs the pool as a kernel does, and finds out whether that
//! is right. `ci/kernel.sh` builds it, starts it, and reads its last line.
//!
//! | file | what it is |
//! |---|---|
//! | `host.rs` | what the pool asks of a kernel; the file to copy |
//! | `memory.rs` | the pools |
//! | `irql.rs`, `flags.rs`, `cpu.rs`, `dpc.rs` | what `host.rs` and drivers stand on: levels, the interrupt flag, a CPU's own, deferred procedures |
//! | `apic.rs`, `interrupts.rs`, `boot.rs`, `boot.s`, `compiler.rs`, `serial.rs` | the machine |
//! | `contract.rs`, `load.rs`, `removal.rs`, `measure.rs` | what is tried |
//! | `ledger.rs`, `quiet.rs`, `report.rs` | what it is compared with |
//! | `work.rs`, `verdict.rs` | who does it, and how it ends |
//!
//! The loader's command line: `cpus=` says how many CPUs must come, `interruptions=` how many the pool must survive,
//! `pace=` how many times longer the timer waits in between, and `count=1` that the time stamp counts instructions.
#![no_std]
#![no_main]

mod apic;
mod boot;
mod compiler;
mod contract;
mod cpu;
mod dpc;
mod flags;
mod host;
mod interrupts;
mod irql;
mod ledger;
mod load;
mod measure;
mod memory;
mod quiet;
mod removal;
mod report;
mod serial;
mod verdict;
mod work;

/// The first CPU.
fn main() -> ! {
    let cpus = boot::option("cpus").unwrap_or(1) as u32;
    say!("a kernel with storport-pool, {cpus} CPUs");
    must!(cpus as usize <= cpu::MOST_CPUS, "more than {} CPUs: see cpu.rs", cpu::MOST_CPUS);
    boot::place_trampoline();
    apic::start_others();
    let start = interrupts::time();
    while !(0..cpus).all(cpu::is_online) {
        must!(interrupts::time() - start < 1 << 33, "{} of {cpus} CPUs have come", boot::begun());
        core::hint::spin_loop();
    }
    let pool = contract::check();

    let interruptions = boot::option("interruptions").unwrap_or(10_000);
    pool.set_violation_hook(Some(&report::HOOK));
    let pace = boot::option("pace").unwrap_or(1) as u32;
    load::prepare(pool, cpus, interruptions, pace);
    work::give(work::LOAD, cpus);
    load::run();
    work::wait(cpus);
    report::load();
    removal::end(pool);
    report::tags(pool);
    report::nothing_is_lost(pool);

    work::give(work::STOP, cpus);
    work::wait(cpus);
    // Nobody is there to answer a fence; it must not wait for them.
    report::nothing_is_lost(pool);
    if boot::option("count") == Some(1) {
        measure::check();
        measure::run(pool, "masked");
        if let Some(guest) = memory::GUEST.get() {
            measure::run(guest, "portable");
        }
    }
    verdict::pass()
}
