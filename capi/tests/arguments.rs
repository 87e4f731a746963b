//! The C interface with whatever arguments: what the fuzz target found worth keeping, and arbitrary calls.

mod calls;

use std::fs::File;
use std::io::Read;
use std::path::Path;

use arbitrary::Unstructured;
// The library whose functions are called.
use capi as _;
use proptest::collection::vec;
use proptest::prelude::any;
use proptest::test_runner::{Config, TestRunner};
use tar::Archive;

/// The calls that these bytes stand for, made.
fn run(bytes: &[u8]) {
    let mut input = Unstructured::new(bytes);
    let mut made = Vec::new();
    while !input.is_empty() {
        made.push(input.arbitrary().unwrap());
    }
    calls::run(&made);
}

/// One test, since a process has one system pool.
#[test]
fn whatever_is_passed() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/c_calls.tar");
    let mut corpus = Archive::new(File::open(corpus).unwrap());
    let mut inputs = 0;
    for input in corpus.entries().unwrap() {
        let mut bytes = Vec::new();
        input.unwrap().read_to_end(&mut bytes).unwrap();
        run(&bytes);
        inputs += 1;
    }
    assert!(inputs >= 100, "a corpus of {inputs}");
    let config = Config { cases: 3000, failure_persistence: None, ..Config::default() };
    let bytes = vec(any::<u8>(), 0..2000);
    let tried = TestRunner::new(config).run(&bytes, |bytes| {
        run(&bytes);
        Ok(())
    });
    tried.unwrap();
}
