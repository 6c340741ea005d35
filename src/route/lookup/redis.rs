//! Redis: one GET for each token, over connections that stay.
//!
//! Speaks as much of the protocol (RESP, version 2) as that takes. A server that is gone is noticed once and then left in
//! peace for a moment, so that clients hear at once that it is gone; a connection that it has closed meanwhile is opened
//! again without a word.

use super::trouble::{Rest, Trouble};
use super::{Found, Seek, Wanted};
use crate::limits::{DIAL_ADDRESS_TIMEOUT_MS, REDIS_THREADS, SERVICE_ANSWER_BYTES_MAX};
use crate::names::Names;
use crate::route::{leads, source};
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A database.
pub(super) struct Redis {
    place: source::Redis,
    names: Names,
    /// Connections that nobody uses: as many as there are helpers, at most.
    idle: Mutex<Vec<Connection>>,
    rest: Rest,
}

/// Why a question got no answer.
enum Fault {
    /// The connection is of no use any more.
    Broken(io::Error),
    /// This one answer cannot be taken. The connection stands in the middle of it, and Redis is as well as before.
    Odd(String),
    /// Redis refused: the first word of what it said, for the rest may repeat the question.
    Refused(String),
}

/// A reply of Redis.
#[derive(Debug, PartialEq)]
enum Reply {
    Simple,
    Bulk(Vec<u8>),
    Nil,
}

struct Connection {
    stream: BufReader<TcpStream>,
}

impl Redis {
    pub fn new(place: source::Redis, names: Names) -> Redis {
        Redis { place, names, idle: Mutex::default(), rest: Rest::new(REDIS_THREADS) }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The value of `key`, over a connection that is there or else over a new one.
    fn get(&self, key: &[u8], until: Instant) -> Result<Reply, Fault> {
        let old = self.idle().pop();
        if let Some(mut connection) = old.filter(Connection::is_quiet) {
            match connection.ask(&[b"GET", key], until) {
                // It was closed while nobody looked; so were, most likely, the others.
                Err(Fault::Broken(error)) if !is_timeout(&error) => self.idle().clear(),
                outcome => return self.keep(connection, outcome),
            }
        }
        let mut connection = self.connect(until)?;
        let outcome = connection.ask(&[b"GET", key], until);
        self.keep(connection, outcome)
    }

    fn keep(&self, connection: Connection, outcome: Result<Reply, Fault>) -> Result<Reply, Fault> {
        if !matches!(outcome, Err(Fault::Broken(_) | Fault::Odd(_))) {
            self.idle().push(connection);
        }
        outcome
    }

    fn connect(&self, until: Instant) -> Result<Connection, Fault> {
        let stream = reach(&self.names.find(&self.place.host, self.place.port, until)?, until)?;
        stream.set_nodelay(true)?;
        let mut connection = Connection { stream: BufReader::new(stream) };
        if let Some(password) = &self.place.password {
            connection.ask(&[b"AUTH", password.as_bytes()], until)?;
        }
        if self.place.database != 0 {
            let number = self.place.database.to_string();
            connection.ask(&[b"SELECT", number.as_bytes()], until)?;
        }
        Ok(connection)
    }
}

impl Seek for Redis {
    fn rests(&self) -> bool {
        self.rest.lasts()
    }

    fn seek(&self, wanted: &Wanted) -> Found {
        if !self.rest.is_over(wanted.until) {
            return Err(Trouble::Resting);
        }
        let token = wanted.token.secret();
        let key = match &self.place.namespace {
            Some(namespace) => format!("{namespace}:{token}"),
            None => token.to_owned(),
        };
        let trouble = |why: &str| Trouble::Met(format!("{}: {why}", self.place));
        let reply = match self.get(key.as_bytes(), wanted.until) {
            Ok(reply) => reply,
            Err(Fault::Broken(error)) => {
                // That too many wait for names says nothing of the server.
                if error.kind() != ErrorKind::ResourceBusy {
                    self.rest.begin();
                }
                let what =
                    if is_timeout(&error) { "no answer in time".to_owned() } else { error.to_string() };
                return Err(trouble(&what));
            }
            // One token may have something strange behind it; the others are none the worse for that.
            Err(Fault::Odd(what)) => {
                self.rest.end();
                return Err(trouble(&what));
            }
            Err(Fault::Refused(word)) => {
                self.rest.end();
                return Err(trouble(&format!("Redis refused with {word}")));
            }
        };
        self.rest.end();
        let target = match reply {
            Reply::Nil => return Ok(None),
            Reply::Bulk(value) => String::from_utf8(value).ok().and_then(|text| leads::value(&text)),
            Reply::Simple => None,
        };
        let nonsense = || trouble("the value of a token is neither host:port nor a JSON object with host");
        target.map(|target| Some(Arc::new(target))).ok_or_else(nonsense)
    }
}

impl Connection {
    /// Whether there is nothing to be read: what came without a question would be taken for the answer to the next one, which is
    /// somebody else's.
    fn is_quiet(&self) -> bool {
        let stream = self.stream.get_ref();
        let peeked = stream.set_nonblocking(true).and_then(|()| stream.peek(&mut [0]));
        let is_quiet = peeked.is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
        stream.set_nonblocking(false).is_ok() && is_quiet && self.stream.buffer().is_empty()
    }

    /// Sends a command and reads what comes back, until a time.
    fn ask(&mut self, words: &[&[u8]], until: Instant) -> Result<Reply, Fault> {
        let mut command = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            command.extend(format!("${}\r\n", word.len()).into_bytes());
            command.extend_from_slice(word);
            command.extend_from_slice(b"\r\n");
        }
        let stream = self.stream.get_mut();
        stream.set_write_timeout(Some(left(until)?))?;
        stream.write_all(&command)?;
        read_reply(&mut Timed { stream: &mut self.stream, until })
    }
}

/// A stream that is read until a time.
struct Timed<'a> {
    stream: &'a mut BufReader<TcpStream>,
    until: Instant,
}

impl Read for Timed<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.stream.get_ref().set_read_timeout(Some(left(self.until)?))?;
        self.stream.read(into)
    }
}

impl BufRead for Timed<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.stream.get_ref().set_read_timeout(Some(left(self.until)?))?;
        self.stream.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.stream.consume(amount);
    }
}

/// Reads one reply of the three kinds that our commands can have, or an error.
fn read_reply(from: &mut impl BufRead) -> Result<Reply, Fault> {
    let line = read_line(from)?;
    let nonsense = || Fault::Broken(io::Error::other("what answers is not Redis"));
    let (kind, rest) = line.split_at_checked(1).ok_or_else(nonsense)?;
    match (kind, rest) {
        ("+", _) => Ok(Reply::Simple),
        ("-", said) => {
            let word: String = said.chars().take_while(char::is_ascii_alphanumeric).take(32).collect();
            Err(Fault::Refused(word))
        }
        ("$", "-1") => Ok(Reply::Nil),
        ("$", digits) => {
            let bytes: usize = digits.parse().map_err(|_| nonsense())?;
            if bytes > SERVICE_ANSWER_BYTES_MAX {
                return Err(Fault::Odd(format!("a value is larger than {SERVICE_ANSWER_BYTES_MAX} bytes")));
            }
            let mut value = vec![0; bytes + 2];
            from.read_exact(&mut value)?;
            if !value.ends_with(b"\r\n") {
                return Err(nonsense());
            }
            value.truncate(bytes);
            Ok(Reply::Bulk(value))
        }
        _ => Err(nonsense()),
    }
}

fn read_line(from: &mut impl BufRead) -> Result<String, Fault> {
    const LINE_BYTES_MAX: u64 = 1024;
    let mut line = Vec::new();
    from.take(LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Err(io::Error::from(ErrorKind::UnexpectedEof).into());
    }
    let text = line.strip_suffix(b"\r\n").and_then(|line| std::str::from_utf8(line).ok());
    text.map(str::to_owned).ok_or_else(|| io::Error::other("what answers is not Redis").into())
}

/// Connects to the first of `addresses` that can be reached. Each has its share of the time, so that one that swallows
/// everything leaves some to the others.
fn reach(addresses: &[SocketAddr], until: Instant) -> io::Result<TcpStream> {
    let mut last = io::Error::new(ErrorKind::NotFound, "the name has no address");
    let most = Duration::from_millis(DIAL_ADDRESS_TIMEOUT_MS);
    for (address, behind) in addresses.iter().zip((0..addresses.len() as u32).rev()) {
        let left = left(until)?;
        let share = if behind == 0 { left } else { most.min(left / (behind + 1)) };
        match TcpStream::connect_timeout(address, share) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn left(until: Instant) -> io::Result<Duration> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(ErrorKind::TimedOut.into()) } else { Ok(left) }
}

/// Sockets say it in two ways.
fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock)
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Fault {
        Fault::Broken(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<Reply, String> {
        read_reply(&mut &bytes[..]).map_err(|fault| match fault {
            Fault::Broken(error) => error.to_string(),
            Fault::Odd(what) => what,
            Fault::Refused(word) => word,
        })
    }

    #[test]
    fn an_address_that_swallows_everything_leaves_time_to_the_next() {
        use socket2::{Domain, Socket, Type};
        let hole = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        hole.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
        hole.listen(0).unwrap();
        let full = hole.local_addr().unwrap().as_socket().unwrap();
        // As many as find room in its queue; whoever comes behind them hears nothing.
        let wait = Duration::from_millis(100);
        let filled: Vec<_> = (0..16).map_while(|_| TcpStream::connect_timeout(&full, wait).ok()).collect();
        assert!(filled.len() < 16, "the test itself");
        let there = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let there = (there.local_addr().unwrap(), there);
        let until = Instant::now() + Duration::from_secs(4);
        let stream = reach(&[full, there.0], until).expect("the second address is there");
        assert_eq!(stream.peer_addr().unwrap(), there.0);
        assert!(left(until).is_ok_and(|left| left > Duration::from_secs(1)), "and there is time to ask");
    }

    #[test]
    fn what_came_without_a_question_answers_none() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        // The first question is answered twice, and each connection says which one it is.
        let server = std::thread::spawn(move || {
            for (number, surplus) in ["$3\r\nh:9\r\n", "", ""].into_iter().enumerate() {
                let (mut stream, _) = listener.accept().unwrap();
                let mut question = [0; b"*2\r\n$3\r\nGET\r\n$1\r\nt\r\n".len()];
                stream.read_exact(&mut question).unwrap();
                stream.write_all(format!("$3\r\nh:{number}\r\n{surplus}").as_bytes()).unwrap();
                if number == 1 {
                    stream.read_exact(&mut question).unwrap();
                    stream.write_all(b"$3\r\nh:5\r\n").unwrap();
                }
            }
        });
        let Ok(source::Source::Redis(place)) =
            source::Source::parse("TokenRedis", Some(&format!("127.0.0.1:{port}")))
        else {
            panic!()
        };
        let redis = Redis::new(place, Names::start(Duration::ZERO).unwrap());
        let ask = || match redis.get(b"t", Instant::now() + Duration::from_secs(10)) {
            Ok(Reply::Bulk(value)) => String::from_utf8(value).unwrap(),
            _ => panic!("no answer"),
        };
        assert_eq!([ask(), ask(), ask()], ["h:0", "h:1", "h:5"], "a quiet connection is used again");
        redis.idle().clear();
        assert_eq!(ask(), "h:2");
        server.join().unwrap();
    }

    #[test]
    fn whatever_answers_does_no_harm() {
        use crate::sim::Dice;
        let rows: [&[u8]; 5] =
            [b"+OK\r\n", b"$-1\r\n", b"$3\r\nh:1\r\n", b"-ERR unknown command\r\n", b"$65536\r\n"];
        for seed in 0..20_000 {
            let mut dice = Dice::new(seed);
            let mut bytes = dice.pick(&rows).to_vec();
            for _ in 0..dice.below(5) {
                let at = dice.below(bytes.len() + 1);
                match dice.below(3) {
                    0 => bytes.truncate(at),
                    1 => bytes.insert(at, *dice.pick(b"\0\r\n$+-0199*:\xff")),
                    _ => bytes.extend((0..dice.below(2000)).map(|_| dice.word() as u8)),
                }
            }
            match read_reply(&mut &bytes[..]) {
                Ok(Reply::Bulk(value)) => assert!(value.len() <= SERVICE_ANSWER_BYTES_MAX.min(bytes.len())),
                Ok(Reply::Nil | Reply::Simple) => {}
                Err(Fault::Refused(word)) => assert!(word.len() <= 32, "{word}"),
                Err(Fault::Odd(why)) => assert!(why.len() < 100, "{why}"),
                Err(Fault::Broken(error)) => assert!(error.to_string().len() < 100, "{error}"),
            }
        }
    }

    #[test]
    fn replies() {
        assert_eq!(read(b"+OK\r\n"), Ok(Reply::Simple));
        assert_eq!(read(b"$-1\r\n"), Ok(Reply::Nil));
        assert_eq!(read(b"$3\r\nh:1\r\n"), Ok(Reply::Bulk(b"h:1".into())));
        assert_eq!(read(b"$0\r\n\r\n"), Ok(Reply::Bulk(b"".into())));
        assert_eq!(read(b"$4\r\na\r\nb\r\n"), Ok(Reply::Bulk(b"a\r\nb".into())));
        let refused = read(b"-ERR unknown command 'GET', with args beginning with: 's3cret'\r\n");
        assert_eq!(refused, Err("ERR".into()), "nothing of the question is repeated");
        for bad in [
            &b""[..],
            b"\r\n",
            b"+OK",
            b"+OK\n",
            b"$\r\n",
            b"$x\r\n",
            b"$-2\r\n",
            b"$99999999999999999999\r\n",
            b"$70000\r\n",
            b"$3\r\nh:1xx",
            b"$3\r\nh:",
            b"*1\r\n",
            b"HTTP/1.1 400 Bad Request\r\n",
            &[b'+'; 2000],
            b"\xff\r\n",
        ] {
            assert!(read(bad).is_err(), "{}", bad.escape_ascii());
        }
    }
}
