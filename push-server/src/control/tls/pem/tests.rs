use super::*;

const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
const KEY: &str = "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n";

fn found(text: &str) -> Vec<(usize, SectionKind)> {
    let sections = sections(text.as_bytes()).expect("valid");
    sections.iter().map(|section| (section.line, section.kind)).collect()
}

fn refused(text: &str) -> String {
    sections(text.as_bytes()).map(|_| ()).expect_err("refused").to_string()
}

#[test]
fn sections_are_found_among_text_each_with_its_line() {
    let parameters = "-----BEGIN EC PARAMETERS-----\nMAA=\n-----END EC PARAMETERS-----\n";
    let text = format!("subject: a\n{CERTIFICATE}\ntext\n{parameters}{KEY}");
    assert_eq!(found(&text), [(2, SectionKind::Certificate), (10, SectionKind::PrivateKey)]);
    let windows = text.replace('\n', "\r\n");
    assert_eq!(found(&windows), found(&text));
    assert_eq!(found(CERTIFICATE.trim_end()), [(1, SectionKind::Certificate)]);
}

#[test]
fn a_section_that_is_not_whole_is_named_by_its_line() {
    let cut = &KEY[..KEY.len() - 10];
    assert!(refused(&format!("{CERTIFICATE}{cut}")).starts_with("line 4: "), "no END");
    assert!(
        refused(&format!("{cut}\n{CERTIFICATE}")).starts_with("line 1: "),
        "no END before the next"
    );
    assert!(refused("-----BEGIN CERTIFICATE\n").contains("five dashes"));
    assert!(refused("no section").contains("has no PEM section"));
    assert!(refused("").contains("has no PEM section"));
}

#[test]
fn a_file_is_read_up_to_its_limit() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("large");
    let file = File::create(&path).expect("created");
    file.set_len(TLS_FILE_BYTES_MAX).expect("a size");
    assert!(matches!(read(&path), Err(PemError::NoSection)));
    file.set_len(TLS_FILE_BYTES_MAX + 1).expect("a size");
    assert!(matches!(read(&path), Err(PemError::TooLarge(_))));
    assert!(matches!(read(directory.path()), Err(PemError::Unreadable(_))), "a directory");
}
