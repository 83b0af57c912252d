use super::*;

#[test]
fn an_origin_has_one_form() {
    for (text, normal) in [
        ("https://app.example.org", "https://app.example.org"),
        ("HTTPS://App.Example.org", "https://app.example.org"),
        ("https://app.example.org:443", "https://app.example.org"),
        ("http://app.example.org:80", "http://app.example.org"),
        ("https://app.example.org:80", "https://app.example.org:80"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://[::1]:8080", "http://[::1]:8080"),
        ("capacitor://localhost", "capacitor://localhost"),
    ] {
        assert_eq!(normal_origin(text).as_deref(), Some(normal), "{text}");
        assert_eq!(normal_origin(normal).as_deref(), Some(normal));
    }
}

#[test]
fn what_is_no_origin_is_none() {
    for text in [
        "",
        "null",
        "*",
        "app.example.org",
        "app.example.org:443",
        "https://",
        "https://app.example.org/",
        "https://app.example.org/page",
        "https://app.example.org?x",
        "https://user@app.example.org",
        "https://app.example.org:",
        "https://app.example.org:x",
        "https://app.example.org:65536",
        "https://a b",
        "https://a,https://b",
        "file:///etc/passwd",
        "http:/a",
    ] {
        assert_eq!(normal_origin(text), None, "{text}");
    }
}
