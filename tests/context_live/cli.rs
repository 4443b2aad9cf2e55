//! What the docker command line sends for a context: a listener takes the place of the engine and keeps the tar.
//!
//! The command line applies the builders' own matcher before it sends. Knows nothing of rules.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};

/// The names of the files in the tar that `docker build` sends, or its complaint.
pub fn sent_files(context: &Path) -> Result<BTreeSet<Vec<u8>>, String> {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let (sender, received) = mpsc::channel();
    let done = Arc::new(AtomicBool::new(false));
    let stop = Arc::clone(&done);
    let server = std::thread::spawn(move || {
        for stream in listener.incoming().flatten().take_while(|_| !stop.load(Ordering::SeqCst)) {
            let sender = sender.clone();
            std::thread::spawn(move || serve(&stream, &sender));
        }
    });
    let output = Command::new("docker")
        .args(["build", "-q", "."])
        .current_dir(context)
        .env("DOCKER_HOST", format!("tcp://{address}"))
        .env("DOCKER_BUILDKIT", "0")
        .env("DOCKER_CONFIG", context.join("../no-config"))
        .env_remove("DOCKER_CONTEXT")
        .env_remove("DOCKER_TLS_VERIFY")
        .stdin(Stdio::null())
        .output()
        .expect("the docker command line");
    done.store(true, Ordering::SeqCst);
    drop(TcpStream::connect(address));
    server.join().expect("the listener ends");
    match received.try_recv() {
        Ok(body) if output.status.success() => Ok(files(&body)),
        _ => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

fn serve(stream: &TcpStream, sender: &mpsc::Sender<Vec<u8>>) {
    let mut reader = BufReader::new(stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head).unwrap_or(0) == 0 {
                return;
            }
        }
        let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
        let Some(body) = (if chunked { chunks(&mut reader) } else { Some(Vec::new()) }) else { return };
        let is_build = head.lines().next().is_some_and(|line| line.contains("/build?"));
        let answer = if is_build { "{\"stream\":\"done\"}\n" } else { "OK" };
        let text = format!(
            "HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nOstype: linux\r\nContent-Type: \
             application/json\r\nContent-Length: {}\r\n\r\n",
            answer.len()
        );
        if is_build && sender.send(body).is_err() {
            return;
        }
        let answer = if head.starts_with("HEAD") { "" } else { answer };
        if (&mut &*stream).write_all(format!("{text}{answer}").as_bytes()).is_err() {
            return;
        }
    }
}

fn chunks(reader: &mut impl BufRead) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let size = usize::from_str_radix(line.trim(), 16).ok()?;
        let start = body.len();
        body.resize(start + size + 2, 0);
        reader.read_exact(&mut body[start..]).ok()?;
        body.truncate(start + size);
        if size == 0 {
            return Some(body);
        }
    }
}

fn files(tarball: &[u8]) -> BTreeSet<Vec<u8>> {
    let mut archive = tar::Archive::new(tarball);
    let entries = archive.entries().expect("a tar").map(|entry| entry.expect("an entry"));
    entries.filter(|entry| !entry.header().entry_type().is_dir()).map(|entry| entry.path_bytes().into_owned()).collect()
}
