//! The letters of `--traffic` on standard output.

use crate::support::frame::Frame;
use crate::support::on_both_engines;
use crate::support::server::{Server, program};
use crate::support::target::TcpTarget;

on_both_engines!(letters_follow_the_traffic, an_output_that_is_closed_ends_nothing);

/// A server whose standard output goes where `to` says, in the words of a shell.
fn server(engine: &str, to: &str, target: &TcpTarget) -> Server {
    let script = format!("exec \"$0\" \"$@\" {to}");
    let binary = program().into_string().expect("a plain path");
    let target = target.to_string();
    Server::launch("sh", &["-c", &script, &binary, "--engine", engine, "--traffic", "127.0.0.1:0", &target])
}

fn letters_follow_the_traffic(engine: &str) {
    let target = TcpTarget::echo();
    let server = server(engine, ">letters", &target);
    for _ in 0..2 {
        let mut client = server.client();
        for _ in 0..3 {
            client.send(&Frame::binary("x"));
            client.expect_stream(1);
        }
        client.send(&Frame::ping(""));
        client.next();
        client.leave();
    }
    let letters = server.directory().join("letters");
    let copy = server.directory().join("copy");
    // The directory goes with the server, the file does not.
    std::fs::hard_link(&letters, &copy).expect("it was made for this test");
    let kept = std::fs::File::open(&copy).expect("it was made for this test");
    server.stop();
    let text = std::io::read_to_string(kept).expect("it was made for this test");
    let legends: Vec<&str> = text.split("Traffic Legend:").collect();
    assert_eq!(legends.len(), 3, "one for each connection: {text}");
    for legend in &legends[1..] {
        let (_, letters) = legend.rsplit_once("  <. - a part sent to the client\n").expect(legend);
        let letters = letters.trim_end();
        assert!(letters.starts_with("}>{<}>{<}>{<}."), "{letters:?}");
    }
}

fn an_output_that_is_closed_ends_nothing(engine: &str) {
    let target = TcpTarget::echo();
    for to in [">&-", ">/dev/full"] {
        let server = server(engine, to, &target);
        let mut client = server.client();
        for round in 0..100 {
            client.send(&Frame::binary("x"));
            assert_eq!(client.expect_stream(1), b"x", "{to}: round {round}");
        }
        client.leave();
        server.stop();
    }
}
