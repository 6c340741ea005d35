//! Services that know tokens, played: a web service and a Redis, which answer when they are let.

use crate::support::target::TcpTarget;
use crate::support::wire::PATIENCE;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Condvar, Mutex};

/// A service and what it was asked.
pub struct Service {
    target: TcpTarget,
    book: Arc<Book>,
}

#[derive(Default)]
struct Book {
    state: Mutex<State>,
    news: Condvar,
}

#[derive(Default)]
struct State {
    asked: Vec<String>,
    shut: bool,
}

impl Book {
    /// Notes a question, and waits until it may be answered.
    fn ask(&self, question: &str) {
        let mut state = self.state.lock().expect("no holder panics");
        state.asked.push(question.to_owned());
        self.news.notify_all();
        let (state, waited) =
            self.news.wait_timeout_while(state, PATIENCE, |state| state.shut).expect("no holder panics");
        drop(state);
        assert!(!waited.timed_out(), "nobody let the service answer");
    }
}

impl Service {
    /// A web service; `answer` makes status and body out of a path.
    pub fn http(answer: impl Fn(&str) -> (u16, String) + Send + Sync + 'static) -> Service {
        Service::new(move |stream, book| {
            let mut lines = BufReader::new(stream.try_clone().expect("a descriptor is free"));
            while let Some(path) = read_request(&mut lines) {
                book.ask(&path);
                let (status, body) = answer(&path);
                let head = format!(
                    "HTTP/1.1 {status} X\r\nLocation: /elsewhere\r\nContent-Length: {}\r\n\r\n",
                    body.len()
                );
                if (&stream).write_all((head + &body).as_bytes()).is_err() {
                    return;
                }
            }
        })
    }

    /// A Redis; `answer` makes a reply out of the words of a command.
    pub fn redis(answer: impl Fn(&[String]) -> String + Send + Sync + 'static) -> Service {
        Service::new(move |stream, book| {
            let mut lines = BufReader::new(stream.try_clone().expect("a descriptor is free"));
            while let Some(words) = read_command(&mut lines) {
                book.ask(&words.join(" "));
                if (&stream).write_all(answer(&words).as_bytes()).is_err() {
                    return;
                }
            }
        })
    }

    fn new(serve: impl Fn(TcpStream, &Book) + Send + Sync + 'static) -> Service {
        let book = Arc::<Book>::default();
        let kept = book.clone();
        Service { target: TcpTarget::new(move |stream| serve(stream, &kept)), book }
    }

    pub fn address(&self) -> SocketAddr {
        self.target.address()
    }

    /// Lets it answer nobody, or everybody.
    pub fn shut(&self, shut: bool) {
        self.book.state.lock().expect("no holder panics").shut = shut;
        self.book.news.notify_all();
    }

    /// What it has been asked so far.
    pub fn asked(&self) -> Vec<String> {
        self.book.state.lock().expect("no holder panics").asked.clone()
    }

    /// Waits until it has been asked so many questions.
    #[track_caller]
    pub fn wait_asked(&self, count: usize) {
        let state = self.book.state.lock().expect("no holder panics");
        let few = |state: &mut State| state.asked.len() < count;
        let (state, waited) =
            self.book.news.wait_timeout_while(state, PATIENCE, few).expect("no holder panics");
        assert!(!waited.timed_out(), "asked only {:?}", state.asked);
    }
}

/// The path of the next request.
fn read_request(lines: &mut impl BufRead) -> Option<String> {
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if lines.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if line == "\r\n" {
            break;
        }
        head.push(line);
    }
    Some(head.first()?.split(' ').nth(1)?.to_owned())
}

/// The words of the next command.
fn read_command(lines: &mut impl BufRead) -> Option<Vec<String>> {
    let mut number = |kind: char| {
        let mut line = String::new();
        lines.read_line(&mut line).ok()?;
        line.strip_prefix(kind)?.trim().parse::<usize>().ok()
    };
    let count = number('*')?;
    let mut words = Vec::new();
    for _ in 0..count {
        let mut line = String::new();
        lines.read_line(&mut line).ok()?;
        let mut word = vec![0; line.strip_prefix('$')?.trim().parse::<usize>().ok()? + 2];
        lines.read_exact(&mut word).ok()?;
        word.truncate(word.len() - 2);
        words.push(String::from_utf8(word).ok()?);
    }
    Some(words)
}
