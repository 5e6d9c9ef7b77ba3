#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| bptt_fuzz::manifest::run(input));
