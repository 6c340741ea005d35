//! A start that fails late, for want of a thread or of its program: until then nobody was let in.

use crate::support::client::Handshake;
use crate::support::on_both_engines;
use crate::support::server::program;
use crate::support::temp::TempDir;
use crate::support::wire::soon;
use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

on_both_engines!(who_cannot_have_all_threads_lets_nobody_in, who_cannot_have_its_program_lets_nobody_in,);

/// A user that has no process but those of a test here, whichever runs beside it.
const USERS: [(&str, u32); 2] = [("ring", 64_911), ("poll", 64_912)];
/// More threads than a start needs.
const THREADS_MAX: u32 = 64;

/// Every number of threads is tried that is too small, so that each of them is the one that is missing once.
fn who_cannot_have_all_threads_lets_nobody_in(engine: &str) {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: only root can become somebody else");
        return;
    }
    let user = USERS.iter().find(|(name, _)| *name == engine).expect("there are two engines").1;
    // Where that user can get at it.
    let place = TempDir::new();
    fs::set_permissions(place.path(), Permissions::from_mode(0o755)).expect("it is ours");
    let own = place.join("own");
    fs::copy(program(), &own).expect("it is built");
    let address = free_address();
    for most in 1..THREADS_MAX {
        let mut command = Command::new("prlimit");
        command.arg(format!("--nproc={most}:{most}")).arg(&own).uid(user);
        command.args(["--engine", engine, "--threads=2", "--echo", &address.to_string()]);
        let (started, answered) = start(&mut command, address);
        if started {
            assert!(most > 3, "it has shards and more threads than them");
            return;
        }
        assert!(!answered, "with {most} threads a client was let in, and the start failed");
    }
    panic!("no start with {THREADS_MAX} threads");
}

/// One that is there and may be executed, but not by anything that there is.
fn who_cannot_have_its_program_lets_nobody_in(engine: &str) {
    let (place, address) = (TempDir::new(), free_address());
    let broken = place.write("broken", "#!/no/such/interpreter\n");
    fs::set_permissions(&broken, Permissions::from_mode(0o755)).expect("it is ours");
    let mut command = Command::new(program());
    command.args(["--engine", engine, "--threads=2", &address.to_string(), "--"]).arg(&broken);
    assert_eq!(start(&mut command, address), (false, false), "neither started nor answered");
}

fn free_address() -> SocketAddr {
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    free.expect("a port is free")
}

/// Starts a server that is to listen there, and ends it: whether its start went well, and whether a client was answered.
fn start(command: &mut Command, address: SocketAddr) -> (bool, bool) {
    let mut server = command.current_dir("/").stderr(Stdio::piped()).spawn().expect("it starts");
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let client = scope.spawn(|| {
            let until = soon();
            while !over.load(Ordering::Relaxed) && Instant::now() < until {
                if is_answered(address) {
                    return true;
                }
            }
            false
        });
        let lines = BufReader::new(server.stderr.take().expect("it is piped")).lines();
        let started = lines.map_while(Result::ok).any(|line| line.contains("proxying from "));
        server.kill().and_then(|()| server.wait()).expect("it can be ended");
        over.store(true, Ordering::Relaxed);
        (started, client.join().expect("it does not panic"))
    })
}

/// Asks for a session; whether a byte came back.
fn is_answered(address: SocketAddr) -> bool {
    let Ok(mut client) = TcpStream::connect(address) else {
        // Nobody listens yet: the next try is soon enough to be the first in line.
        std::thread::sleep(Duration::from_micros(200));
        return false;
    };
    let timeout = client.set_read_timeout(Some(Duration::from_secs(1)));
    let asked = timeout.and_then(|()| client.write_all(&Handshake::new().bytes()));
    asked.and_then(|()| client.read(&mut [0; 16])).is_ok_and(|count| count > 0)
}
