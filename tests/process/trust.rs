//! Authorities that the environment names by relative paths: a daemon, which is in `/`, reads them where it was started.

use super::daemon::Daemon;
use crate::support::on_both_engines;
use crate::support::server::program;
use crate::support::target::TcpTarget;
use crate::support::temp::TempDir;
use crate::support::tls::{Authority, TRUST_VARIABLES, file};
use std::process::Command;

on_both_engines!(a_daemon_is_told_whom_to_trust_where_it_was_started);

/// Something that lets everybody in who asks it over TLS.
fn guard(authority: &Authority) -> TcpTarget {
    let own = authority.sign(&["127.0.0.1"]);
    authority.web_service(&own, |_| "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".into())
}

/// The program with one of these variables in its environment, and none of the others.
fn with(name: &str, value: &str) -> Command {
    let mut command = Command::new(program());
    TRUST_VARIABLES.iter().for_each(|name| {
        command.env_remove(name);
    });
    command.env(name, value);
    command
}

fn a_daemon_is_told_whom_to_trust_where_it_was_started(engine: &str) {
    let (authority, directory, beside) = (Authority::new(), TempDir::new(), TempDir::new());
    let guard = guard(&authority);
    file(&directory, "own.pem", &authority.pem);
    std::fs::create_dir(directory.join("owns")).expect("it is ours");
    // As `openssl rehash` names them.
    file(&directory, "owns/0a1b2c3d.0", &authority.pem);
    // Daemons start in a directory beside this one.
    let name = directory.path().file_name().expect("it has a name").to_str().expect("it is plain");
    let (file, files) = (format!("../{name}/own.pem"), format!("../{name}/owns"));
    let source = format!("--auth-source=https://{}/", guard.address());
    let asking = ["--auth-plugin=ForwardAuth", &source];
    for (name, value) in [
        ("REQUESTS_CA_BUNDLE", &file),
        ("REQUESTS_CA_BUNDLE", &files),
        ("CURL_CA_BUNDLE", &file),
        ("SSL_CERT_FILE", &file),
        ("SSL_CERT_DIR", &format!(":{files}")),
    ] {
        let checked = [&["--check", "--echo", "127.0.0.1:0"], &asking[..]].concat();
        let said = with(name, value).args(checked).current_dir(beside.path()).output().expect("it starts");
        assert_eq!(said.status.code(), Some(0), "{name}: {}", String::from_utf8_lossy(&said.stderr));
        let daemon = Daemon::start_by(&mut with(name, value), engine, &asking);
        daemon.serves();
        daemon.stop();
    }
}
