use super::*;

#[test]
fn packages_to_unpack_are_those_that_apt_would_install_and_none_that_it_would_remove() {
    let simulation = "Reading package lists...\nThe following packages will be REMOVED:\n  \
                          qemu-utils\nRemv qemu-utils [1:10.0.2]\n\
                          Inst libfdt1 (1.6.1-4+b1 Debian:12.14/oldstable [amd64])\n\
                          Inst libc6 [2.36-9] (2.36-9+deb12u13 Debian:12.14/oldstable [amd64])\n\
                          Conf libfdt1 (1.6.1-4+b1 Debian:12.14/oldstable [amd64])\n";
    assert_eq!(to_install(simulation), ["libfdt1", "libc6"]);
}
