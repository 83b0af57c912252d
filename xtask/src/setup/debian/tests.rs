use super::*;

#[test]
fn debian_and_its_kin_are_told_by_os_release() {
    assert!(is_debian_like("NAME=\"Debian GNU/Linux\"\nID=debian\n"));
    assert!(is_debian_like("ID=ubuntu\nID_LIKE=debian\n"));
    assert!(is_debian_like("ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n"));
    assert!(!is_debian_like("ID=fedora\nID_LIKE=\"rhel\"\nHOME_URL=\"https://debian\"\n"));
    assert!(!is_debian_like("VERSION_ID=debian\n"));
    assert!(!is_debian_like(""));
}

#[test]
fn version_on_offer_is_read_from_apt_policy() {
    let policy = "rustc-web:\n  Installed: (none)\n  Candidate: 1.96.0+dfsg1-1~deb12u2\n";
    assert_eq!(parse_candidate(policy).as_deref(), Some("1.96.0+dfsg1-1~deb12u2"));
    assert_eq!(parse_candidate("x:\n  Installed: (none)\n  Candidate: (none)\n"), None);
    assert_eq!(parse_candidate(""), None);
}
