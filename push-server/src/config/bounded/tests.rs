use super::*;

#[test]
fn sizes_take_units_and_plain_numbers_mean_bytes() {
    let parse = |text: &str| text.parse::<Bytes<u64, 128, { 1 << 40 }>>().map(Bounded::value);
    for (text, bytes) in [
        ("65536", 65_536),
        ("64KiB", 65_536),
        ("64 kib", 65_536),
        ("1.5MiB", 3 << 19),
        ("64MiB", 64 << 20),
        ("1GiB", 1 << 30),
        ("1TiB", 1 << 40),
        ("2kB", 2_000),
    ] {
        assert_eq!(parse(text), Ok(bytes), "{text}");
    }
    for text in ["", "127", "100B", "2TiB", "64XiB", "-1", "MiB", "99999999999TiB"] {
        let error = parse(text).expect_err(text).to_string();
        assert!(error.ends_with("from 128 to 1099511627776 bytes, as 65536 or 64KiB"), "{error}");
    }
}

#[test]
fn times_take_units_and_plain_numbers_mean_seconds() {
    let parse = |text: &str| text.parse::<Secs<u32, 0, 1_000_000>>().map(Bounded::value);
    for (text, secs) in [
        ("0", 0),
        ("600", 600),
        ("10m", 600),
        ("90s", 90),
        ("7d", 604_800),
        ("1h 30m", 5_400),
        ("2000ms", 2),
    ] {
        assert_eq!(parse(text), Ok(secs), "{text}");
    }
    for text in ["", "1000001", "1y", "500ms", "10 parsecs", "-1s", "m", "0M", "1h 10M"] {
        let error = parse(text).expect_err(text).to_string();
        assert!(error.ends_with("from 0 to 1000000 seconds, as 600 or 10m"), "{text}: {error}");
    }
}
