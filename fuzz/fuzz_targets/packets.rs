//! `cargo +nightly fuzz run packets`: arbitrary packets into the assembler.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| meshagent::room::fuzzing::packets(bytes));
