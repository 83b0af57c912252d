//! Tells the compiler which names `cargo xtask build` gives the host's architecture by.

fn main() {
    println!("cargo::rustc-check-cfg=cfg(bpf_target_arch, values(\"x86_64\", \"aarch64\"))");
    println!("cargo::rerun-if-changed=build.rs");
}
