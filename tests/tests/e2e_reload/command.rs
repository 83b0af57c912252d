//! `push-server reload`: what it says, and the socket that it speaks to.

use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};

use push_tests::clients::Client;
use push_tests::expectations::wait_for;
use push_tests::server::{PingPath, Server};
use push_tests::skip::TestResult;
use push_tests::users::line;
use rustix::process::Signal;

use crate::rig::{
    Files, as_user, command, finish, reload, reload_well, settings_file, settings_of, stop, write,
};

pub(crate) fn the_command_says_what_is_wrong_and_exits_with_1() -> TestResult {
    let files = Files::new()?;
    let server = files.server(PingPath::User).start()?;
    let metadata = std::fs::metadata(server.admin_socket()).expect("a socket");
    assert!(metadata.file_type().is_socket());
    assert_eq!(metadata.permissions().mode() & 0o777, 0o660);
    let said = reload_well(&server)?;
    assert!(said.contains(&format!("read {} (2 users)\n", files.shown("users"))), "{said}");
    assert!(said.contains(&format!("read {} (1 rules)\n", files.shown("rules.toml"))), "{said}");
    // All mistakes at once, each with its file and line.
    files.write("users", &(line("ada", "pencil") + "bob\n"));
    files.write("rules.toml", "[[allow]]\npublish = [\"a+\"]\n");
    let (code, said) = reload(&server)?;
    assert_eq!(code, 1, "{said}");
    for mistake in [
        format!("error: {}:2: expected NAME:HASH", files.shown("users")),
        format!("error: {}:2:12: \"a+\" is no filter", files.shown("rules.toml")),
    ] {
        assert!(said.contains(&mistake), "no {mistake:?} in {said}");
        let mistake = mistake.trim_start_matches("error: ");
        server.wait_log(&format!("push-server reload: nothing was changed: {mistake}"));
    }
    assert_eq!(server.metrics().value("push_reload_last_success"), 0);
    let socket = server.admin_socket();
    stop(server);
    assert!(!socket.exists(), "a server that stops takes its socket with it");
    let nowhere = files.shown("nowhere.sock");
    let (code, said) = command(&["reload", "--socket", &nowhere])?;
    assert!(code == 1 && said.contains(&nowhere) && said.contains("--admin-socket"), "{said}");
    Ok(())
}

pub(crate) fn a_setting_that_needs_a_restart_is_named_and_the_rest_applies() -> TestResult {
    let files = Files::new()?;
    let server = files.server(PingPath::User).start()?;
    let before = settings_of(&server);
    files.write("others", &line("eve", "crayon"));
    let after = before
        .replace("shards = 2", "shards = 3\nmax-connections = 500")
        .replace(&files.shown("users"), &files.shown("others"));
    write(&settings_file(&server), &after);
    let said = reload_well(&server)?;
    assert!(said.contains("changed: users\n"), "{said}");
    assert!(said.contains("needs a restart: shards, max-connections\n"), "{said}");
    server.wait_log("WARN push_server::control::reload: push-server reload: needs a restart: shards, max-connections");
    Client::connect(server.target(), &as_user("eve", "eve", "crayon"));
    assert_eq!(server.metrics().value("push_reload_last_success"), 1);
    // As it was: nothing needs one.
    write(&settings_file(&server), &before);
    let said = reload_well(&server)?;
    assert!(said.contains("changed: users\n") && !said.contains("restart"), "{said}");
    finish(&server);
    Ok(())
}

pub(crate) fn a_socket_of_a_living_server_is_an_error_and_a_dead_ones_is_replaced() -> TestResult {
    let files = Files::new()?;
    let socket = files.shown("admin.sock");
    let start =
        || Server::with(PingPath::User).settings(files.settings()).flag("--admin-socket", &*socket);
    let mut first = start().start()?;
    let mut second = start().launch()?;
    assert_eq!(second.wait_exit().0.code(), Some(1));
    let log = second.log();
    assert!(log.contains(&format!("cannot listen at {socket}")), "{log}");
    assert!(log.contains("in use") && log.contains("--admin-socket"), "{log}");
    let (code, said) = command(&["reload", "--socket", &socket])?;
    assert_eq!(code, 0, "the first one has it still: {said}");
    first.signal(Signal::KILL);
    first.wait_exit();
    assert!(std::fs::metadata(&socket).is_ok(), "it has left its file");
    let third = start().start()?;
    let (code, said) = command(&["reload", "--socket", &socket])?;
    assert_eq!(code, 0, "{said}");
    finish(&third);
    Ok(())
}

pub(crate) fn the_log_level_changes_while_the_server_runs() -> TestResult {
    let files = Files::new()?;
    let settings = files.settings() + "log = 'info'\n";
    let server = Server::with(PingPath::User).settings(settings).start()?;
    Client::connect(server.target(), &as_user("first", "ada", "pencil")).disconnect();
    let settings = settings_of(&server).replace("log = 'info'", "log = 'debug'");
    write(&settings_file(&server), &settings);
    server.signal(Signal::HUP);
    wait_for("the reload", || server.log().contains("SIGHUP: changed log").then_some(()));
    Client::connect(server.target(), &as_user("second", "ada", "pencil")).disconnect();
    let log = server.wait_log("client=\"second\"");
    assert!(log.contains("DEBUG") && !log.contains("client=\"first\""), "{log}");
    finish(&server);
    Ok(())
}
