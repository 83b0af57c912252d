//! Tests with certificates that rcgen makes, and bytes that are none.

use proptest::prelude::*;
use rcgen::{CertificateParams, DistinguishedName, DnType, DnValue, KeyPair, SanType};

use super::*;

fn certificate(common_names: &[DnValue], alternatives: Vec<SanType>) -> Vec<u8> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    for name in common_names {
        params.distinguished_name.push(DnType::CommonName, name.clone());
    }
    params.subject_alt_names = alternatives;
    let key = KeyPair::generate().expect("a key");
    params.self_signed(&key).expect("a certificate").der().to_vec()
}

fn host(name: &str) -> SanType {
    SanType::DnsName(name.try_into().expect("a host"))
}

fn uri(name: &str) -> SanType {
    SanType::URI(name.try_into().expect("a URI"))
}

#[test]
fn each_field_names_its_own() {
    let names = [DnValue::Utf8String("device 7".into())];
    let der = certificate(&names, vec![host("Device7.Example.org"), uri("urn:device:7")]);
    let user = |field| user_of(&der, field).map(String::from);
    assert_eq!(user(CertificateField::CommonName), Ok("device 7".to_owned()));
    assert_eq!(user(CertificateField::DnsName), Ok("device7.example.org".to_owned()));
    assert_eq!(user(CertificateField::Uri), Ok("urn:device:7".to_owned()));
}

#[test]
fn common_names_are_read_whatever_text_they_are() {
    let printable = DnValue::PrintableString("device".try_into().expect("printable"));
    let bmp = DnValue::BmpString("d\u{e9}vice".try_into().expect("of 16 bits"));
    for (name, expected) in [(printable, "device"), (bmp, "d\u{e9}vice")] {
        let der = certificate(&[name], Vec::new());
        assert_eq!(user_of(&der, CertificateField::CommonName).as_deref(), Ok(expected));
    }
}

#[test]
fn a_certificate_without_such_a_name_or_with_several_names_nobody() {
    let der = certificate(&[], vec![host("a.example"), host("b.example")]);
    assert_eq!(user_of(&der, CertificateField::CommonName), Err(CertificateFault::None));
    assert_eq!(user_of(&der, CertificateField::DnsName), Err(CertificateFault::Several));
    assert_eq!(user_of(&der, CertificateField::Uri), Err(CertificateFault::None));
    let der = certificate(&[DnValue::Utf8String("ada".into())], Vec::new());
    assert_eq!(user_of(&der, CertificateField::DnsName), Err(CertificateFault::None));
    // A copy of the only name is a second one: nobody says that they are the same.
    let der = certificate(&[], vec![uri("urn:a"), uri("urn:a")]);
    assert_eq!(user_of(&der, CertificateField::Uri), Err(CertificateFault::Several));
}

#[test]
fn names_that_no_user_can_have_are_refused() {
    for name in ["", "a\0b", "a\nb", "\u{85}", "\u{7f}"] {
        let der = certificate(&[DnValue::Utf8String(name.into())], Vec::new());
        let user = user_of(&der, CertificateField::CommonName);
        assert_eq!(user, Err(CertificateFault::NoUserName), "{name:?}");
    }
}

#[test]
fn what_is_no_certificate_names_nobody() {
    let der = certificate(&[DnValue::Utf8String("ada".into())], Vec::new());
    for bytes in [&[][..], b"certificate", &der[..der.len() - 1]] {
        let user = user_of(bytes, CertificateField::CommonName);
        assert_eq!(user, Err(CertificateFault::Unreadable));
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(at in 0..400usize, byte: u8) {
        let mut der = certificate(&[DnValue::Utf8String("ada".into())], vec![host("a.example")]);
        let at = at % der.len();
        der[at] = byte;
        for field in
            [CertificateField::CommonName, CertificateField::DnsName, CertificateField::Uri]
        {
            let user = user_of(&der, field);
            prop_assert!(user.is_err() || user.is_ok_and(|user| is_user_name(&user)));
        }
    }
}
