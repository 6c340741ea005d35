//! The port is taken and the program moved, whatever it is and however it binds.

use super::program::{WAYS, carries, dynamic, fixed, number, possible, wrapping, wrapping_on};
use crate::support::on_both_engines;
use crate::support::server::{Server, program, run_to_end};
use std::net::{Ipv6Addr, TcpListener};

on_both_engines!(ipv4_goes_to_the_loopback);

/// The program with these words, by each way; `check` is told the server and the program's new port.
#[track_caller]
fn each_way(words: &[&str], check: impl Fn(&Server, u32)) {
    for way in WAYS.into_iter().filter(|way| possible(way)) {
        let how = format!("--wrap-bind={way}");
        let server = wrapping(&[&how], dynamic(), &[&["old"], words].concat());
        let new = number(&server, "(port ");
        check(&server, new);
        server.stop();
    }
}

fn has_ipv6() -> bool {
    let has = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok();
    if !has {
        eprintln!("skipped: no IPv6 here");
    }
    has
}

fn ipv4_goes_to_the_loopback(engine: &str) {
    for way in WAYS.into_iter().filter(|way| possible(way)) {
        let how = format!("--wrap-bind={way}");
        let server = wrapping_on(engine, &[&how], dynamic(), &["old"]);
        let new = number(&server, "(port ");
        server.wait_line(&format!("bound 127.0.0.1 {new}"));
        server.wait_line(&format!("told old={} new={new}", server.port()));
        carries(&server);
        server.stop();
    }
}

#[test]
fn ipv6_goes_to_its_own_loopback() {
    for word in ["6", "dual"].into_iter().filter(|_| has_ipv6()) {
        each_way(&[word], |server, new| {
            server.wait_line(&format!("bound ::1 {new}"));
            carries(server);
        });
    }
}

#[test]
fn a_socket_for_each_family() {
    if has_ipv6() {
        each_way(&["both"], |server, new| {
            server.wait_line(&format!("bound 127.0.0.1 {new}"));
            server.wait_line(&format!("bound ::1 {new}"));
            carries(server);
        });
    }
}

#[test]
fn threads_and_forks() {
    for word in ["thread", "fork"] {
        each_way(&[word], |server, new| {
            server.wait_line(&format!("bound 127.0.0.1 {new}"));
            carries(server);
        });
    }
}

#[test]
fn everything_else_passes() {
    each_way(&["other"], |server, new| {
        server.wait_line(&format!("udp 0.0.0.0 {}", server.port()));
        let any = server.wait_line("any 0.0.0.0 ");
        assert!(!any.ends_with(&format!(" {new}")) && !any.ends_with(" 0"), "{any}");
        server.wait_line("errors are as they should be");
        assert!(!server.log().contains("no error for"), "{}", server.log());
        carries(server);
    });
}

#[test]
fn what_cannot_be_read_is_left_to_the_kernel() {
    if possible("seccomp") {
        let server = wrapping(&["--wrap-bind=seccomp"], dynamic(), &["old", "other", "fault"]);
        server.wait_line("errors are as they should be");
        assert!(!server.log().contains("no error for"), "{}", server.log());
        carries(&server);
        server.stop();
    }
}

#[test]
fn a_static_program_is_moved_from_outside() {
    let Some(fixed) = fixed().filter(|_| possible("seccomp")) else { return };
    for words in [&["old"][..], &["old", "thread"], &["old", "fork"]] {
        let server = wrapping(&["--wrap-bind=seccomp"], fixed, words);
        server.wait_line(&format!("bound 127.0.0.1 {}", number(&server, "(port ")));
        carries(&server);
        server.stop();
    }
}

#[test]
fn a_static_program_out_of_reach_is_told() {
    let Some(fixed) = fixed() else { return };
    let (status, said) = run_to_end(&["--wrap-bind=preload", "127.0.0.1:0", "--", fixed, "old"]);
    assert!(said.contains("is a static executable, so LD_PRELOAD does not reach it"), "{said}");
    assert!(said.contains("bound refused: Address already in use"), "{said}");
    assert_eq!(status, Some(9), "the program's own status: {said}");
}

/// A filter that sees binds can be had once in a tree: the inner server of two has to do without, and says why.
#[test]
fn where_one_way_is_refused_the_other_is_taken() {
    if !possible("seccomp") {
        return;
    }
    let inner = program();
    let inner = inner.to_str().expect("its path can be written");
    let words = ["-v", "--wrap-mode=respawn", "127.0.0.1:0", "--", dynamic(), "old"];
    let server = wrapping(&["--wrap-bind=seccomp"], inner, &words);
    server.wait_line("wrap bind=preload instead of seccomp: seccomp: Device or resource busy");
    let ports = server.wait_lines("(port ", 2);
    let new = ports[1].split_once("(port ").expect("it was waited for").1.trim_end_matches(')');
    server.wait_line(&format!("bound 127.0.0.1 {new}"));
    server.stop();
    let told = ["--wrap-bind=seccomp", "127.0.0.1:0", "--", inner, "--wrap-bind=seccomp", "0", "--", "true"];
    let (status, said) = run_to_end(&told);
    let refused = "option --wrap-bind: seccomp: seccomp: Device or resource busy";
    assert!(said.contains(refused), "{said}");
    let told = [&told[..4], &["--check"], &told[4..]].concat();
    let (_, said) = run_to_end(&told);
    assert!(said.contains(&format!("websplice: {refused}")), "{said}");
    assert_eq!(status, Some(1), "{said}");
}

#[test]
fn a_program_that_reads_the_environment_needs_no_moving() {
    let script = r#"exec "$0" "$REBIND_NEW_PORT""#;
    let server = wrapping(&["--wrap-bind=none"], "sh", &["-c", script, dynamic()]);
    let new = number(&server, "(port ");
    server.wait_line(&format!("bound 0.0.0.0 {new}"));
    carries(&server);
    server.stop();
}
