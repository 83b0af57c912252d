use super::*;

#[test]
fn libraries_are_read_from_ldd() {
    let text = "/usr/bin/x:\n\tlinux-vdso.so.1 (0x00007ffe)\n\
                    \tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f)\n\
                    \t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n/bin/static:\n\
                    \tnot a dynamic executable\n\tlibgone.so => not found\n";
    let expected = ["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"];
    assert_eq!(libraries(text), expected);
}

#[test]
fn a_checkout_is_seen_below_tmp_and_refused_where_the_machine_mounts() {
    assert_eq!(hiding(Path::new("/dev/shm/push-server")), Some("/dev"));
    for seen in ["/tmp/push-server", "/run/user/0/push-server", "/development/push-server"] {
        assert_eq!(hiding(Path::new(seen)), None, "{seen}");
    }
    for line in SET_UP.lines().filter(|line| line.starts_with("mount ")) {
        let point = line.split(' ').next_back().expect("a mount point");
        assert!(hiding(Path::new(point)).is_some(), "{point} hides checkouts below it");
    }
}

#[test]
fn a_quoted_word_is_one_word_to_the_shell() {
    let said = Command::new("sh").arg("-c").arg(format!("echo {}", quoted("a 'b' $c"))).output();
    assert_eq!(said.expect("sh").stdout, b"a 'b' $c\n");
}
