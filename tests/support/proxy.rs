//! A proxy in front of a registry that spoils chosen requests. Knows nothing of who asks.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// How a request is spoiled.
#[derive(Clone, Copy, Debug)]
pub enum Spoil {
    /// This answer, and nothing is passed on.
    Status(u16),
    /// The connection is closed before anything is passed on.
    Cut,
    /// It is passed on, and the connection is closed in the middle of the answer's head.
    CutAnswer,
}

/// Which requests are spoiled: those whose first line has all of these texts.
struct Rule {
    texts: Vec<String>,
    /// How often; `None` for every time.
    left: Option<usize>,
    spoil: Spoil,
}

impl Rule {
    fn takes(&mut self, line: &str) -> bool {
        let meant = self.left != Some(0) && self.texts.iter().all(|text| line.contains(text.as_str()));
        if let (true, Some(left)) = (meant, &mut self.left) {
            *left -= 1;
        }
        meant
    }
}

/// Listens on a free port until the test ends. One request per connection.
pub struct Proxy {
    pub host: String,
    plan: Arc<Mutex<Vec<Rule>>>,
}

impl Proxy {
    pub fn before(registry: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let host = listener.local_addr().expect("an address").to_string();
        let plan: Arc<Mutex<Vec<Rule>>> = Arc::default();
        let (registry, rules) = (registry.to_owned(), Arc::clone(&plan));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (registry, rules) = (registry.clone(), Arc::clone(&rules));
                std::thread::spawn(move || serve(stream, &registry, &rules));
            }
        });
        Self { host, plan }
    }

    /// The next manifest that is put meets this.
    pub fn spoil(&self, spoil: Spoil) {
        self.add(&["PUT ", "/manifests/"], Some(1), spoil);
    }

    /// The next requests whose first line has all of these texts meet this.
    pub fn spoil_some(&self, texts: &[&str], times: usize, spoil: Spoil) {
        self.add(texts, Some(times), spoil);
    }

    /// Every request whose first line has all of these texts meets this.
    pub fn spoil_all(&self, texts: &[&str], spoil: Spoil) {
        self.add(texts, None, spoil);
    }

    /// From now on everything is passed on.
    pub fn behave(&self) {
        self.plan.lock().expect("the plan").clear();
    }

    fn add(&self, texts: &[&str], left: Option<usize>, spoil: Spoil) {
        let texts = texts.iter().map(|text| (*text).to_owned()).collect();
        self.plan.lock().expect("the plan").push(Rule { texts, left, spoil });
    }
}

/// Errors end the connection, as they would anywhere on the way.
fn serve(client: TcpStream, registry: &str, plan: &Mutex<Vec<Rule>>) -> Option<()> {
    let mut reader = BufReader::new(client.try_clone().ok()?);
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        // What is no HTTP (an attempt at TLS) has no line.
        if !head.is_empty() && !head.starts_with(b"GET") && !head.is_ascii()
            || reader.read_until(b'\n', &mut head).ok()? == 0
        {
            return None;
        }
    }
    let text = String::from_utf8(head).ok()?;
    let line = text.lines().next().unwrap_or_default();
    let spoil = plan.lock().ok()?.iter_mut().find_map(|rule| rule.takes(line).then_some(rule.spoil));
    let mut client = client;
    match spoil {
        Some(Spoil::Cut) => return client.shutdown(Shutdown::Both).ok(),
        Some(Spoil::Status(status)) => {
            let answer = format!("HTTP/1.1 {status} Spoiled\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            return client.write_all(answer.as_bytes()).ok();
        }
        Some(Spoil::CutAnswer) | None => {}
    }
    let mut upstream = TcpStream::connect(registry).ok()?;
    let (request, rest) = text.split_once("\r\n")?;
    upstream.write_all(format!("{request}\r\nConnection: close\r\n{rest}").as_bytes()).ok()?;
    let mut to = upstream.try_clone().ok()?;
    std::thread::spawn(move || std::io::copy(&mut reader, &mut to));
    if spoil.is_some() {
        let mut some = [0; 10];
        upstream.read_exact(&mut some).ok()?;
        client.write_all(&some).ok()?;
    } else {
        std::io::copy(&mut upstream, &mut client).ok()?;
    }
    client.shutdown(Shutdown::Both).ok()
}
