#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| atproto_fuzz::mst_change::run(bytes));
