#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| bptt_fuzz::config::run(input));
