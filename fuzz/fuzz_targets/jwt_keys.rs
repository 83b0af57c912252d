//! What the bytes are for, and what must hold for them: `TARGETS` in `push_server::fuzzing`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    push_server::fuzzing::run("jwt_keys", input);
});
