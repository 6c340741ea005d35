"""The command line: forms and errors. All runs are real: a row starts both programs and waits for their end, or for the
line that says that clients can connect."""

import re
import signal
import socket

from harness import Echo, Group, better, files, has, same
from services import two_addresses
from support import until
from wire import Seen, request

PLACE = Group("arguments", target=Echo, setup=files({"web/index.html": "x", "tokens": "t: 127.0.0.1:1\n", "file": "x"}))
TWO = Group("arguments-two-addresses", target=Echo, setup=two_addresses, listen="two.test:$port", env={"LD_PRELOAD": "$two"})
LOST = Group("arguments-address-lost", target=Echo, setup=two_addresses, listen="lost.test:$port", env={"LD_PRELOAD": "$two"})
GO = "127.0.0.1:$port 127.0.0.1:$target"
LAST = re.compile(r"(?s)(?:.*\n)?([\w.-]+): error: ([^\n]*)\n*")


def typed(line):
    """The words of a line; `''` is an empty one."""
    return ["" if word == "''" else word for word in line.split()]


def fails(line, program="websockify", env=None):
    """Runs a command line that must not start a server: exit status, the name it calls itself, its message, and whether a
    usage came first."""

    def do(half):
        run = half.start(*typed(line), program=program, env=env)
        status = run.child.wait(20)
        run.wait_for(r"\(end of output\)")
        said = run.said().replace("(end of output)", "")
        error = LAST.fullmatch(said)
        return Seen(status=status, program=error and error[1], error=error and half.blank(error[2]), said=half.blank(said),
                    usage="Usage:" in said or "usage:" in said, printed=half.blank(run.output()))  # fmt: skip

    return do


def starts(line, program="websockify", family=socket.AF_INET):
    """Runs a command line that must start a server: its banner, and its exit status after SIGTERM."""

    def do(half):
        run = half.start(*typed(line), program=program)
        run.wait_for("proxying from", 30)
        half.server = run
        with half.connect(family=family) as client:
            assert client.send(request()).answer().code in (200, 405)
        run.tell(signal.SIGTERM)
        status = run.child.wait(20)
        banner = [line for line in run.said().splitlines() if line.startswith(("  - ", "WebSocket server settings"))]
        return Seen(status=status, banner=[half.blank(line) for line in banner], printed=run.output())

    return do


def outcome(line):
    """Whether a command line starts a server, and what it says."""

    def do(half):
        run = half.start(*typed(line))
        run.wait_for(r"proxying from|\(end of output\)", 30)
        said = run.said()
        line_ = re.search(".*proxying from.*", said)
        error = LAST.fullmatch(said.replace("(end of output)", ""))
        return Seen(runs=bool(line_), line=line_ and half.blank(line_[0]), error=error and half.blank(error[2]),
                    status=None if line_ else run.child.wait(20))  # fmt: skip

    return do


def accepts(line):
    """Whether a command line starts a server that accepts."""

    def do(half):
        run = half.start(*typed(line))

        def reached():
            assert run.child.poll() is None, f"it left with {run.child.returncode}"
            try:
                half.connect().end()
                return True
            except OSError:
                return False

        return Seen(accepts=until(reached, "the server accepts"))

    return do


def reached(line):
    """Over which families a server is reached."""

    def do(half):
        half.start(*typed(line)).wait_for("proxying from", 30)
        seen = Seen()
        for name, family in (("v4", socket.AF_INET), ("v6", socket.AF_INET6)):
            try:
                half.connect(family=family).end()
                seen[name] = True
            except OSError:
                seen[name] = False
        return seen

    return do


def both_addresses(half):
    """At which addresses of a name with two a server is reached."""
    half.serve()
    seen = Seen()
    for host in ("127.0.0.2", "127.0.0.3"):
        with socket.socket() as probe:
            seen[host] = probe.connect_ex((host, half.port)) == 0
    return seen


def beyond(half):
    """A port to listen on that is 65536 too high: what is said, or where the server is reached."""
    run = half.start(f"127.0.0.1:{half.port + 65536}", "127.0.0.1:$target")
    run.wait_for(r"proxying from|\(end of output\)", 30)
    if "proxying from" in run.said():
        half.connect().end()
        return Seen(runs=True)
    return Seen(runs=False, status=run.child.wait(20), said=run.said())


def begins(said):
    """A message that begins with these words: ours may go on behind a colon with what is wrong and what to write."""
    return re.compile(re.escape(said) + r"(: .+)?")


def usage(ident, line, said, **more):
    """A row where both explain their usage and exit with 2."""
    error = begins(said) if said.startswith(("Error parsing", "Too few")) else said
    return same(f"usage-{ident}", PLACE, fails(line, **more), alone=True, status=2, usage=True, program="websockify",
        error=error,
                printed="")  # fmt: skip


def wording(ident, line, theirs, ours, rule="N 1.1: the message names option, value and cause"):
    """A row where both explain their usage and exit with 2, in other words."""
    both = {"status": 2, "usage": True, "program": "websockify"}
    return better(f"usage-{ident}", PLACE, fails(line), rule, {**both, "error": theirs}, {**both, "error": ours}, alone=True)


def runs(ident, line, *extra, **more):
    """A row where both start with the same banner and end with 0."""
    banner = ["WebSocket server settings:", "  - Listen on HERE", "  - No SSL/TLS support (no cert file)", *extra,
              "  - proxying from HERE to 127.0.0.1:TARGET"]  # fmt: skip
    return same(f"runs-{ident}", PLACE, starts(line, **more), alone=True, status=0, banner=banner, printed="")


# All 37 options, each with a value if it takes one, and the message when a word too many stands behind it.
TAKE = {
    "verbose": "", "traffic": "", "record": "rec", "daemon": "", "run-once": "", "timeout": "5", "idle-timeout": "5",
        "cert": "file",
    "key": "file", "key-password": "x", "ssl-only": "", "ssl-target": "", "verify-client": "", "cafile": "file",
    "ssl-version": "tlsv1_2", "ssl-ciphers": "ECDHE-RSA-AES256-GCM-SHA384", "unix-listen": "sock", "unix-listen-mode": "660",
    "unix-target": "sock", "inetd": "", "web": "web", "web-auth": "", "wrap-mode": "ignore", "prefer-ipv6": "", "libserver": "",
    "target-config": "tokens", "token-plugin": "TokenFile", "token-source": "tokens", "host-token": "",
        "auth-plugin": "BasicHTTPAuth",
    "auth-source": "a:b", "heartbeat": "5", "log-file": "log", "syslog": "127.0.0.1:9", "legacy-syslog": "", "file-only": "",
        "help": "",
}  # fmt: skip
NEED = {"token-source": "token-plugin", "host-token": "token-plugin", "auth-source": "auth-plugin", "web-auth": "auth-plugin",
        "legacy-syslog": "syslog"}  # fmt: skip
OTHER = {"unix-listen": begins("Error parsing target"), "inetd": begins("Error parsing target"),
    "ssl-only": re.compile("SSL only and .*self.pem not found(: .+)?")}


def message(option):
    """What both say to an option in front of three words."""
    return f"You must use --{NEED[option]} to use --{option}" if option in NEED else OTHER.get(option, MANY)


def shortest(option):
    """The shortest beginning of an option that is no other's."""
    return next(option[:end] for end in range(1, len(option) + 1)
                if option[:end] == option or not any(other != option and other.startswith(option[:end]) for other in TAKE))  # fmt: skip


def forms(option):
    """Rows of one option in its forms: in front and with `=`, and behind the words, shortened, with a blank."""
    value, words = TAKE[option], "6080 a:1" if option == "ssl-only" else "6080 a:1 b"
    lines = {"": f"--{option}{'=' if value else ''}{value} {words}", "-short": f"{words} --{shortest(option)} {value}"}
    for kind, line in lines.items():
        if option == "help":
            yield same(f"option-help{kind}", PLACE, fails(line), alone=True, status=0, said=lambda said: not said.strip())
        else:
            yield same(f"option-{option}{kind}", PLACE, fails(line), alone=True, status=2, usage=True, error=message(option))


FEW, MANY = "Too few arguments", "Too many arguments"
ROWS = [
    # Words.
    *(usage(f"plus-{option}", f"--{option}=+5 6080 a:1 b", MANY) for option in ("timeout", "idle-timeout", "heartbeat")),
    usage("nothing", "", FEW),
    usage("no-target", "6080", FEW),
    usage("three-words", "6080 a:1 b", MANY),
    usage("listen-port", "port localhost:5900", "Error parsing listen port"),
    usage("listen-port-empty", "host: localhost:5900", "Error parsing listen port"),
    usage("listen-port-decimal", "60.80 localhost:5900", "Error parsing listen port"),
    usage("target-no-colon", "6080 localhost", "Error parsing target"),
    usage("unix-target-and-target", "--unix-target=/x 6080 a:1", MANY),
    usage("unix-target-alone", "--unix-target=/x", FEW),
    usage("unix-listen-mode", "--unix-listen=/x --unix-listen-mode=rw a:1", "Error parsing listen unix socket mode"),
    usage("unix-listen-mode-digit", "--unix-listen=/x --unix-listen-mode=888 a:1", "Error parsing listen unix socket mode"),
    # What it says only matters where there is a socket; and what it says is judged behind the pairings.
    usage("unix-listen-mode-unused", "--unix-listen-mode=rw 6080 a:1 b", MANY),
    usage("unix-listen-mode-pairing", "--unix-listen=/x --unix-listen-mode=rw --host-token a:1",
          "You must use --token-plugin to use --host-token"),
    usage("unix-listen-no-target", "--unix-listen=/x", FEW),
    usage("unix-listen-port", "--unix-listen=/x 6080 a:1", "Error parsing target"),
    usage("token-plugin-and-target", "--token-plugin=TokenFile --token-source=tokens 6080 a:1", MANY),
    usage("token-plugin-no-listen", "--token-plugin=TokenFile --token-source=tokens", FEW),
    usage("wrap-nothing", "6080 --", FEW),
    usage("inetd-port", "--inetd 6080", "Error parsing target"),
    usage("inetd-no-target", "--inetd", FEW),
    # Pairings.
    usage("pair-token-source", "--token-source=x 6080 a:1", "You must use --token-plugin to use --token-source"),
    usage("pair-host-token", "--host-token 6080 a:1", "You must use --token-plugin to use --host-token"),
    usage("pair-auth-source", "--auth-source=x 6080 a:1", "You must use --auth-plugin to use --auth-source"),
    usage("pair-web-auth", "--web-auth 6080 a:1", "You must use --auth-plugin to use --web-auth"),
    usage("pair-web-auth-web", "--web-auth --auth-plugin=BasicHTTPAuth 6080 a:1", "You must use --web to use --web-auth"),
    usage("pair-legacy-syslog", "--legacy-syslog 6080 a:1", "You must use --syslog to use --legacy-syslog"),
    usage("pair-target-config-host-token", "--target-config=tokens --host-token 6080",
          "You must use --token-plugin to use --host-token"),
    usage("pair-order", "--host-token --token-source=x --auth-source=y 6080 a:1",
          "You must use --token-plugin to use --token-source"),
    usage("pair-before-words", "--host-token", "You must use --token-plugin to use --host-token"),
    # Options.
    usage("unknown-long", "--nonsense 6080 a:1", "no such option: --nonsense"),
    usage("unknown-short", "-x 6080 a:1", "no such option: -x"),
    usage("unknown-in-cluster", "-v6x 6080 a:1", "no such option: -x"),
    usage("single-dash-long", "-verbose 6080 a:1", "no such option: -e"),
    usage("value-missing", "6080 a:1 --cert", "--cert option requires 1 argument"),
    usage("value-unwanted", "--verbose=1 6080 a:1", "--verbose option does not take a value"),
    wording("ssl-version", "--ssl-version=nonsense 6080 a:1", re.compile("option --ssl-version: invalid choice: 'nonsense' .*"),
            re.compile('option --ssl-version: unknown version "nonsense"; known are default, tlsv1_1, .*')),
    wording("ssl-version-old", "--ssl-version=sslv3 6080 a:1", re.compile("option --ssl-version: invalid choice: 'sslv3' .*"),
            re.compile("option --ssl-version: sslv3 is broken .*")),
    usage("wrap-mode", "--wrap-mode=never 6080 -- x",
          "option --wrap-mode: invalid choice: 'never' (choose from 'exit', 'ignore', 'respawn')"),
    *(wording(f"{option}-{what}", f"--{option}={value} 6080 a:1", f"option --{option}: invalid integer value: '{value}'",
              f"option --{option}: invalid duration value: '{value}' (such as 30, 500ms, 2m, 1h; 0 for none)")
      for option in ("timeout", "idle-timeout") for what, value in (("word", "soon"), ("decimal", "1.5"))),
    wording("heartbeat-word", "--heartbeat=soon 6080 a:1", "option --heartbeat: invalid integer value: 'soon'",
            re.compile("option --heartbeat: invalid duration.*'soon'.*")),
    same("usage-ambiguous", PLACE, fails("--ss 6080 a:1"), alone=True, status=2, usage=True,
         error=re.compile(r"ambiguous option: --ss \(--ssl-ciphers, --ssl-only, --ssl-target, .*--ssl-version\?\)")),
    same("usage-ssl-only-no-cert", PLACE, fails("--ssl-only 6080 a:1"), alone=True, status=2, usage=True,
         error=re.compile("SSL only and .*self.pem not found(: .+)?")),
    usage("target-port", "6080 localhost:5900x!", "Error parsing target port"),
    wording("target-service-unknown", "6080 localhost:59o1", "Error parsing target port",
            "Error parsing target port: no service is called '59o1' here; write a number"),
    same("usage-ssl-only-cert-missing", PLACE, fails("--ssl-only --cert=absent.pem 6080 a:1"), alone=True, status=2, usage=True,
         error=begins("SSL only and absent.pem not found")),
    same("usage-ssl-only-cert-missing-first", PLACE, fails("--ssl-only --cert=absent.pem 6080"), alone=True, status=2,
         usage=True, error=begins("SSL only and absent.pem not found")),
    *(better(f"usage-{what}-port-{port}", PLACE, outcome(line), "F 1.2: ports out of range are refused; theirs wrap around",
             {"runs": True}, {"runs": False, "status": 2, "error": f"Error parsing {what} port: {port} is above 65535"},
                 alone=True)
      for what, port, line in (("target", 70000, "127.0.0.1:$port a:70000"), ("target", 65536, "127.0.0.1:$port a:65536"))),
    better("usage-listen-port-too-high", PLACE, beyond, "F 1.2: ports out of range are refused; theirs wrap around",
           {"runs": True},
           {"runs": False, "status": 2, "said": has("Error parsing listen port", "is above 65535")}, alone=True),
    same("runs-address-lost", LOST, both_addresses, alone=True, **{"127.0.0.2": True, "127.0.0.3": False}),
    better("runs-two-addresses", TWO, both_addresses, "F 2.1: bind all returned addresses", {"127.0.0.2": True,
           "127.0.0.3": False},
           {"127.0.0.2": True, "127.0.0.3": True}, alone=True),
    better("runs-port-0", PLACE, outcome("127.0.0.1:0 127.0.0.1:$target"), "F 1.2: print the real port",
           {"runs": True, "line": "  - proxying from 127.0.0.1:0 to 127.0.0.1:TARGET"},
           {"runs": True, "line": re.compile(r"  - proxying from 127\.0\.0\.1:[1-9]\d+ to 127\.0\.0\.1:TARGET")}, alone=True),
    # All options.
    *(row for option in TAKE for row in forms(option)),
    *(same(f"option-cluster-{cluster}", PLACE, fails(f"-{cluster} 6080 a:1 b"), alone=True, status=2, error=MANY)
      for cluster in ("v", "6", "D", "v6", "6v", "v6D", "Dv")),
    same("option-libserver-runs", PLACE, accepts(f"--libserver {GO}"), alone=True, accepts=True),
    # Programs.
    same("program-run", PLACE, fails("", program="run"), alone=True, status=2, program="run", error=begins(FEW)),
    same("program-run-usage", PLACE, fails("6080", program="run"), alone=True, status=2, said=has("    run [options] ")),
    # Help.
    same("help-status", PLACE, fails("--help"), alone=True, status=0, said=lambda said: not said.strip(),
         printed=has("websockify [options] [source_addr:]source_port target_addr:target_port")),
    same("help-wins", PLACE, fails("--help 6080 a:1 b:2 c"), alone=True, status=0),
    same("help-short", PLACE, fails("-h"), alone=True, status=0, printed=has("--web", "--cert", "-6")),
    *(same(f"help-names-{option}", PLACE, fails("--help"), alone=True, status=0, printed=has(f"--{option}"))
      for option in ("record", "token-plugin")),
    # Runs.
    runs("plain", GO),
    runs("program-run", GO, program="run"),
    runs("verbose", f"-v {GO}"),
    runs("verbose-behind", f"{GO} -v"),
    runs("verbose-between", "127.0.0.1:$port --verbose 127.0.0.1:$target"),
    runs("prefix", f"--verb {GO}"),
    runs("heartbeat", f"--heartbeat=5 {GO}"),
    runs("heartbeat-word", f"--heartbeat 5 {GO}"),
    runs("heartbeat-prefix", f"--heart=5 {GO}"),
    runs("heartbeat-0", f"{GO} --heartbeat 0"),
    same("runs-web", PLACE, starts(f"--web=$place/web {GO}"), alone=True, status=0,
         banner=has("  - Web server. Web root: PLACE/web")),
    same("runs-web-relative", PLACE, starts(f"--web web {GO}"), alone=True, status=0,
         banner=lambda banner: any("Web root: " in line for line in banner)),
    same("runs-web-file-only", PLACE, starts(f"{GO} --web $place/web --file-only"), alone=True, status=0,
         banner=has("  - Web server (no directory listings). Web root: PLACE/web")),
    runs("cluster", f"-v {GO} -v"),
    same("runs-cluster-v6", PLACE, starts("-v6 [::1]:$port 127.0.0.1:$target", family=socket.AF_INET6), alone=True, status=0),
    same("runs-ipv6", PLACE, starts("[::1]:$port 127.0.0.1:$target", family=socket.AF_INET6), alone=True, status=0),
    better("runs-ipv6-bare", PLACE, starts("::1:$port 127.0.0.1:$target", family=socket.AF_INET6), "F 10: brackets everywhere",
           {"status": 0, "banner": has("  - proxying from ::1:PORT to 127.0.0.1:TARGET")},
           {"status": 0, "banner": has("  - proxying from [::1]:PORT to 127.0.0.1:TARGET")}, alone=True),
    same("runs-all-interfaces", PLACE, starts("$port 127.0.0.1:$target"), alone=True, status=0,
         banner=has("  - Listen on :PORT", "  - proxying from :PORT to 127.0.0.1:TARGET")),
    same("runs-all-interfaces-colon", PLACE, starts(":$port 127.0.0.1:$target"), alone=True, status=0,
         banner=has("  - proxying from :PORT to 127.0.0.1:TARGET")),
    better("runs-all-interfaces-both", PLACE, reached("$port 127.0.0.1:$target"), "F 9: both families by default (defect 10)",
           {"v4": True, "v6": False}, {"v4": True, "v6": True}, alone=True),
    same("runs-all-interfaces-6", PLACE, starts("-6 $port 127.0.0.1:$target", family=socket.AF_INET6), alone=True, status=0),
    same("runs-all-interfaces-6-dual", PLACE, starts("-6 $port 127.0.0.1:$target"), alone=True, status=0),
    same("runs-localhost", PLACE, starts("localhost:$port 127.0.0.1:$target"), alone=True, status=0,
         banner=has("  - proxying from localhost:PORT to 127.0.0.1:TARGET")),
    same("runs-target-empty-host", PLACE, starts("127.0.0.1:$port :$target"), alone=True, status=0,
         banner=has("  - proxying from HERE to :TARGET")),
    same("runs-target-ipv6", PLACE, starts("127.0.0.1:$port [::1]:$target"), alone=True, status=0),
    same("runs-unix-target", PLACE, starts("--unix-target=$place/sock 127.0.0.1:$port"), alone=True, status=0,
         banner=has("  - proxying from HERE to PLACE/sock")),
    same("runs-ssl-target", PLACE, starts(f"--ssl-target {GO}"), alone=True, status=0,
         banner=has("  - proxying from HERE to 127.0.0.1:TARGET (using SSL)")),
    same("runs-wrap-mode-without-wrap", PLACE, starts(f"--wrap-mode=ignore {GO}"), alone=True, status=0),
    same("runs-key-password-alone", PLACE, starts(f"--key-password=x {GO}"), alone=True, status=0),
    same("runs-mode-without-listen", PLACE, starts(f"--unix-listen-mode=640 {GO}"), alone=True, status=0),
    same("runs-long-timeouts", PLACE, starts(f"--timeout=3600 --idle-timeout 3600 {GO}"), alone=True, status=0),
    same("runs-timeout-0", PLACE, starts(f"--timeout=0 --idle-timeout=0 {GO}"), alone=True, status=0),
    # Failures at start.
    better("fails-port-taken", PLACE, fails("127.0.0.1:$target a:1"), "F 1.1: a bind that fails is status 1",
           {"status": 0, "said": has("Openening socket failed: ")}, {"status": 1, "said": has("127.0.0.1:TARGET")}, alone=True),
    better("fails-unknown-host", PLACE, fails("no-such-host.invalid:$port a:1"), "F 1.1: a bind that fails is status 1",
           {"status": 0, "said": has("Openening socket failed: ")}, {"status": 1, "said": has("no-such-host.invalid")},
               alone=True),
    *(better(f"fails-{kind}-plugin-no-name", PLACE, fails(f"--{kind}-plugin= {GO}"),
             "F 1.1: one clear line, and no door left open by a name that got lost",
             {"status": 1, "said": has("Traceback", f"'websockify.{kind}_plugins' has no attribute ''")},
             {"status": 1, "said": has(f"--{kind}-plugin: no name")}, alone=True) for kind in ("auth", "token")),
    better("fails-web-missing", PLACE, fails(f"--web=$place/absent {GO}"), "F 1.1: one clear line",
           {"status": 1, "said": has("Traceback")}, {"status": 1, "said": has("websockify: ", "PLACE/absent")}, alone=True),
    better("fails-web-file", PLACE, fails(f"--web=$place/file {GO}"), "F 1.1: one clear line",
           {"status": 1, "said": has("Traceback")}, {"status": 1, "said": has("websockify: ", "PLACE/file", "not a directory")},
           alone=True),
]  # fmt: skip


def test_row(row, pairs):
    row.judge(pairs)

