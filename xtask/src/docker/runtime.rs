//! The program's only tokio runtime, started at first use. Knows nothing of what runs on it.

use std::sync::OnceLock;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::DockerError;
use crate::model::StopToken;

/// How often a waiting thread looks whether it is told to stop.
const GLANCE: Duration = Duration::from_millis(40);
/// Events that may wait for a slow listener before the engine has to wait as well.
const BACKLOG: usize = 256;

fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        #[expect(
            clippy::expect_used,
            reason = "without threads no verb of this room can work, and no caller can help it"
        )]
        Builder::new_multi_thread()
            .worker_threads(2)
            // Each context on its way may hold a handful of readers, and builds run side by side.
            .max_blocking_threads(256)
            .thread_name("docker")
            .enable_all()
            .build()
            .expect("the system refuses to start the threads of the Docker client")
    })
}

/// Blocks this thread until the future is done.
pub fn wait<T>(future: impl Future<Output = T>) -> T {
    runtime().block_on(future)
}

/// A task that ends when its handle goes.
pub struct Owned<T>(Option<JoinHandle<T>>);

impl<T> Owned<T> {
    /// Lets the task go on by itself.
    pub fn detach(mut self) {
        self.0.take();
    }

    /// Waits for its end: what it returned, or how it died.
    async fn join(&mut self) -> Result<T, String> {
        match self.0.as_mut() {
            Some(handle) => handle.await.map_err(|died| died.to_string()),
            None => Err("the task was let go".to_owned()),
        }
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        if let Some(handle) = self.0.take() {
            handle.abort();
        }
    }
}

/// Starts a task that lives no longer than the returned handle. Callable from any thread.
pub fn spawn<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> Owned<T> {
    Owned(Some(runtime().spawn(future)))
}

/// Runs `work` on the runtime and hands its events to `listener` on the calling thread, so that a listener may call
/// any verb of this room. Told to stop, it drops the work (and with it the connection) and says `Cancelled`.
pub fn drive<T, E, F>(
    work: impl FnOnce(mpsc::Sender<E>) -> F,
    listener: &mut dyn FnMut(E),
    stop: &StopToken,
) -> Result<T, DockerError>
where
    T: Send + 'static,
    E: Send + 'static,
    F: Future<Output = Result<T, DockerError>> + Send + 'static,
{
    let mut listener = |event| {
        listener(event);
        Ok(())
    };
    drive_checked(work, &mut listener, stop)
}

/// The same with a listener that can fail: then the work is dropped, and the listener's error is the outcome.
pub fn drive_checked<T, E, F>(
    work: impl FnOnce(mpsc::Sender<E>) -> F,
    listener: &mut dyn FnMut(E) -> Result<(), DockerError>,
    stop: &StopToken,
) -> Result<T, DockerError>
where
    T: Send + 'static,
    E: Send + 'static,
    F: Future<Output = Result<T, DockerError>> + Send + 'static,
{
    let (sender, mut events) = mpsc::channel(BACKLOG);
    let mut task = spawn(work(sender));
    loop {
        match wait(async { tokio::time::timeout(GLANCE, events.recv()).await }) {
            Ok(Some(event)) => listener(event)?,
            Ok(None) => break,
            Err(_) => {}
        }
        if stop.is_requested() {
            return Err(DockerError::Cancelled);
        }
    }
    // The sender is gone: the work is over, or about to be.
    loop {
        match wait(async { tokio::time::timeout(GLANCE, task.join()).await }) {
            Ok(Ok(outcome)) => return outcome,
            Ok(Err(died)) => return Err(DockerError::Bug { what: died }),
            Err(_) if stop.is_requested() => return Err(DockerError::Cancelled),
            Err(_) => {}
        }
    }
}
