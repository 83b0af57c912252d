use super::super::super::brokers::rotated;
use super::*;

fn peer(text: &str) -> Contender {
    Contender::Peer(text.parse().unwrap())
}

#[test]
fn a_peer_is_a_name_and_a_command_with_a_place_for_the_port() {
    let peer: Peer =
        "other=/opt/other --listen 127.0.0.1:{port} --dir={data}/db --tls {cert},{key}"
            .parse()
            .unwrap();
    let files = ["/c/server.pem", "/c/server.key"].map(str::to_owned);
    let command = peer.command(1_234, Path::new("/tmp/d"), &files);
    assert_eq!(command.get_program(), "/opt/other");
    let arguments: Vec<_> = command.get_args().collect();
    assert_eq!(
        arguments,
        ["--listen", "127.0.0.1:1234", "--dir=/tmp/d/db", "--tls", "/c/server.pem,/c/server.key",]
    );
    for wrong in ["other", "=x {port}", "other=", "other=x --port 1883"] {
        assert!(wrong.parse::<Peer>().is_err(), "{wrong}");
    }
}

#[test]
fn no_two_columns_have_one_name() {
    let mosquitto = Contender::Known(Variant::Mosquitto);
    assert!(check_names(&[mosquitto.clone(), peer("a=a {port}"), peer("b=a {port}")]).is_ok());
    assert!(check_names(&[peer("a=a {port}"), peer("a=b {port}")]).is_err());
    assert!(check_names(&[mosquitto, peer("mosquitto=b {port}")]).is_err());
}

#[test]
fn every_contender_is_first_in_its_turn() {
    let all = [Contender::Known(Variant::User), peer("a=a {port}"), peer("b=b {port}")];
    let order = |round| rotated(&all, round).map(Contender::name).collect::<Vec<_>>();
    assert_eq!(order(0), ["user path", "a", "b"]);
    assert_eq!(order(4), ["a", "b", "user path"]);
    assert_eq!(rotated::<Contender>(&[], 1).count(), 0);
}
