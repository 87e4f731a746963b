//! The verifier: what it finds, what it leaves alone, and that its blocks are the pool's as any others.
#![cfg(feature = "verifier")]

mod bench;
mod blocks;
mod found;
mod met;
mod rules;
