//! `--check` says whether a command line would start, and `--libserver` is taken without complaint.

use crate::support::server::{Server, program, run_to_end};
use crate::support::temp::TempDir;
use std::net::TcpListener;
use std::os::unix::net::UnixDatagram;
use std::process::Command;

/// Status, standard output and standard error.
#[track_caller]
fn checked(args: &[&str]) -> (Option<i32>, String, String) {
    checked_with(&[], args)
}

/// The same with these variables in the environment, and no others that say where services are and who is trusted.
#[track_caller]
fn checked_with(variables: &[(&str, &str)], args: &[&str]) -> (Option<i32>, String, String) {
    let directory = TempDir::new();
    let mut command = Command::new(program());
    let trust = ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"];
    for name in trust.iter().chain(&["no_proxy", "NO_PROXY", "https_proxy", "all_proxy"]) {
        command.env_remove(name);
    }
    command.envs(variables.iter().copied());
    let said = command.args(args).current_dir(directory.path()).output().expect("it starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert_eq!(
        directory.path().read_dir().expect("it is there").count(),
        0,
        "{args:?} leaves nothing behind"
    );
    (said.status.code(), text(&said.stdout), text(&said.stderr))
}

#[test]
fn what_would_start_is_ok() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let taken = taken.local_addr().map(|address| (taken, address.to_string())).expect("it is bound");
    let logs = TempDir::new();
    let _syslog = UnixDatagram::bind(logs.join("device")).expect("it is ours");
    let syslog = format!("--syslog={}", logs.arg("device"));
    let rows: [&[&str]; 8] = [
        &["6080", "localhost:5901"],
        // It may be us who are there.
        &[&taken.1, "localhost:5901"],
        &["--web=.", "--log-file=own.log", "--pid-file=own.pid", "--unix-listen=own.sock", "--echo"],
        &["-D", "--user=root", &syslog, "6080", "a:1"],
        &["--log-file=/dev/stdout", "--syslog=", "6080", "a:1"],
        &["--log-file=/dev/fd/2", "--ssl-ciphers=HIGH:!aNULL", "6080", "a:1"],
        &["--syslog=127.0.0.1:514", "--inetd", "--ssl-target", "a.example:1"],
        &["--engine=poll", "--run-once", "--idle-timeout=5", "6080", "a:1"],
    ];
    for args in rows {
        for place in 0..=args.len() {
            let mut args = args.to_vec();
            args.insert(place, "--check");
            let ok = (Some(0), "configuration ok\n".to_owned(), String::new());
            assert_eq!(checked(&args), ok, "{args:?}");
        }
    }
}

/// A certificate whose time is over, with its key.
fn expired(dir: &TempDir) -> String {
    let key = rcgen::KeyPair::generate().expect("a key is made");
    let mut wanted = rcgen::CertificateParams::new(["desk.example".to_owned()]).expect("a name");
    wanted.not_before = rcgen::date_time_ymd(2020, 1, 1);
    wanted.not_after = rcgen::date_time_ymd(2021, 1, 1);
    let certificate = wanted.self_signed(&key).expect("it is signed");
    dir.write("expired.pem", certificate.pem() + &key.serialize_pem());
    dir.arg("expired.pem")
}

#[test]
fn what_would_not_is_one_line_and_status_78() {
    let dir = TempDir::new();
    dir.write("file", "no certificate\n");
    let file = dir.arg("file");
    let certificate = expired(&dir);
    let rows: [(&[&str], &str); 19] = [
        (&["6080", "a:1", "--record=absent/desk"], "option --record: "),
        (&["6080", "--token-plugin=TokenFile", "--token-source=absent"], "absent"),
        (&["6080", "--token-plugin=NoSuchPlugin", "--token-source=x"], "NoSuchPlugin"),
        (&["6080", "a:1", "--cert", &certificate], "expired.pem"),
        (&["6080"], "Too few arguments"),
        (&["6080", "a:1", "b:2"], "Too many arguments"),
        (&["6080", "nonsense"], "Error parsing target"),
        (&["6080", "a:1", "--nope"], "no such option: --nope"),
        (&["6080", "a:1", "--legacy-syslog"], "You must use --syslog to use --legacy-syslog"),
        (&["6080", "a:1", "--ssl-only"], "SSL only and self.pem not found"),
        (&["6080", "a:1", "--cert", &file], "file"),
        (&["6080", "a:1", "--web", &file], "--web: "),
        (&["6080", "a:1", "--log-file=absent/own.log"], "--log-file: absent/own.log: no such directory"),
        (&["6080", "a:1", "--pid-file=absent/own.pid"], "--pid-file: absent/own.pid: no such directory"),
        (&["6080", "a:1", "--user=no-such-user"], "--user: no such user: no-such-user"),
        (&["6080", "a:1", "--syslog=no-such-host.invalid:514"], "--syslog: no-such-host.invalid:514: "),
        (&["no-such-host.invalid:6080", "a:1"], "Opening socket failed: source_addr: no-such-host.invalid: "),
        (&["--unix-listen", &file, "a:1"], "a file that is no socket is in the way"),
        (&["6080", "a:1", "--threads=64", "--buffer-memory=8MiB"], "option --buffer-memory: "),
    ];
    for (args, part) in rows {
        for place in [0, args.len()] {
            let mut args = args.to_vec();
            args.insert(place, "--check");
            let (status, out, err) = checked(&args);
            assert_eq!((status, out.as_str()), (Some(78), ""), "{args:?}: {err}");
            assert!(
                err.lines().count() == 1 && err.starts_with("websplice: ") && err.contains(part),
                "{args:?}: {err}"
            );
        }
    }
}

/// Asks a web service, which is not there.
const SERVICE: [&str; 4] =
    ["--check", "--token-plugin=BaseTokenAPI", "--token-source=http://me:hunter2@127.0.0.1:1/%s", "6080"];

/// One line that begins with `begin` and has `parts` in it, and status 78.
#[track_caller]
fn is_told(variables: &[(&str, &str)], args: &[&str], begin: &str, parts: &[&str]) {
    let (status, out, err) = checked_with(variables, args);
    assert_eq!((status, out.as_str()), (Some(78), ""), "{variables:?} {args:?}: {err}");
    let begin = format!("websplice: {begin}");
    assert!(err.lines().count() == 1 && err.starts_with(&begin), "{variables:?} {args:?}: {err}");
    assert!(parts.iter().all(|part| err.contains(part)) && !err.contains("hunter2"), "{args:?}: {err}");
}

#[test]
fn a_proxy_that_cannot_be_used_is_told_where_it_would_be() {
    for value in ["socks5://127.0.0.1:1", ":::bad", "http://127.0.0.1:99999", "http://me:hunter2@p:x"] {
        let begin = "--token-source: http_proxy='";
        is_told(&[("http_proxy", value)], &SERVICE, begin, &["write http://host:port there, or unset it"]);
        for (variables, args) in [
            (&[("http_proxy", value), ("no_proxy", "127.0.0.0/8")][..], &SERVICE[..]),
            (&[("http_proxy", value)], &["--check", "6080", "a:1"]),
        ] {
            let (status, _, err) = checked_with(variables, args);
            assert_eq!((status, err.as_str()), (Some(0), ""), "{variables:?}");
        }
    }
}

#[test]
fn authorities_of_the_environment_that_are_none_are_told_where_they_would_judge() {
    let place = TempDir::new();
    place.write("junk", "no certificate\n");
    place.write("good", rcgen_authority());
    std::fs::create_dir(place.path().join("empty")).expect("it is ours");
    let (junk, good, empty) = (place.arg("junk"), place.arg("good"), place.arg("empty"));
    let tokens = ["--check", "--token-plugin=JSONTokenApi", "--token-source=https://a.test/%s", "6080"];
    let forward = ["--check", "--auth-plugin=ForwardAuth", "--auth-source=https://a.test/", "6080", "a:1"];
    let target = ["--check", "--ssl-target", "6080", "a:1"];
    for args in [&tokens[..], &forward, &target] {
        for (value, why) in
            [("/nonexistent", "No such file"), (&junk, "no certificates"), (&empty, "not a file")]
        {
            let name = format!("SSL_CERT_FILE='{value}'");
            // With others beside it, and without.
            for variables in [
                &[("SSL_CERT_FILE", value)][..],
                &[("SSL_CERT_FILE", value), ("SSL_CERT_DIR", &place.arg(""))],
            ] {
                let (status, _, err) = checked_with(variables, args);
                assert_eq!(status, Some(78), "{variables:?} {args:?}: {err}");
                assert!(err.lines().count() == 1 && err.contains(&name) && err.contains(why), "{err}");
            }
        }
        for (value, wrong) in [("/nonexistent", true), (&junk, true), (&empty, false)] {
            let (status, _, err) = checked_with(&[("SSL_CERT_FILE", &good), ("SSL_CERT_DIR", value)], args);
            assert_eq!(status, Some(if wrong { 78 } else { 0 }), "{value} {args:?}: {err}");
            assert_eq!(err.contains(&format!("SSL_CERT_DIR='{value}'")), wrong, "{args:?}: {err}");
        }
        is_told(&[("SSL_CERT_DIR", &empty)], args, "", &["SSL_CERT_DIR='", "holds no certificates"]);
        let (status, _, err) = checked_with(&[("SSL_CERT_FILE", &good)], args);
        assert_eq!((status, err.as_str()), (Some(0), ""), "{args:?}");
    }
    // Services are judged by a bundle where one is named, and nobody else is.
    for name in ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"] {
        for (value, why) in
            [("/nonexistent", "No such file"), (&junk, "no certificates"), (&empty, "no certificates")]
        {
            let parts = [&*format!("{name}='{value}'"), why, "name authorities in PEM there, or unset it"];
            is_told(&[(name, value), ("SSL_CERT_FILE", &good)], &tokens, "--token-source: ", &parts);
            is_told(&[(name, value), ("SSL_CERT_FILE", &good)], &forward, "--auth-source: ", &parts);
            let (status, _, err) = checked_with(&[(name, value), ("SSL_CERT_FILE", &good)], &target);
            assert_eq!((status, err.as_str()), (Some(0), ""), "{name} {value}");
        }
        for args in [&tokens[..], &forward] {
            let (status, _, err) = checked_with(&[(name, &good), ("SSL_CERT_FILE", "/nonexistent")], args);
            assert_eq!((status, err.as_str()), (Some(0), ""), "{name} {args:?}");
        }
    }
    let (status, ..) = checked_with(&[("SSL_CERT_FILE", "/nonexistent")], &["--check", "6080", "a:1"]);
    assert_eq!(status, Some(0), "nobody is judged");
}

#[test]
fn what_nothing_comes_of_is_told_and_is_but_a_warning_for_a_start() {
    let place = TempDir::new();
    let tokens = place.write("tokens", "t: 127.0.0.1:1\n");
    place.write("text", "");
    let config = format!("--target-config={}", tokens.display());
    let text = format!("--python={}", place.arg("text"));
    let rows: [(&[&str], &str, &str); 4] = [
        (
            &[&config, "--token-plugin=TokenRedis", "--token-source=r:1"],
            "--target-config: ",
            "--token-plugin=TokenRedis",
        ),
        (&["--python=/nonexistent", "--echo"], "--python: /nonexistent: ", "no such program"),
        (&["--python=no-such-python", "--echo"], "--python: no-such-python: ", "PATH"),
        (&[&text, "--echo"], "--python: ", "may not be executed"),
    ];
    for (args, begin, part) in rows {
        is_told(&[], &[&["--check", "6080"], args].concat(), begin, &[part]);
        let server = Server::start("poll", args);
        let line = server.wait_line(&format!(" warn {begin}"));
        assert!(line.contains(part), "{line}");
        server.stop();
    }
}

#[test]
fn what_is_odd_in_a_directory_of_tokens_is_told() {
    for (plugin, odd, why) in [
        ("TokenFileName", "pipe", "is no file; put a file with host:port there"),
        ("TokenFileName", "socket", "leads nowhere, or out of the directory"),
        ("TokenFileName", "device", "leads nowhere, or out of the directory"),
        ("TokenFileName", "absent", "leads nowhere, or out of the directory"),
        ("TokenFile", "pipe", "pipe is no file and is passed over"),
        ("TokenFile", "device", "device is no file and is passed over"),
    ] {
        let place = TempDir::new();
        place.write("good", if plugin == "TokenFile" { "t: 127.0.0.1:1\n" } else { "127.0.0.1:1" });
        std::fs::create_dir(place.join("within")).expect("it is ours");
        let source = format!("--token-source={}", place.path().display());
        let plugin = format!("--token-plugin={plugin}");
        let args = ["--check", "6080", &plugin, &source];
        assert_eq!(checked(&args).0, Some(0), "{plugin}");
        match odd {
            "pipe" => {
                nix::unistd::mkfifo(&place.join(odd), nix::sys::stat::Mode::S_IRWXU).expect("it is ours")
            }
            "device" => std::os::unix::fs::symlink("/dev/null", place.join(odd)).expect("it is ours"),
            _ => std::os::unix::fs::symlink("nowhere", place.join(odd)).expect("it is ours"),
        }
        is_told(&[], &args, "--token-source: ", &[why]);
    }
}

#[test]
fn what_is_there_and_is_of_another_kind_is_told_with_its_remedy() {
    let place = TempDir::new();
    place.write("file", "t: 127.0.0.1:1\n");
    nix::unistd::mkfifo(&place.join("pipe"), nix::sys::stat::Mode::S_IRWXU).expect("it is ours");
    for plugin in ["TokenFileName", "UnixDomainSocketDirectory"] {
        let plugin_word = format!("--token-plugin={plugin}");
        let source = format!("--token-source={}", place.arg("file"));
        let needs = format!("Not a directory (os error 20); {plugin} needs a directory");
        is_told(&[], &["--check", "6080", &plugin_word, &source], "--token-source: ", &[&needs]);
    }
    for wrong in ["pipe", ""] {
        let word = format!("--syslog={}", place.arg(wrong));
        is_told(
            &[],
            &["--check", &word, "6080", "a:1"],
            "--syslog: ",
            &["not a socket; name the one of a server"],
        );
    }
    if nix::unistd::geteuid().is_root() {
        let secret = place.write("secret/users", "me:x\n");
        let hidden = place.join("secret");
        std::fs::set_permissions(&hidden, std::os::unix::fs::PermissionsExt::from_mode(0o700))
            .expect("it is ours");
        let _syslog = UnixDatagram::bind(hidden.join("device")).expect("it is ours");
        let (users, syslog) = (format!("--auth-source={}", secret.display()), place.arg("secret/device"));
        let (device, user) = (format!("--syslog={syslog}"), "--user=65534:65534");
        let guard = ["--check", "--auth-plugin=HtpasswdAuth", &users, user, "6080", "a:1"];
        is_told(&[], &guard, "option --auth-source: ", &["let the user read it who serves"]);
        is_told(
            &[],
            &["--check", &device, user, "6080", "a:1"],
            "--syslog: ",
            &["let the user write to it who serves"],
        );
    }
}

#[test]
fn a_path_may_be_of_any_bytes_and_other_sources_may_not() {
    use std::os::unix::ffi::OsStrExt;
    let place = TempDir::new();
    let path = place.join("tok").into_os_string();
    let path = std::ffi::OsStr::from_bytes(&[path.as_encoded_bytes(), b"\xff"].concat()).to_owned();
    std::fs::write(&path, "t: 127.0.0.1:1\n").expect("it is ours");
    let users = std::ffi::OsStr::from_bytes(&[path.as_encoded_bytes(), b"u"].concat()).to_owned();
    std::fs::write(&users, "me:$apr1$abcdefgh$N5CAXIbyFW2eta7OLGOUM0\n").expect("it is ours");
    let check = |more: &[&str], option: &str, path: &std::ffi::OsStr| {
        let word = [option.as_bytes(), path.as_encoded_bytes()].concat();
        let word = std::ffi::OsStr::from_bytes(&word);
        let said = Command::new(program()).args(["--check", "6080"]).args(more).arg(word).output();
        let said = said.expect("it starts");
        (said.status.code(), String::from_utf8_lossy(&said.stderr).into_owned())
    };
    let ok = (Some(0), String::new());
    assert_eq!(check(&["--token-plugin=TokenFile"], "--token-source=", &path), ok);
    assert_eq!(check(&["a:1", "--auth-plugin=HtpasswdAuth"], "--auth-source=", &users), ok);
    for (more, option, remedy) in [
        (
            &["--token-plugin=TokenRedis"][..],
            "--token-source=",
            "--token-source: it is not UTF-8; write it in UTF-8",
        ),
        (
            &["a:1", "--auth-plugin=BasicHTTPAuth"],
            "--auth-source=",
            "--auth-source: it is not UTF-8; write it in UTF-8",
        ),
        (&["a:1"], "--user=", "it is not UTF-8; write it in UTF-8"),
    ] {
        let (status, err) = check(more, option, &path);
        assert!(status == Some(78) && err.lines().count() == 1 && err.contains(remedy), "{err}");
        assert!(option == "--user=" || !err.contains("/tok"), "it may be a secret: {err}");
    }
}

#[test]
fn a_start_that_comes_to_nothing_is_one_line() {
    for command in ["exec:/nonexistent", "exec:echo one >&2; echo two >&2; exit 3"] {
        let plugin = format!("--token-plugin={command}");
        let (status, err) = run_to_end(&[&plugin, "127.0.0.1:0"]);
        assert!(status == Some(1) && err.lines().count() == 1, "{err}");
        assert!(
            err.contains("option --token-plugin: ") && err.contains("see that the command runs"),
            "{err}"
        );
    }
}

fn rcgen_authority() -> String {
    let key = rcgen::KeyPair::generate().expect("a key is made");
    let mut wanted = rcgen::CertificateParams::new(Vec::new()).expect("no names");
    wanted.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    wanted.self_signed(&key).expect("it is signed").pem()
}

#[test]
fn libserver_is_ignored_and_said_to_be() {
    let server = Server::start("poll", &["--libserver", "--echo"]);
    server.wait_line(" warn warning: option libserver ignored");
    server.client().leave();
    server.stop();
}
