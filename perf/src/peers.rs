//! The peers: who there is, how each is told what to do, and how it says its version.
//!
//! It knows programs and command lines, and starts nothing but to ask for a version; [`crate::running`] does that. It never
//! installs anything: `scripts/perf-peers.sh` does.

use std::fs;
use std::io;
use std::path::{self, Path, PathBuf};
use std::process::Command;

use crate::configurations::{self, Wanted};
use crate::cores;
use crate::extras::Extra;
use crate::rows::{Cast, Kind, Knower, MESSAGE_BYTES, Row};
use crate::sys;
use crate::tls::certificate_file;
use crate::tokens::Source;

/// Most sessions of a peer that starts a process for each.
const PROCESSES_MAX: usize = 200;
/// What WebSocket clients ask for.
const PATH: &str = "/websockify";
/// Starts the package of npm, which is a module and has no command line of its own.
const NODE: &str = "const [source, target, cert] = process.argv.slice(1); \
                    require('@maximegris/node-websockify')({ source, target, cert })";

/// One peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Nobody: clients connect to the target.
    None,
    /// The needed system calls alone: [`crate::floor`].
    Floor,
    /// The same without copying: [`crate::pipes`].
    FloorSplice,
    /// The same with the messages of WebSocket: [`crate::bridge_floor`].
    FloorWs,
    /// websplice on io_uring.
    WebspliceRing,
    /// websplice on mio.
    WebsplicePoll,
    /// HAProxy in TCP mode with buffers of 64 KiB, without splice.
    Haproxy,
    /// HAProxy in TCP mode, with splice and large pipes.
    HaproxySplice,
    /// nginx with its stream module.
    Nginx,
    /// socat, a process for each session.
    Socat,
    /// websockify from PyPI, with numpy.
    Python,
    /// websocat.
    Websocat,
    /// websockify from npm.
    Node,
    /// One that was found in PATH or told by the user.
    Extra(&'static Extra),
}

/// All peers that are known by name, in the order in which they take their turns.
pub const PEERS: [Peer; 13] = [
    Peer::None,
    Peer::Floor,
    Peer::FloorSplice,
    Peer::FloorWs,
    Peer::WebspliceRing,
    Peer::WebsplicePoll,
    Peer::Haproxy,
    Peer::HaproxySplice,
    Peer::Nginx,
    Peer::Socat,
    Peer::Python,
    Peer::Websocat,
    Peer::Node,
];

/// Where the peers' programs are, and what is the same for all of them.
#[derive(Clone, Debug)]
pub struct Programs {
    /// The websplice binary.
    pub websplice: PathBuf,
    /// What `scripts/perf-peers.sh` installed.
    pub peers: PathBuf,
    /// Where logs and written configurations go.
    pub scratch: PathBuf,
    /// Most sessions that a peer is told to expect.
    pub sessions_max: usize,
}

impl Peer {
    /// How the peer is picked on the command line and headed in the report.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Floor => "floor-epoll",
            Self::FloorSplice => "floor-splice",
            Self::FloorWs => "floor-ws",
            Self::WebspliceRing => "websplice-ring",
            Self::WebsplicePoll => "websplice-poll",
            Self::Haproxy => "haproxy",
            Self::HaproxySplice => "haproxy-splice",
            Self::Nginx => "nginx",
            Self::Socat => "socat",
            Self::Python => "python",
            Self::Websocat => "websocat",
            Self::Node => "node",
            Self::Extra(extra) => extra.name,
        }
    }

    /// What its clients ask for if they speak WebSocket; otherwise they send the same payload over bare TCP.
    pub fn path(self) -> Option<&'static str> {
        match self {
            Self::WebspliceRing | Self::WebsplicePoll | Self::FloorWs => Some(PATH),
            Self::Python | Self::Websocat | Self::Node => Some(PATH),
            Self::Extra(extra) => extra.path,
            _ => None,
        }
    }

    /// Whether it is one of those that the goals are set for.
    pub fn ours(self) -> bool {
        matches!(self, Self::WebspliceRing | Self::WebsplicePoll)
    }

    /// Whether it starts a process for each session.
    fn forks(self) -> bool {
        matches!(self, Self::Python | Self::Socat)
    }

    /// Sessions of the idle row: fewer where each is a process.
    pub fn idle_sessions(self, wanted: usize) -> usize {
        if self.forks() { wanted.min(PROCESSES_MAX) } else { wanted }
    }

    /// Whether `row` says anything about this peer: nobody has no memory, and not everybody speaks TLS or has threads to be
    /// told about.
    pub fn fits(self, row: &Row) -> bool {
        let speaks_tls = !matches!(
            self,
            Self::None
                | Self::Floor
                | Self::FloorSplice
                | Self::FloorWs
                | Self::HaproxySplice
                | Self::Socat
                | Self::Websocat
                | Self::Extra(_)
        );
        let takes_part = match row.cast {
            Cast::All => true,
            Cast::Few => match self {
                Self::HaproxySplice => row.kind == Kind::Down,
                Self::None | Self::Socat | Self::Node | Self::Extra(_) => false,
                _ => true,
            },
            Cast::Scaling => self.ours() || matches!(self, Self::Haproxy | Self::Nginx),
            Cast::Ours => self.ours(),
            Cast::Tokens => {
                self.ours() || self == Self::Python && row.tokens.is_some_and(Knower::is_for_python)
            }
        };
        // What clients send is to be unmasked, so for it a relay that never sees it is no limit.
        if self == Self::FloorSplice && row.kind != Kind::Down {
            return false;
        }
        // It knows small messages up, and bulk down alone.
        let known = match row.kind {
            Kind::Setup | Kind::Desktop | Kind::Down => true,
            Kind::Echo => row.message == MESSAGE_BYTES,
            _ => false,
        };
        if self == Self::FloorWs && !known {
            return false;
        }
        // Nobody's figures are there as what the load can do; beside another measurement they are taken anyway.
        let somebody = self != Self::None || !matches!(row.kind, Kind::Idle | Kind::Start | Kind::Latency);
        let room = !self.forks() || row.kind == Kind::Idle || row.open() <= PROCESSES_MAX;
        takes_part && somebody && room && (row.secure.is_none() || speaks_tls)
    }

    /// Whether a short run takes it.
    pub fn quick(self) -> bool {
        matches!(
            self,
            Self::Floor
                | Self::FloorWs
                | Self::WebspliceRing
                | Self::Haproxy
                | Self::HaproxySplice
                | Self::Nginx
                | Self::Python
        )
    }

    /// The program; `None` for nobody.
    pub fn program(self, programs: &Programs) -> Option<PathBuf> {
        match self {
            Self::None => None,
            Self::Floor | Self::FloorSplice | Self::FloorWs => std::env::current_exe().ok(),
            Self::WebspliceRing | Self::WebsplicePoll => Some(programs.websplice.clone()),
            Self::Haproxy | Self::HaproxySplice => Some(found_in_path("haproxy")),
            Self::Nginx => Some(found_in_path("nginx")),
            Self::Socat => Some(found_in_path("socat")),
            Self::Python => Some(programs.peers.join("python/bin/websockify")),
            Self::Websocat => {
                let ours = programs.peers.join("bin/websocat");
                Some(if ours.exists() { ours } else { found_in_path("websocat") })
            }
            Self::Node => Some(found_in_path("node")),
            Self::Extra(extra) => Some(found_in_path(&extra.words[0])),
        }
    }

    /// Whether all that it needs is there; if not, what is lacking and where it comes from.
    pub fn lacks(self, programs: &Programs) -> Option<String> {
        let module = (self == Self::Node).then(|| node_folder(programs).join("node_modules/@maximegris"));
        let missing = self.program(programs).into_iter().chain(module).find(|file| !file.exists());
        if let Some(file) = missing {
            let from = match self {
                Self::WebspliceRing | Self::WebsplicePoll => "cargo build --release",
                Self::Haproxy | Self::HaproxySplice => "apt install haproxy",
                Self::Nginx => "apt install nginx-light libnginx-mod-stream",
                Self::Socat => "apt install socat",
                Self::Python | Self::Websocat | Self::Node => "scripts/perf-peers.sh",
                _ => "told by PERF_PEERS",
            };
            return Some(format!("not installed, no {} ({from})", file.display()));
        }
        if self == Self::Nginx && !has_stream_module(&self.program(programs)?) {
            return Some("installed without its stream module (apt install libnginx-mod-stream)".into());
        }
        None
    }

    /// What the program says it is, in one line, and which TLS library it runs on where it says that too.
    pub fn version(self, programs: &Programs) -> Option<String> {
        let program = self.program(programs)?;
        let mut command = Command::new(&program);
        match self {
            Self::Floor | Self::FloorSplice | Self::FloorWs => {
                return Some(concat!("websplice-perf ", env!("CARGO_PKG_VERSION")).into());
            }
            Self::Extra(extra) => return Some(extra.words.join(" ")),
            Self::Python => {
                let script = "import importlib.metadata as m, ssl, sys; print('websockify', m.version('websockify'), \
                              'numpy', m.version('numpy'), 'Python', sys.version.split()[0], ssl.OPENSSL_VERSION)";
                command = Command::new(program.with_file_name("python"));
                command.args(["-c", script]);
            }
            Self::Node => {
                let script = "const of = name => require(name + '/package.json').version; console.log('node-websockify', \
                              of('@maximegris/node-websockify'), 'ws', of('ws'), 'node', process.version)";
                command.args(["-e", script]).current_dir(node_folder(programs));
            }
            Self::Haproxy | Self::HaproxySplice => drop(command.arg("-vv")),
            Self::Nginx | Self::Socat => drop(command.arg("-V")),
            _ => drop(command.arg("--version")),
        }
        let output = command.output().ok()?;
        // nginx says it where errors go.
        let said = if output.stdout.is_empty() { output.stderr } else { output.stdout };
        let text = String::from_utf8_lossy(&said);
        let first = if self == Self::Socat { text.lines().nth(1)? } else { text.lines().next()? };
        let tls = text.lines().skip(1).find(|line| {
            ["Running on OpenSSL", "built with OpenSSL"].iter().any(|words| line.starts_with(words))
        });
        let told = match self {
            Self::Haproxy | Self::HaproxySplice | Self::Nginx => "(buffers of 64 KiB)",
            _ => "",
        };
        let words = [first, tls.unwrap_or_default(), told].map(str::trim);
        Some(words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" "))
    }

    /// How it is started for `row`, listening on `port` and relaying to `target`, or to where `tokens` say, on its cores; `None`
    /// for nobody.
    pub fn command(
        self,
        programs: &Programs,
        row: &Row,
        port: u16,
        target: u16,
        tokens: &Source,
    ) -> io::Result<Option<Command>> {
        let Some(program) = self.program(programs) else { return Ok(None) };
        let file = row.secure.map(|secure| path::absolute(certificate_file(&programs.scratch, secure.key)));
        let file = file.transpose()?.map(|file| file.to_string_lossy().into_owned());
        let (from, to) = (format!("127.0.0.1:{port}"), format!("127.0.0.1:{target}"));
        let wanted = Wanted {
            from: &from,
            to: &to,
            certificate: file.as_deref(),
            threads: row.shards,
            sessions: programs.sessions_max,
        };
        // Relative paths would be taken from where nginx was installed.
        let scratch = path::absolute(&programs.scratch)?;
        let mut command = Command::new(program);
        match self {
            Self::None => {}
            Self::Floor => drop(command.args(["floor", "--listen", &from, "--target", &to])),
            Self::FloorSplice => {
                command.args(["floor", "--splice", "--listen", &from, "--target", &to]);
            }
            Self::FloorWs => {
                let bulk = (row.kind == Kind::Down).then_some("--splice");
                command.args(["floor", "--messages"]).args(bulk).args(["--listen", &from, "--target", &to]);
            }
            Self::WebspliceRing | Self::WebsplicePoll => {
                let engine = if self == Self::WebspliceRing { "ring" } else { "poll" };
                // The others log nothing either, as they are configured here.
                command.args(["--engine", engine, "--threads", &row.shards.to_string(), "--quiet"]);
                command.args(row.tokens.map_or(&[][..], Knower::own_arguments));
                between(&mut command, &from, &to, tokens);
            }
            Self::Haproxy | Self::HaproxySplice => {
                let text = configurations::haproxy(&wanted, self == Self::HaproxySplice);
                command.args(["-db", "-f"]).arg(written(&scratch.join("haproxy.cfg"), &text)?);
            }
            Self::Nginx => {
                let text = configurations::nginx(&wanted, &scratch);
                command.arg("-c").arg(written(&scratch.join("nginx.conf"), &text)?).args(["-e", "stderr"]);
            }
            Self::Socat => {
                let listen = format!("TCP-LISTEN:{port},bind=127.0.0.1,reuseaddr,fork,nodelay,backlog=4096");
                command.args(["-b", "65536", &listen, &format!("TCP:{to},nodelay")]);
            }
            Self::Python => between(&mut command, &from, &to, tokens),
            Self::Websocat => {
                command.args(["-b", "--exit-on-eof", &format!("ws-l:{from}"), &format!("tcp:{to}")]);
            }
            Self::Node => {
                command.args(["-e", NODE, &from, &to]).args(&file).current_dir(node_folder(programs));
            }
            Self::Extra(extra) => drop(command.args(extra.arguments(port, target))),
        }
        if let (Self::WebspliceRing | Self::WebsplicePoll | Self::Python, Some(file)) = (self, &file) {
            command.args(["--cert", file, "--ssl-only"]);
        }
        sys::confine(&mut command, cores::chosen().of_peer(row.all_cores()));
        Ok(Some(command))
    }
}

/// Whether this nginx can relay streams: by a module that is installed beside it, or one that it was built with.
fn has_stream_module(program: &Path) -> bool {
    let built_with = || {
        let output = Command::new(program).arg("-V").output();
        output.is_ok_and(|output| is_built_in(&String::from_utf8_lossy(&output.stderr)))
    };
    NGINX_MODULES.iter().any(|folder| Path::new(folder).join("ngx_stream_module.so").exists()) || built_with()
}

/// Where distributions have nginx's modules.
const NGINX_MODULES: [&str; 2] = ["/usr/lib/nginx/modules", "/usr/lib64/nginx/modules"];

/// Whether the arguments of a build say that the stream module is part of it: "dynamic" would be a file of its own.
fn is_built_in(arguments: &str) -> bool {
    arguments.split_whitespace().any(|word| word == "--with-stream")
}

/// Tells a bridge where to listen, and where to relay to or who knows that.
fn between(command: &mut Command, from: &str, to: &str, tokens: &Source) {
    if let Some(path) = &tokens.python_path {
        command.env("PYTHONPATH", path);
    }
    if tokens.arguments.is_empty() {
        command.args([from, to]);
    } else {
        command.args(&tokens.arguments).arg(from);
    }
}

fn written(file: &Path, text: &str) -> io::Result<PathBuf> {
    fs::write(file, text)?;
    Ok(file.to_owned())
}

/// Where the package of npm was installed.
fn node_folder(programs: &Programs) -> PathBuf {
    programs.peers.join("node")
}

/// The first file of that name in PATH; the bare name when there is none, so that the error names it.
pub fn found_in_path(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    folders.push("/usr/sbin".into());
    folders.iter().map(|folder| folder.join(name)).find(|file| file.exists()).unwrap_or_else(|| name.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::{ROWS, row};

    #[test]
    fn a_process_for_each_session_is_not_asked_for_thousands() {
        for peer in [Peer::Python, Peer::Socat] {
            assert!(peer.fits(row("echo-64")) && peer.fits(row("idle")) && !peer.fits(row("echo-1000")));
            assert_eq!(peer.idle_sessions(5000), PROCESSES_MAX);
        }
        assert!(Peer::Node.fits(row("echo-1000")));
    }

    #[test]
    fn who_has_a_source_of_tokens_is_told_no_target() {
        let told = |tokens: &Source| -> Vec<String> {
            let mut command = Command::new("bridge");
            between(&mut command, "l:1", "t:2", tokens);
            command.get_args().map(|word| word.to_string_lossy().into_owned()).collect()
        };
        assert_eq!(told(&Source::default()), ["l:1", "t:2"]);
        let source = Source { arguments: vec!["--token-plugin=X".into()], ..Source::default() };
        assert_eq!(told(&source), ["--token-plugin=X", "l:1"]);
    }

    #[test]
    fn a_module_of_its_own_is_not_built_in() {
        assert!(is_built_in("configure arguments: --with-http_ssl_module --with-stream --with-threads"));
        assert!(!is_built_in("configure arguments: --with-stream=dynamic --with-stream_ssl_module"));
    }

    #[test]
    fn what_is_lacking_is_told_with_where_it_comes_from() {
        let nowhere = Programs {
            websplice: "/nowhere/websplice".into(),
            peers: "/nowhere".into(),
            scratch: "/nowhere".into(),
            sessions_max: 0,
        };
        let said = Peer::Python.lacks(&nowhere).expect("it is lacking");
        assert_eq!(said, "not installed, no /nowhere/python/bin/websockify (scripts/perf-peers.sh)");
        assert!(Peer::None.lacks(&nowhere).is_none() && Peer::Floor.lacks(&nowhere).is_none());
    }

    #[test]
    fn rows_have_the_cast_that_they_are_told() {
        for row in &ROWS {
            assert!(Peer::WebspliceRing.fits(row) && Peer::WebsplicePoll.fits(row), "{}", row.name);
            assert!(!Peer::HaproxySplice.fits(row) || row.secure.is_none(), "{}", row.name);
        }
        assert!(!Peer::Haproxy.fits(row("shards-64")) && Peer::Haproxy.fits(row("cores-up-2")));
        assert!(!Peer::Websocat.fits(row("cores-up-2")) && Peer::Websocat.fits(row("size-1")));
        assert!(Peer::FloorSplice.fits(row("down-16")) && !Peer::FloorSplice.fits(row("up-16")));
        assert!(PEERS.iter().filter(|peer| peer.path().is_some()).count() == 6);
        assert!(Peer::Python.fits(row("tokens-file")) && !Peer::Python.fits(row("tokens-http")));
        assert!(!Peer::FloorWs.fits(row("tokens-none")) && !Peer::Python.fits(row("tokens-beside-redis")));
        assert!(!Peer::None.fits(row("idle")) && Peer::None.fits(row("both-1")));
    }
}
