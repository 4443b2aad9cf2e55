//! Request bodies that are read while they are sent. Knows nothing of what they hold.

use std::io::{self, Read, Write};

use bytes::Bytes;
use futures_util::StreamExt;
use http_body_util::StreamBody;
use hyper::body::{Body, Frame};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

/// What goes over the wire at once.
const CHUNK: usize = 256 * 1024;

/// A body of what this reader gives, read by a thread of its own in pieces, so that memory stays flat. Its error ends
/// the request.
pub fn of_reader(mut reader: Box<dyn Read + Send>) -> impl Body<Data = Bytes, Error = io::Error> + Send + 'static {
    let (sender, chunks) = mpsc::channel(8);
    tokio::task::spawn_blocking(move || {
        loop {
            let mut chunk = vec![0; CHUNK];
            let item = match reader.read(&mut chunk) {
                Ok(0) => return,
                Ok(length) => {
                    chunk.truncate(length);
                    Ok(Bytes::from(chunk))
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => Err(error),
            };
            let failed = item.is_err();
            if sender.blocking_send(item).is_err() || failed {
                return;
            }
        }
    });
    of_chunks(chunks)
}

/// Collects small writes and sends them through a channel in pieces, from a thread that may block.
pub struct ChunkWriter {
    sender: mpsc::Sender<io::Result<Bytes>>,
    buffer: Vec<u8>,
}

impl ChunkWriter {
    pub fn new(sender: mpsc::Sender<io::Result<Bytes>>) -> Self {
        Self { sender, buffer: Vec::with_capacity(CHUNK) }
    }

    /// For an error that is to end the stream.
    pub fn sender(&self) -> mpsc::Sender<io::Result<Bytes>> {
        self.sender.clone()
    }
}

impl Write for ChunkWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= CHUNK {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let full = std::mem::replace(&mut self.buffer, Vec::with_capacity(CHUNK));
        self.sender.blocking_send(Ok(full.into())).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

/// A body of what comes through this channel.
pub fn of_chunks(
    chunks: mpsc::Receiver<Result<Bytes, io::Error>>,
) -> impl Body<Data = Bytes, Error = io::Error> + Send + 'static {
    StreamBody::new(ReceiverStream::new(chunks).map(|chunk| chunk.map(Frame::data)))
}
