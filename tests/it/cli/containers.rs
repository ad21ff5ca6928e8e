//! Containers by the command line: Must show 7 of the room.

use super::Person;
use crate::support::podman::{self, IMAGE};
use crate::support::server::Server;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::Stdio;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_mins(1);

fn desk(engine: &str) -> (Server, Person) {
    let server = Server::start(&["--container-engine", engine]);
    let person = Person::of(&server).with("MESHAGENT_ROOM", "desk");
    person.run(&["rooms", "create", "desk"]).ok();
    // Somebody stays in the room, or its containers end with its session.
    (server, person)
}

#[test]
fn a_container_runs_with_terminal_logs_tunnel_and_the_room_s_files() {
    let Some(engine) = podman::engine() else { return };
    let (_server, person) = desk(&engine.address());
    let shell = "echo started; echo inside > /data/made.txt; nc -ll -p 7000 -e cat";
    let command = format!("sh -c '{shell}'");
    let run =
        ["room", "container", "run", "--image", IMAGE, "--container-name", "worker", "--mount-path", "/data"];
    let said = person.run(&[&run[..], &["--command", &command]].concat()).ok().stdout;
    let id = said.strip_prefix("Container started: ").unwrap().trim().to_owned();
    let listed = person.run(&["room", "container", "list"]).json();
    assert_eq!((&listed[0]["id"], &listed[0]["name"]), (&id.as_str().into(), &"worker".into()));
    let table = person.run(&["room", "container", "list", "-a", "--output", "table"]).ok().stdout;
    assert!(table.contains("worker") && table.contains(IMAGE), "{table}");

    let log = || person.run(&["room", "container", "log", "--id", "worker"]).ok().stdout;
    let deadline = Instant::now() + PATIENCE;
    while log() != "started\n" {
        assert!(Instant::now() < deadline);
    }
    let exec = |words: &[&str]| {
        person.run(&[&["room", "container", "exec", "--container-id", &id][..], words].concat())
    };
    let done = exec(&["--tty", "--command", "sh -c 'test -t 1 && echo terminal'"]).ok();
    assert_eq!(done.stdout, "terminal\r\n");
    exec(&["--command", "sh -c 'exit 9'"]).fails(9, &[]);
    assert_eq!(exec(&["--command", "cat /data/made.txt"]).ok().stdout, "inside\n");
    let read = person.run(&["room", "storage", "get", "made.txt"]);
    assert_eq!(read.ok().stdout, "inside\n");

    let forward = ["port", "forward", "--name", "worker", "--port", "0:7000"];
    let mut forwarding = person.command(&forward).stderr(Stdio::piped()).spawn().unwrap();
    let mut told = String::new();
    BufReader::new(forwarding.stderr.take().unwrap()).read_line(&mut told).unwrap();
    let local = told.split_whitespace().nth(1).unwrap_or_else(|| panic!("{told}")).to_owned();
    let mut stream = TcpStream::connect(&local).unwrap_or_else(|error| panic!("{told}: {error}"));
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"through").unwrap();
    let mut answer = [0; 7];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"through");
    forwarding.kill().unwrap();
    forwarding.wait().unwrap();

    assert_eq!(person.run(&["room", "container", "stop", "--id", &id]).ok().stdout, "Stopped\n");
    person.run(&["room", "container", "exec", "--container-id", &id]).fails(1, &["does not run"]);
    assert_eq!(person.run(&["room", "container", "delete", "--id", &id]).ok().stdout, "Deleted\n");
    person.run(&["room", "container", "log", "--id", &id]).fails(1, &["does not exist in this room"]);
    let images = person.run(&["room", "container", "image", "list"]).ok().stdout;
    assert!(images.contains("local/test:1"), "{images}");
}

#[test]
fn without_an_engine_the_same_commands_say_what_to_install() {
    let (_server, person) = desk("unix:///nowhere/at/all.sock");
    assert_eq!(person.run(&["room", "container", "list"]).ok().stdout, "[]\n");
    assert_eq!(person.run(&["room", "container", "image", "list"]).ok().stdout, "");
    let id = ["--id", "x"];
    for command in [
        &["room", "container", "run", "--image", IMAGE][..],
        &["room", "container", "log", id[0], id[1]],
        &["room", "container", "stop", id[0], id[1]],
        &["room", "container", "exec", "--container-id", "x", "--command", "ls"],
        &["room", "container", "image", "pull", "--tag", "x:1"],
        &["port", "forward", "-c", "x", "-p", "0:80"],
    ] {
        person
            .run(command)
            .fails(1, &["no container engine", "apt-get install podman", "--container-engine"]);
    }
    person.run(&["room", "container", "run", "--image", "x", "--port", "80"]).fails(2, &["CONTAINER:HOST"]);
    person.run(&["port", "forward", "-c", "x", "-p", "80"]).fails(2, &["LOCAL:REMOTE"]);
}
