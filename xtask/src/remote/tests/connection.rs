//! One connection per host, and what is refused.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::exec::{Exit, Stdin};
use crate::model::StopToken;
use crate::remote::sshd::{Sshd, programs};
use crate::remote::{Master, RemoteError, Target};

#[test]
fn words_arrive_as_they_are_and_one_login_serves_all() {
    let server = Sshd::start("");
    let stop = StopToken::new();
    let master = Master::connect(&server.target(), &programs(), &stop).unwrap();
    for words in [&["a b", "c'd", "$HOME", "x\ny"][..], &["*", "", "`id`", "\\"], &["ü;|&"]] {
        let mut argv = vec!["printf", "%s|"];
        argv.extend(words);
        let result = master.run(&argv, Stdin::Null, &mut |_, _| {}, &stop);
        let expected: String = words.iter().map(|word| format!("{word}|")).collect();
        assert_eq!((result.exit, String::from_utf8(result.stdout).unwrap()), (Exit::Code(0), expected));
    }
    let all: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    let result = master.run(&["cat"], Stdin::Bytes(all.clone()), &mut |_, _| {}, &stop);
    assert_eq!(result.stdout, all);
    assert_eq!(master.run(&["sh", "-c", "exit 7"], Stdin::Null, &mut |_, _| {}, &stop).exit, Exit::Code(7));
    assert_eq!(server.logins(), 1);
    let dir = master.private_dir().to_owned();
    assert!(dir.exists());
    drop(master);
    assert!(!dir.exists());
}

#[test]
fn a_socket_of_the_host_is_seen_here() {
    let server = Sshd::start("");
    let stop = StopToken::new();
    let there = server.path("engine.sock");
    let listener = UnixListener::bind(&there).unwrap();
    let echo = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut bytes = [0; 4];
        stream.read_exact(&mut bytes).unwrap();
        stream.write_all(&bytes).unwrap();
    });
    let master = Arc::new(Master::connect(&server.target(), &programs(), &stop).unwrap());
    let forward = master.forward_socket(&there, &stop).unwrap();
    let mut stream = UnixStream::connect(forward.path()).unwrap();
    stream.write_all(b"ping").unwrap();
    let mut bytes = [0; 4];
    stream.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"ping");
    echo.join().unwrap();
    assert!(forward.is_alive());
}

#[test]
fn r5_no_question_is_asked() {
    let server = Sshd::start("");
    let stop = StopToken::new();
    let start = Instant::now();
    let text = |target: &Target| match Master::connect(target, &programs(), &stop) {
        Err(error @ RemoteError::Unreachable { .. }) => error.diagnostic().to_string(),
        Err(error) => panic!("{error:?}"),
        Ok(_) => panic!("{target} must not be reachable"),
    };
    let mut stranger = server.target();
    let key = server.path("stranger");
    let keygen =
        std::process::Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key).status();
    assert!(keygen.unwrap().success());
    stranger.identity = Some(key);
    let denied = text(&stranger);
    assert!(denied.contains("Permission denied") && denied.contains("help: ssh-copy-id"), "{denied}");
    std::fs::write(server.path("known"), "").unwrap();
    let mut unknown = server.target();
    std::fs::write(server.path("known"), "").unwrap();
    let said = text(&unknown);
    assert!(said.contains("Host key verification failed"), "{said}");
    unknown.port = Some(1);
    let refused = text(&unknown);
    assert!(refused.contains("Connection refused"), "{refused}");
    assert!(start.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_lost_server_is_noticed() {
    let server = Sshd::start("");
    let stop = StopToken::new();
    let master = Master::connect(&server.target(), &programs(), &stop).unwrap();
    // The process that serves the connection ends with this command's grandparent.
    master.run(
        &["sh", "-c", "kill -9 $PPID; ps -o ppid= -p $PPID | xargs -r kill -9"],
        Stdin::Null,
        &mut |_, _| {},
        &stop,
    );
    let start = Instant::now();
    while master.is_alive() && start.elapsed() < Duration::from_secs(20) {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(!master.is_alive(), "{}", server.log());
}

#[test]
fn r8_sixteen_at_once_get_in_where_three_may_knock() {
    // The fourth that has not said who it is yet is turned away.
    let server = Sshd::start("MaxStartups 3");
    let target = server.target();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..16)
            .map(|number: usize| {
                let target = &target;
                scope.spawn(move || {
                    let stop = StopToken::new();
                    let master = Master::connect(target, &programs(), &stop)?;
                    let result = master.run(&["echo", &number.to_string()], Stdin::Null, &mut |_, _| {}, &stop);
                    Ok::<_, RemoteError>((number, String::from_utf8_lossy(&result.stdout).trim().to_owned()))
                })
            })
            .collect();
        for thread in threads {
            let (number, said) = thread.join().unwrap().unwrap_or_else(|error| panic!("{error:?} {}", server.log()));
            assert_eq!(said, number.to_string());
        }
    });
}
