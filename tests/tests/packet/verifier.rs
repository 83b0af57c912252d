//! What the programs cost the kernel's verifier, which refuses a program for which it would have to look at too many
//! instructions, on all its ways together. How many that are depends on the kernel: each prunes ways otherwise.

use push_tests::{figure, skip};

/// `BPF_COMPLEXITY_LIMIT_INSNS` (`<linux/bpf.h>`), for those who have CAP_BPF.
const INSTRUCTIONS_MAX: u32 = 1_000_000;

/// Kernels that this is not tested on prune less than these, or more.
const INSTRUCTIONS_USED_MAX: u32 = INSTRUCTIONS_MAX / 2;

#[test]
fn the_verifier_takes_each_program_with_half_of_its_limit_left() {
    let result = crate::rig::with_rig(|rig| {
        let release = rustix::system::uname().release().to_string_lossy().into_owned();
        for (program, instructions) in rig.verified() {
            figure::tell(format_args!(
                "{program}: the verifier of Linux {release} looks at {instructions} instructions of \
                 {INSTRUCTIONS_MAX} at most"
            ));
            assert!(instructions <= INSTRUCTIONS_USED_MAX, "{program}: {instructions}");
        }
    });
    let name = "verifier::the_verifier_takes_each_program_with_half_of_its_limit_left";
    skip::report(name, result);
}
