//! How clients behave. Knows nothing of requests.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::clock::{Clock, SystemClock};
use super::retry::Policy;
use crate::model::StopToken;

/// How a client behaves.
#[derive(Clone)]
pub struct Options {
    /// Hosts (with their port) that are spoken to in plain HTTP. Loopback always is.
    pub insecure: Vec<String>,
    /// Trusted authorities in PEM instead of the system's.
    pub ca_bundle: Option<PathBuf>,
    pub policy: Policy,
    /// How long to try to connect.
    pub connect: Duration,
    /// How long the other side may be silent.
    pub stall: Duration,
    /// How long it may be silent while it stores what was sent.
    pub commit: Duration,
    /// Upload blobs in pieces of this many bytes, so that a cut costs one piece; `None` for one piece.
    pub chunk: Option<u64>,
    pub clock: Arc<dyn Clock>,
    pub stop: StopToken,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            insecure: Vec::new(),
            ca_bundle: None,
            policy: Policy::default(),
            connect: Duration::from_secs(10),
            stall: Duration::from_secs(30),
            commit: Duration::from_mins(2),
            chunk: None,
            clock: Arc::new(SystemClock::new()),
            stop: StopToken::new(),
        }
    }
}
