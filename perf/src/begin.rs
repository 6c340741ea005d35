//! How long a peer takes from exec until the first session is there.
//!
//! It tries to connect without pause, from the load's core, while the peer starts on its own. A session is there when an
//! upgrade was answered, or where there is none, when the connection to the target was taken: that a kernel queues connections
//! says nothing of the program. It never carries data.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::frames;
use crate::measure::{Sample, free_port};
use crate::peers::{Peer, Programs};
use crate::procfs;
use crate::rows::Row;
use crate::running::Running;
use crate::stats::Spread;
use crate::sys;
use crate::tokens::Source;

/// Starts of one measurement; the middle one counts.
const STARTS: usize = 5;
/// How long one may take.
const LIMIT: Duration = Duration::from_secs(10);

/// Starts `peer` some times.
pub fn start(row: &Row, peer: Peer, programs: &Programs) -> Result<Sample, String> {
    let (mut times, mut cpu) = (Vec::new(), Vec::new());
    for _ in 0..STARTS {
        let (time, used) = once(row, peer, programs)?;
        times.push(1e3 * time.as_secs_f64());
        cpu.push(used);
    }
    let middle = |values| Spread::of(values).map_or(f64::NAN, |spread| spread.median);
    Ok(Sample {
        work: STARTS as f64,
        start_ms: middle(times),
        peer_cpu: middle(cpu),
        seconds: 1.0,
        ..Sample::default()
    })
}

fn once(row: &Row, peer: Peer, programs: &Programs) -> Result<(Duration, f64), String> {
    let told = |error: std::io::Error| format!("start: {error}");
    let target = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(told)?;
    target.set_nonblocking(true).map_err(told)?;
    let (port, behind) = (free_port()?, target.local_addr().map_err(told)?.port());
    let Some(command) = peer.command(programs, row, port, behind, &Source::default()).map_err(told)? else {
        return Err("nobody has no start".into());
    };
    let begin = Instant::now();
    let mut running = Running::spawn(peer, programs, command)?;
    let mut client = loop {
        match dial(port) {
            Ok(client) => break client,
            Err(_) => still_starting(begin, &mut running)?,
        }
    };
    match peer.path() {
        Some(path) => {
            client.set_read_timeout(Some(LIMIT)).map_err(told)?;
            client.write_all(&frames::request(port, path)).map_err(told)?;
            let (mut head, mut piece) = (Vec::new(), [0; 1024]);
            while frames::answer_end(&head)?.is_none() {
                match client.read(&mut piece).map_err(told)? {
                    0 => return Err("the first session was ended".into()),
                    length => head.extend_from_slice(&piece[..length]),
                }
            }
        }
        None => loop {
            match target.accept() {
                Ok(_) => break,
                Err(error) if error.kind() == ErrorKind::WouldBlock => still_starting(begin, &mut running)?,
                Err(error) => return Err(told(error)),
            }
        },
    }
    Ok((begin.elapsed(), procfs::cpu_seconds(running.group)))
}

/// Connects from another address than the peer's: a socket that tries long enough on one address meets itself.
fn dial(port: u16) -> std::io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    sys::bind_without_port(&socket, Ipv4Addr::new(127, 0, 0, 2))?;
    socket.connect(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into())?;
    Ok(socket.into())
}

fn still_starting(begin: Instant, running: &mut Running) -> Result<(), String> {
    if let Some(words) = running.ended() {
        return Err(words);
    }
    if sys::interrupted() {
        return Err("interrupted".into());
    }
    if begin.elapsed() > LIMIT {
        return Err(format!("no session after {LIMIT:?}: {}", running.last_words()));
    }
    Ok(())
}
