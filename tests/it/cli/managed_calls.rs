//! `room agent call`: an agent elsewhere is called into a room by its webhook, from here or by the room.

use super::Person;
use crate::support::server::Server;
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::Duration;

const LIMIT: Duration = Duration::from_mins(1);

/// Takes one call after another; gives of each its headers and its body.
fn webhook() -> (String, Receiver<(String, Value)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/webhook", listener.local_addr().unwrap());
    let (seen, calls) = sync_channel(8);
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut reader = BufReader::new(stream);
            let mut headers = String::new();
            while reader.read_line(&mut headers).is_ok_and(|read| read > 2) {}
            let lower = headers.to_lowercase();
            let length =
                lower.lines().find_map(|line| line.strip_prefix("content-length: ")?.trim().parse().ok());
            let mut body = vec![0; length.unwrap_or(0)];
            reader.read_exact(&mut body).unwrap();
            let answer = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            reader.get_mut().write_all(answer.as_bytes()).unwrap();
            seen.send((lower, serde_json::from_slice(&body).unwrap())).unwrap();
        }
    });
    (url, calls)
}

#[test]
fn agents_elsewhere_are_called_from_here_and_by_the_room() {
    let server = Server::start(&["--allow-host", "127.0.0.1"]);
    let person = Person::of(&server);
    person.run(&["rooms", "create", "--name", "den"]).ok();
    let (url, calls) = webhook();
    let call = |kind: &str, more: &[&str]| {
        let all =
            ["room", "agent", "call", kind, "--room", "den", "--url", &url, "--participant-name", "helper"];
        person.run(&[&all[..], &["--arguments", r#"{"a": 1}"#], more].concat())
    };
    for (kind, way, signed) in [("agent", "--local", false), ("tool", "--no-local", true)] {
        call(kind, &[way]).ok();
        let (headers, event) = calls.recv_timeout(LIMIT).unwrap();
        assert_eq!((&event["event"], &event["data"]["room_name"]), (&"room.call".into(), &"den".into()));
        assert_eq!(event["data"]["arguments"]["a"], 1, "{event}");
        assert_eq!(event["data"]["token"].as_str().unwrap().split('.').count(), 3);
        assert_eq!(headers.contains("meshagent-signature"), signed, "{headers}");
    }
    person
        .run(&["room", "agent", "call", "tool", "--room", "den", "--url", &url])
        .fails(2, &["--participant-name"]);
    let nobody = ["--url", "http://127.0.0.1:1/", "--participant-name", "x"];
    let gone = [&["room", "agent", "call", "toolkit", "--room", "den"], &nobody[..]].concat();
    person.run(&gone).fails(1, &["cannot be called"]);
}
