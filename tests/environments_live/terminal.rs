//! What a person does in an environment: a command with the terminal, and a port that is reached from outside.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output, Stdio};

use super::lab::{Lab, containers_of, wait_for};

/// Runs the command and gives it this input.
fn fed(mut command: Command, input: &str) -> (i32, String) {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("a program");
    child.stdin.take().expect("its input").write_all(input.as_bytes()).expect("it reads");
    let Output { status, stdout, stderr } = child.wait_with_output().expect("an end");
    (status.code().unwrap_or(-1), String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned())
}

#[test]
fn a23_a_command_has_the_terminal_and_its_container_goes_with_it() {
    let lab = Lab::new("terminal");
    let name = lab.name();
    let text = "test -t 0 && test -t 1 && echo at $TERM; read x; echo \"got $x by $(id -u) in $HOME, $A\"; exit 3";
    // `script` gives it a terminal.
    let words = format!("{} env run {name} --interactive -e A='b c' -- sh -c '{text}'", env!("CARGO_BIN_EXE_xtask"));
    let mut command = Command::new("script");
    command.args(["--quiet", "--return", "--command", &words, "/dev/null"]).current_dir(lab.root()).envs(&lab.env);
    let (code, said) = fed(command, "hello\n");
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("at xterm\r\n") && said.contains("got hello by 0 in /xtask/home, b c\r\n"), "{said}");
    assert!(!said.contains("error"), "{said}");
    assert!(containers_of(&name).is_empty());

    let (code, said) = fed(lab.command(&["env", "run", &name, "-i", "--", "sh", "-c", "cat; exit 4"]), "piped\n");
    assert_eq!((code, said.as_str()), (4, "piped\n"));
    let (code, said) = fed(lab.command(&["env", "run", &name, "-i"]), "echo $((6 * 7))\n");
    assert_eq!((code, said.as_str()), (0, "42\n"), "without a command, a shell");
    let late = lab.run(&["-i", "--timeout", "2", "--", "sleep", "300"]);
    assert!(
        late.code == 124 && late.err.contains("was ended, because its 2 s were over"),
        "{} {}",
        late.code,
        late.err
    );
    assert!(containers_of(&name).is_empty());

    let wrong = lab.run(&["-i", "-c", "true"]);
    assert!(wrong.code == 3 && wrong.err.contains("--interactive"), "{} {}", wrong.code, wrong.err);
    let mut lab = lab;
    lab.env.insert("PATH".to_owned(), lab.path("nothing").display().to_string());
    let missing = lab.run(&["-i", "--", "true"]);
    assert!(
        missing.code == 125 && missing.err.contains("`docker` is not in `PATH`"),
        "{} {}",
        missing.code,
        missing.err
    );
}

#[test]
fn a15_a_port_is_reached_where_it_was_published() {
    let lab = Lab::new("ports");
    let name = lab.name();
    let port = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port").port();
    let publish = format!("{port}:8080");
    let text = "mkdir /tmp/w; echo welcome > /tmp/w/index.html; exec httpd -f -p 8080 -h /tmp/w";
    let mut command = lab.command(&["env", "run", &name, "--publish", &publish, "--timeout", "100", "-c", text]);
    let mut child = command.stderr(Stdio::piped()).spawn().expect("the program");
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.write_all(b"GET /index.html HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).map(|_| answer)
    };
    wait_for("the server answers", || ask().is_ok_and(|answer| answer.contains("welcome")));

    let taken = lab.run(&["--publish", &publish, "-c", "true"]);
    assert_eq!(taken.code, 125, "{}", taken.err);
    assert!(taken.err.contains("a port of `--publish` is taken on the engine's machine"), "{}", taken.err);
    let strict = lab.run(&["--publish", "80", "--security", "strict", "-c", "true"]);
    assert_eq!(strict.code, 3, "{}", strict.err);
    assert!(strict.err.contains("`--security strict` has no network"), "{}", strict.err);

    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("it runs");
    assert_eq!(child.wait().expect("an end").code(), Some(130));
    assert!(containers_of(&name).is_empty(), "a port is not kept for the next run");
}
