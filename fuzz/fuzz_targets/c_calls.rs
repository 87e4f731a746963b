//! The C interface with whatever arguments.
#![no_main]

use libfuzzer_sys::fuzz_target;
use storport_pool_fuzz::All;

// The library whose functions are called.
use capi as _;

#[path = "../../capi/tests/calls/mod.rs"]
mod calls;

fuzz_target!(|input: All<calls::Call>| calls::run(&input.0));
