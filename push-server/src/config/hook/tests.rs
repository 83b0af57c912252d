use super::*;

#[test]
fn addresses_of_hooks_are_http_with_a_host_and_without_secrets_of_their_own() {
    for (text, has_tls, is_local) in [
        ("http://127.0.0.1:8080/", false, true),
        ("http://localhost", false, true),
        ("http://[::1]:80/a", false, true),
        ("https://auth.example.org/mqtt?site=7", true, false),
        ("http://192.0.2.1/a/b", false, false),
    ] {
        let url: HookUrl = text.parse().expect(text);
        assert_eq!((url.has_tls(), url.is_local()), (has_tls, is_local), "{text}");
    }
    let long = format!("http://a/{}", "b".repeat(HOOK_URL_BYTES_MAX));
    for text in [
        "",
        "/a",
        "a",
        "127.0.0.1:80",
        "ftp://a/",
        "http://",
        "http:///a",
        "https://u:p@a/",
        "http://u@a",
        "http://a/#b",
        "http://a b/",
        "http://a:99999/",
        &long,
    ] {
        let refused = text.parse::<HookUrl>().expect_err(text);
        assert!(refused.to_string().contains("https://auth.example.org"), "{refused}");
    }
}

#[test]
fn the_log_shows_no_query() {
    let url: HookUrl = "https://auth.example.org:8443/mqtt?key=secret".parse().expect("valid");
    assert_eq!(url.place(), "https://auth.example.org:8443/mqtt");
    assert_eq!(url.to_string(), "https://auth.example.org:8443/mqtt?key=secret");
}
