//! `cargo +nightly fuzz run room`: arbitrary talk of two participants into the tool bus.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| meshagent::room::fuzzing::room(bytes));
