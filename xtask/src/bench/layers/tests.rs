use super::*;

fn layers(arguments: LayerArguments) -> Layers {
    Layers { arguments, folder: PathBuf::from("/c") }
}

#[test]
fn without_layers_nothing_is_said() {
    let plain = layers(LayerArguments::default());
    assert!(plain.arguments().are_none());
    assert_eq!(plain.listen_flag(), "--listen");
    assert!(plain.server_words().is_empty() && plain.generator_words().is_empty());
    assert_eq!((plain.mosquitto_lines(), plain.arguments().text()), Default::default());
    assert_eq!(plain.arguments().suffix(), "");
}

#[test]
fn servers_and_generator_are_told_the_same_layers() {
    let arguments = LayerArguments {
        tls: true,
        ws: true,
        tls_version: Some("1.3".to_owned()),
        tls_client_cert: true,
        ..LayerArguments::default()
    };
    assert_eq!(arguments.text(), " over WebSocket inside TLS 1.3 with client certificates");
    let both = layers(arguments);
    assert_eq!((both.listen_flag(), both.arguments().suffix()), ("--wss-listen", "-wss"));
    let server = "--tls-cert /c/server.pem --tls-key /c/server.key --tls-client-auth required \
                  --tls-client-ca /c/ca.pem";
    assert_eq!(both.server_words().join(" "), server);
    let generator = "--tls /c/ca.pem --tls-version 1.3 --tls-cert /c/client.pem --tls-key \
                     /c/client.key --ws";
    assert_eq!(both.generator_words().join(" "), generator);
    let mosquitto = both.mosquitto_lines();
    let expected = "protocol websockets\ncertfile /c/server.pem\nkeyfile /c/server.key\ncafile \
                    /c/ca.pem\nrequire_certificate true\n";
    assert!(mosquitto.starts_with(expected), "{mosquitto}");
}
