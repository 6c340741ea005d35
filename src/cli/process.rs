//! The rows of the option table that are about the process: how it begins, ends and tells what it does. `table` puts
//! them in their place.

use super::option::{Act, Category, Opt};
use super::table::{file, free};
use super::values;

const INETD_DETAIL: &str = "Standard input is the socket: one that listens (inetd with wait, or a socket unit of systemd \
     with Accept=no), or one client that is connected (nowait, or Accept=yes); then that client alone is served and the \
     program ends with it. TCP and Unix sockets are both fine. Where standard input is none, all the sockets are taken that \
     systemd hands over (LISTEN_FDS). The word [source_addr:]source_port is left out. A listening socket stays open for \
     whoever lent it when the program ends.";

pub(super) const INETD: Opt = Opt {
    long: "inetd",
    short: None,
    category: Category::Listening,
    brief: "clients come in on standard input",
    detail: INETD_DETAIL,
    default: "",
    example: "--inetd --idle-timeout=60 localhost:5901",
    act: Act::Switch(|options| options.process.inetd = true),
};

pub(super) const RUN_ONCE: Opt = Opt {
    long: "run-once",
    short: None,
    category: Category::Timing,
    brief: "end with the first WebSocket session",
    detail: "Serve one client at a time, and end with status 0 when the first session ends that became a WebSocket, even if \
             its target could not be reached. Pages and requests that were refused do not count. Whoever still waits \
             then is turned away.",
    default: "",
    example: "--run-once 6080 localhost:5901",
    act: Act::Switch(|options| options.process.once = true),
};

pub(super) const TIMEOUT: Opt = Opt {
    long: "timeout",
    short: None,
    category: Category::Timing,
    brief: "accept no clients after this long; 0: no limit",
    detail: "So long after the start new clients are refused; sessions go on, and the program ends with status 0 when the last \
             one has ended. A negative time has passed at once.",
    default: "0",
    example: "--timeout=3600 6080 localhost:5901",
    act: Act::Take(free("SECONDS"), |options, value| {
        options.process.timeout = values::lapse(value)?;
        Ok(())
    }),
};

pub(super) const IDLE_TIMEOUT: Opt = Opt {
    long: "idle-timeout",
    short: None,
    category: Category::Timing,
    brief: "end after this long without clients; 0: never",
    detail: "End with status 0 when there has been no client for so long, whatever it came for. The time counts from the \
             start, and again from each end of the last session.",
    default: "0",
    example: "--idle-timeout=600 6080 localhost:5901",
    act: Act::Take(free("SECONDS"), |options, value| {
        options.process.idle = values::lapse(value)?;
        Ok(())
    }),
};

const LOG_FILE_DETAIL: &str = "Every line that goes to standard error is also appended to FILE, a file or a device. Its \
     directory must be there; a new file can be read by its owner only. SIGHUP and SIGUSR1 open FILE anew, for whoever has \
     moved it away.\n\n\
     /dev/stdout, /dev/stderr, /dev/fd/N and /proc/self/fd/N (with the server's own process number for self, too) stand for the \
     descriptor itself, whatever it is: the signals leave it open, no program that the server starts inherits an N above 2, \
     lines that its reader does not take in time are dropped and counted, and where it is the same as standard error each line \
     comes once. With --daemon, which closes it, and with --inetd, where it may be the socket of a client, they are \
     refused.\n\n\
     A FILE that is there already is refused in a directory that everybody may write to, if it belongs neither to \
     root nor to the user who serves, or has a second name (a hard link): somebody else may have put it there.\n\n\
     A symbolic link is followed where it and its directory belong to root or to the user who opens it and not everybody \
     may write to the directory; other links are refused. So is a named pipe, since lines would wait for its reader: have a shell \
     open it, as in 3<>PIPE, and name /dev/fd/3.";

pub(super) const LOG_FILE: Opt = Opt {
    long: "log-file",
    short: None,
    category: Category::Program,
    brief: "log to FILE too",
    detail: LOG_FILE_DETAIL,
    default: "",
    example: "--log-file=/var/log/websplice.log 6080 localhost:5901",
    act: Act::Take(file("FILE"), |options, value| {
        options.process.log_file = (!value.is_empty()).then(|| value.into());
        Ok(())
    }),
};

pub(super) const SYSLOG: Opt = Opt {
    long: "syslog",
    short: None,
    category: Category::Program,
    brief: "log to a syslog server too",
    detail: "Every line that goes to standard error is also sent to SERVER: with a colon host:port, by UDP; else the path of a \
             local socket, which may take datagrams or a stream and is connected anew, with the next line, when its server was \
             restarted. Lines that the server is not there for, or does not take at once, are dropped and counted.\n\n\
             The form is that of RFC 5424; the facility is user, or daemon with --daemon.",
    default: "",
    example: "--syslog=/dev/log 6080 localhost:5901",
    act: Act::Take(file("SERVER"), |options, value| {
        options.process.syslog = values::syslog(value)?;
        Ok(())
    }),
};

pub(super) const LEGACY_SYSLOG: Opt = Opt {
    long: "legacy-syslog",
    short: None,
    category: Category::Program,
    brief: "use the BSD format for --syslog",
    detail: "Leave time and host out of the lines for --syslog, for servers that do not know RFC 5424.",
    default: "",
    example: "--syslog=/dev/log --legacy-syslog 6080 localhost:5901",
    act: Act::Switch(|options| options.process.legacy_syslog = true),
};

pub(super) const DAEMON: Opt = Opt {
    long: "daemon",
    short: Some('D'),
    category: Category::Program,
    brief: "run in the background, as a daemon",
    detail: "Become a daemon, in a session of its own, in / and with nothing but /dev/null for standard input, output and \
             error. The program that was started ends when clients can connect, with status 0; if the start fails, or a \
             signal stops it before that, with its message and status 1. A server that is no daemon ends with status 0 whenever \
             a signal stops it. Relative paths mean what they meant where it was started. Its \
             log, pid file, recordings and sockets have permissions of their own, whatever the umask is; programs that it \
             starts inherit the umask.",
    default: "",
    example: "--daemon --pid-file=/run/websplice.pid --syslog=/dev/log 6080 localhost:5901",
    act: Act::Switch(|options| options.process.daemon = true),
};

pub(super) const PID_FILE: Opt = Opt {
    long: "pid-file",
    short: None,
    category: Category::Program,
    brief: "write the process number to FILE",
    detail: "It is the number of the process that serves. FILE is locked, so that a second server with the same FILE does not \
             start; a leftover is replaced, even if somebody keeps it locked whose number it is not. Who keeps it locked and cannot \
             be seen from here, in another container or on another machine that share FILE, is believed to be a server: its \
             number means nothing here. Of a process that the system hides (hidepid) only the number that it has here counts. FILE may be \
             on NFS; where there are no locks the start fails. It is made as .FILE.new \
             beside its place. It is removed at the end, and by a start that fails; where the user who serves (--user) may not \
             do that at the end, a line of the log says so. Symbolic links are not followed.",
    default: "",
    example: "-D --pid-file=/run/websplice.pid 6080 localhost:5901",
    act: Act::Take(file("FILE"), |options, value| {
        options.process.pid_file = (!value.is_empty()).then(|| value.into());
        Ok(())
    }),
};

pub(super) const USER: Opt = Opt {
    long: "user",
    short: None,
    category: Category::Program,
    brief: "serve as this user instead of root",
    detail: "Become USER, with GROUP or else the user's own group and all other groups of the user, before the first client \
             is served: after ports are opened, keys are read and logs are opened. Each is a name or a number. There is no \
             way back, which is made sure of. Until the start has come to its end, a process of root waits beside the server if \
             there is a pid file or a Unix socket to be removed should it fail. Certificates that are renewed and logs that are \
             opened anew must be there for that user.",
    default: "",
    example: "--user=nobody --cert=/etc/ssl/desk.pem 443 localhost:5901",
    act: Act::Take(free("USER[:GROUP]"), |options, value| {
        options.process.user = Some(values::text(value)?).filter(|user| !user.is_empty());
        Ok(())
    }),
};

pub(super) const LIBSERVER: Opt = Opt {
    long: "libserver",
    short: None,
    category: Category::Program,
    brief: "accepted for old scripts, ignored",
    detail: "In websockify this chose another engine, which ignored most options. Here nothing is chosen and no option is \
             ignored but this one, which is said at the start.",
    default: "",
    example: "--libserver 6080 localhost:5901",
    act: Act::Switch(|options| options.process.libserver = true),
};

pub(super) const CHECK: Opt = Opt {
    long: "check",
    short: None,
    category: Category::Help,
    brief: "check the configuration and exit",
    detail: "Check the command line, certificates and keys, files and directories and what is in them, names, users and the \
             engine, without opening a port or making a file; values are checked even where nothing uses them. Plugins are \
             started and ended. Redis, web services and targets are not asked, nor is a syslog server at a UDP port: they may \
             well come later. What a start would only warn of counts as wrong, but for what the system does not grant here and \
             may grant a service. \
             That another server listens there, or has the pid file, does not: it may be the one to be replaced. Prints \"configuration ok\" and \
             exits with status 0, or says in one line what is wrong and exits with 78.",
    default: "",
    example: "--check --cert=/etc/ssl/desk.pem 6080 localhost:5901",
    act: Act::Switch(|options| options.process.check = true),
};
