//! A TCP proxy that cuts connections after so many bytes. Knows nothing of what flows through it.

use std::io::{Read, Result, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Which bytes are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    ToServer,
    ToClient,
}

#[derive(Default)]
struct Plan {
    /// The next cuts: each after so many bytes (over all connections) in one direction since the last cut.
    cuts: Vec<(Direction, u64)>,
    made: usize,
}

struct Shared {
    target: String,
    plan: Mutex<Plan>,
    ended: AtomicBool,
}

/// Listens on a free loopback port and forwards to one address until it is dropped.
pub struct CutProxy {
    host: String,
    shared: Arc<Shared>,
}

impl CutProxy {
    pub fn start(target: &str) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let host = listener.local_addr()?.to_string();
        let shared =
            Arc::new(Shared { target: target.to_owned(), plan: Mutex::default(), ended: AtomicBool::new(false) });
        let server = Arc::clone(&shared);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                if server.ended.load(Ordering::SeqCst) {
                    return;
                }
                // A connection that cannot be made is as good as cut.
                let _ = client.and_then(|client| server.join(client));
            }
        });
        Ok(Self { host, shared })
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Cuts after so many more bytes in this direction; several of these come one after the other.
    pub fn cut_after(&self, direction: Direction, bytes: u64) {
        self.shared.plan.lock().unwrap_or_else(PoisonError::into_inner).cuts.push((direction, bytes));
    }

    /// How many cuts were made.
    pub fn cuts(&self) -> usize {
        self.shared.plan.lock().unwrap_or_else(PoisonError::into_inner).made
    }
}

impl Drop for CutProxy {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        // Wakes the listener, which then ends.
        let _ = TcpStream::connect(&self.host);
    }
}

impl Shared {
    fn join(self: &Arc<Self>, client: TcpStream) -> Result<()> {
        let server = TcpStream::connect(&self.target)?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        for (from, to, direction) in
            [(client.try_clone()?, server.try_clone()?, Direction::ToServer), (server, client, Direction::ToClient)]
        {
            let shared = Arc::clone(self);
            std::thread::spawn(move || shared.pump(from, to, direction));
        }
        Ok(())
    }

    fn pump(&self, mut from: TcpStream, mut to: TcpStream, direction: Direction) {
        let mut buffer = vec![0; 16 << 10];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            let allowed = self.allowed(direction, count as u64);
            let passed = to.write_all(&buffer[..allowed.unwrap_or(count as u64) as usize]);
            if allowed.is_some() || passed.is_err() {
                break;
            }
        }
        // Both ends see the end of both directions.
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    }

    /// `Some` if the connection is to be cut after that many of these bytes.
    fn allowed(&self, direction: Direction, count: u64) -> Option<u64> {
        let mut plan = self.plan.lock().unwrap_or_else(PoisonError::into_inner);
        let (counted, left) = plan.cuts.first_mut()?;
        if *counted != direction {
            return None;
        }
        if *left > count {
            *left -= count;
            return None;
        }
        let left = *left;
        plan.cuts.remove(0);
        plan.made += 1;
        Some(left)
    }
}
