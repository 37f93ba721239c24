#![no_main]

use blindvox_tests::targets::target;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    (target("service").run)(bytes);
});
