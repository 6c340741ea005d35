//! The rows of the argument matrix that are about the process: how it begins, ends and tells what it does.

use super::{Banner, Check};
use std::time::Duration;
use websplice::cli::{self, Outcome};
use websplice::config::{Lapse, SyslogServer, Verbosity};

pub const WAYS: &[(&str, &str)] = &[
    ("--inetd a:1", "inetd a:1"),
    ("a:1 --in", "inetd a:1"),
    ("--inetd --unix-listen=/run/l a:1", "inetd a:1"),
    ("--inetd --unix-target=/run/t", "inetd /run/t"),
    ("--inetd --echo", "inetd echo://"),
];

fn lapse(millis: u64, said: &str) -> Option<Lapse> {
    Some(Lapse { time: Duration::from_millis(millis), said: said.into() })
}

fn udp(host: &str, port: u16) -> Option<SyslogServer> {
    Some(SyslogServer::Udp { host: host.into(), port })
}

pub const OPTIONS: &[(&str, Check)] = &[
    ("--run-once", |o| o.process.once),
    ("--run", |o| o.process.once),
    ("--timeout=30", |o| o.process.timeout == lapse(30_000, "30")),
    ("--ti=1", |o| o.process.timeout == lapse(1000, "1")),
    ("--timeout=1500ms", |o| o.process.timeout == lapse(1500, "1500ms")),
    ("--timeout -1", |o| o.process.timeout == lapse(0, "-1")),
    ("--timeout=0", |o| o.process.timeout.is_none()),
    ("--timeout=5 --timeout -0", |o| o.process.timeout.is_none()),
    ("--timeout=99999999999999999999", |o| o.process.timeout == lapse(u64::MAX, "99999999999999999999")),
    ("--idle-timeout=2m", |o| o.process.idle == lapse(120_000, "2m") && o.process.timeout.is_none()),
    ("-D", |o| o.process.daemon),
    ("-v6D", |o| o.process.daemon && o.verbosity == Verbosity::Verbose && o.prefer_ipv6),
    ("--daemon", |o| o.process.daemon),
    ("--d", |o| o.process.daemon),
    ("--pid-file=/run/x.pid", |o| o.process.pid_file == Some("/run/x.pid".into())),
    ("--pid-file=", |o| o.process.pid_file.is_none()),
    ("--user=www-data:adm", |o| o.process.user.as_deref() == Some("www-data:adm")),
    ("--user=", |o| o.process.user.is_none()),
    ("--libserver", |o| o.process.libserver),
    ("--lib", |o| o.process.libserver),
    ("--check", |o| o.process.check),
    ("--log-file=/var/log/x", |o| o.process.log_file == Some("/var/log/x".into())),
    ("--log x", |o| o.process.log_file == Some("x".into())),
    ("--log-file=x --log-file=", |o| o.process.log_file.is_none()),
    ("--syslog=/dev/log", |o| o.process.syslog == Some(SyslogServer::Local("/dev/log".into()))),
    ("--sy x", |o| o.process.syslog == Some(SyslogServer::Local("x".into()))),
    ("--syslog=", |o| o.process.syslog.is_none()),
    ("--syslog loghost:514", |o| o.process.syslog == udp("loghost", 514)),
    ("--syslog=[::1]:514", |o| o.process.syslog == udp("::1", 514)),
    ("--syslog=::1:514", |o| o.process.syslog == udp("::1", 514)),
    ("--syslog=:514", |o| o.process.syslog == udp("", 514)),
    ("--legacy-syslog --syslog=x", |o| o.process.legacy_syslog),
    ("--leg --syslog=x", |o| o.process.legacy_syslog),
    ("--idle 030", |o| o.process.idle == lapse(30_000, "030")),
];

pub const WEBSOCKIFY_COMPLAINTS: &[(&str, &str)] = &[
    ("--inetd 6080", "Error parsing target"),
    ("--inetd 6080 a:1", "Error parsing target"),
    ("--inetd a:1 6080", "Too many arguments"),
    ("--inetd", "Too few arguments"),
    ("--syslog=a:b 6080 a:1", "Error parsing syslog port"),
    ("--syslog=a: 6080 a:1", "Error parsing syslog port"),
    ("--syslog=/dev/log:x 6080 a:1", "Error parsing syslog port"),
    ("--legacy-syslog 6080 a:1", "You must use --syslog to use --legacy-syslog"),
    ("--legacy-syslog --syslog= 6080 a:1", "You must use --syslog to use --legacy-syslog"),
    ("--idle-timeout", "--idle-timeout option requires 1 argument"),
];

pub const OWN_COMPLAINTS: &[(&str, &str)] = &[
    ("--syslog=a:70000", "Error parsing syslog port: 70000 is above 65535"),
    ("--syslog=a:b:1", "Error parsing syslog address: 'a:b'"),
    ("--timeout=1.5", "option --timeout: invalid duration value: '1.5'"),
    ("--timeout=--1", "option --timeout: invalid duration value: '--1'"),
    ("--timeout=-", "option --timeout: invalid duration value: '-'"),
    ("--timeout=", "option --timeout: invalid duration value: ''"),
    ("--idle-timeout=x", "option --idle-timeout: invalid duration value: 'x'"),
];

pub const BANNERS: &[Banner] =
    &[("--inetd --echo", &["Listen for inetd connections"], "proxying from inetd to echo://")];

/// Lines that stand behind those about TLS.
#[test]
fn a_daemon_is_announced_behind_tls() {
    let Outcome::Run(config) = super::dispatch(super::argv("websockify", "-D --web / 6080 a:1")) else {
        panic!()
    };
    let lines = cli::banner::settings(&config);
    let expected = [
        "WebSocket server settings:",
        "  - Listen on :6080",
        "  - Web server. Web root: /",
        "  - No SSL/TLS support (no cert file)",
        "  - Backgrounding (daemon)",
    ];
    assert_eq!(lines, expected);
}
