use super::*;

#[test]
fn version_and_llvm_of_rustc_are_read() {
    let text = "rustc 1.97.0-nightly (e50aa6fba 2026-05-19)\nbinary: rustc\n\
                    release: 1.97.0-nightly\nLLVM version: 22.1.4\n";
    let expected = CompilerVersion { minor: 97, llvm_major: 22 };
    assert_eq!(parse_version(text), Some(expected));
    assert_eq!(parse_version("release: 1.97.0\n"), None);
}

#[test]
fn toolchain_lists_of_old_and_new_rustup_are_read() {
    let new = "stable-x86_64-unknown-linux-gnu (active, default) /root/.rustup/toolchains/stable\n\
                   nightly-x86_64-unknown-linux-gnu /home/me/my rust/nightly\n";
    let old = "nightly-x86_64-unknown-linux-gnu (override)\t/rust/nightly\n";
    let names = |text| {
        parse_toolchains(text)
            .into_iter()
            .map(|(name, folder)| format!("{name} {}", folder.display()))
            .collect::<Vec<_>>()
    };
    assert_eq!(names(new)[0], "stable-x86_64-unknown-linux-gnu /root/.rustup/toolchains/stable");
    assert_eq!(names(new)[1], "nightly-x86_64-unknown-linux-gnu /home/me/my rust/nightly");
    assert_eq!(names(old), ["nightly-x86_64-unknown-linux-gnu /rust/nightly"]);
    assert!(names("no installed toolchains\n").is_empty());
}

#[test]
fn folder_without_compiler_is_rejected_with_the_reason() {
    let reason = inspect(Path::new("/nonexistent")).expect_err("must not fit");
    assert_eq!(reason, "not installed");
}
