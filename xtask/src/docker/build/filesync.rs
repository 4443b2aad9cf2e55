//! The file sync service of a session: tells the engine what the trees hold and sends the files it asks for. Knows
//! nothing of what the engine does with them.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc as std_mpsc};

use bollard_buildkit_proto::fsutil::types::packet::PacketType;
use bollard_buildkit_proto::fsutil::types::{Packet, Stat};
use bollard_buildkit_proto::moby::filesync::v1::file_sync_server::FileSync;
use futures_util::{Stream, StreamExt, stream};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status, Streaming};

use super::patterns::Filter;
use super::tree::{CHUNK, Fault, Tree};
use crate::docker::DockerError;
use crate::docker::error::from_text;
use crate::model::{ContextEntry, ContextKind};

/// Files that are read at once.
const READERS: usize = 4;
/// Bundles of packets that wait for the connection: with chunks of 128 KiB a bound of 4 MiB.
const BACKLOG: usize = 32;

/// The names under which the engine asks for its two trees.
pub const CONTEXT: &str = "context";
pub const DOCKERFILE: &str = "dockerfile";

/// Serves trees by the name under which the engine asks for them.
pub struct FileSyncService {
    pub trees: HashMap<&'static str, Arc<Tree>>,
    /// Bytes of the context's files sent; the Dockerfile does not count.
    pub sent: Arc<AtomicU64>,
    pub fault: Fault,
}

type Packets = Pin<Box<dyn Stream<Item = Result<Packet, Status>> + Send>>;
type Bundle = Result<Vec<Packet>, Status>;

#[tonic::async_trait]
impl FileSync for FileSyncService {
    type DiffCopyStream = Packets;

    async fn diff_copy(&self, request: Request<Streaming<Packet>>) -> Result<Response<Packets>, Status> {
        let name = values(request.metadata(), "dir-name").into_iter().next().unwrap_or_default();
        let name = String::from_utf8_lossy(&name).into_owned();
        let tree = self.trees.get(name.as_str()).ok_or_else(|| Status::not_found(format!("no directory `{name}`")))?;
        let filter = Filter {
            include: values(request.metadata(), "include-patterns"),
            exclude: values(request.metadata(), "exclude-patterns"),
            follow: values(request.metadata(), "followpaths"),
        };
        let chosen: Arc<[u32]> = filter.select(tree).into();
        if let Err(error) = sendable(tree, &chosen) {
            let status = Status::invalid_argument(error.to_string());
            self.fault.put(error);
            return Err(status);
        }
        let (sender, bundles) = mpsc::channel(BACKLOG);
        let transfer = Transfer {
            tree: Arc::clone(tree),
            chosen: Arc::clone(&chosen),
            sender,
            sent: if name == CONTEXT { Arc::clone(&self.sent) } else { Arc::default() },
            fault: self.fault.clone(),
        };
        tokio::spawn(transfer.serve(request.into_inner()));
        let stats = stats(Arc::clone(tree), chosen);
        let data = ReceiverStream::new(bundles).flat_map(|bundle| {
            stream::iter(match bundle {
                Ok(packets) => packets.into_iter().map(Ok).collect::<Vec<_>>(),
                Err(status) => vec![Err(status)],
            })
        });
        Ok(Response::new(Box::pin(stream::select(stats, data))))
    }

    type TarStreamStream = Packets;

    async fn tar_stream(&self, _: Request<Streaming<Packet>>) -> Result<Response<Packets>, Status> {
        Err(Status::unimplemented("tar streams are not offered"))
    }
}

/// All values of one key. Engines since 0.13 of BuildKit escape what is not ASCII and say so under another key.
fn values(metadata: &MetadataMap, key: &str) -> Vec<Vec<u8>> {
    let escaped = metadata.get(format!("{key}-encoded")).is_some_and(|value| value == "1");
    let plain = metadata.get_all(key).iter().map(|value| value.as_bytes().to_vec());
    if escaped { plain.map(|value| unescape(&value)).collect() } else { plain.collect() }
}

fn unescape(text: &[u8]) -> Vec<u8> {
    let digit = |at: usize| text.get(at).and_then(|byte| (*byte as char).to_digit(16));
    let mut plain = Vec::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        match (text[at], digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                plain.push((high * 16 + low) as u8);
                at += 2;
            }
            (b'+', ..) => plain.push(b' '),
            (other, ..) => plain.push(other),
        }
        at += 1;
    }
    plain
}

/// The protocol's names are text: others must be refused before the engine guesses at them.
fn sendable(tree: &Tree, chosen: &[u32]) -> Result<(), DockerError> {
    let text = |bytes: &[u8]| std::str::from_utf8(bytes).is_ok();
    let odd = chosen
        .iter()
        .map(|index| &tree.entries()[*index as usize])
        .find(|entry| !text(&entry.path) || matches!(&entry.kind, ContextKind::Symlink { target } if !text(target)));
    match odd {
        None => Ok(()),
        Some(entry) => Err(DockerError::Unsupported {
            what: format!("`{}` has a name that is not UTF-8, which BuildKit does not take", entry.path.escape_ascii()),
            help: "rename it, exclude it in .dockerignore, or build with the classic builder".to_owned(),
        }),
    }
}

/// One packet per entry, in order, and the packet that ends the list.
fn stats(tree: Arc<Tree>, chosen: Arc<[u32]>) -> impl Stream<Item = Result<Packet, Status>> + Send {
    let entries = (0..chosen.len()).map(move |at| Some(stat(&tree.entries()[chosen[at] as usize])));
    stream::iter(entries.chain([None]).map(|stat| Ok(packet(PacketType::PacketStat, 0, stat, Vec::new()))))
}

fn packet(kind: PacketType, id: u32, stat: Option<Stat>, data: Vec<u8>) -> Packet {
    Packet { r#type: kind.into(), stat, id, data }
}

fn stat(entry: &ContextEntry) -> Stat {
    // The bits of Go's file modes.
    const DIRECTORY: u32 = 1 << 31;
    const SYMLINK: u32 = 1 << 27;
    let (kind, size, linkname) = match &entry.kind {
        ContextKind::Directory => (DIRECTORY, 0, String::new()),
        ContextKind::File { size, .. } => (0, *size, String::new()),
        ContextKind::Symlink { target } => (SYMLINK, 0, String::from_utf8_lossy(target).into_owned()),
    };
    let (seconds, nanoseconds) = entry.mtime();
    Stat {
        path: String::from_utf8_lossy(&entry.path).into_owned(),
        mode: entry.mode() | kind,
        size: size as i64,
        mod_time: seconds * 1_000_000_000 + i64::from(nanoseconds),
        linkname,
        ..Default::default()
    }
}

/// One walk of the engine through a tree.
struct Transfer {
    tree: Arc<Tree>,
    chosen: Arc<[u32]>,
    sender: mpsc::Sender<Bundle>,
    sent: Arc<AtomicU64>,
    fault: Fault,
}

type Queue = Arc<Mutex<std_mpsc::Receiver<u32>>>;

impl Transfer {
    /// Answers requests until the engine is done or gone.
    async fn serve(self, mut requests: Streaming<Packet>) {
        let this = Arc::new(self);
        let mut queue: Option<std_mpsc::Sender<u32>> = None;
        while let Ok(Some(request)) = requests.message().await {
            match PacketType::try_from(request.r#type) {
                Ok(PacketType::PacketReq) => {
                    let queue = queue.get_or_insert_with(|| Self::start_readers(&this));
                    if queue.send(request.id).is_err() {
                        return;
                    }
                }
                Ok(PacketType::PacketFin) => {
                    let fin = packet(PacketType::PacketFin, 0, None, Vec::new());
                    // The engine may already be gone: it has what it wanted.
                    let _ = this.sender.send(Ok(vec![fin])).await;
                    return;
                }
                Ok(PacketType::PacketErr) => {
                    let message = String::from_utf8_lossy(&request.data).into_owned();
                    this.fault.put(from_text("file sync", &message));
                    return;
                }
                _ => {}
            }
        }
    }

    /// The readers end when the queue's sender goes, or when nobody takes their packets any more.
    fn start_readers(this: &Arc<Self>) -> std_mpsc::Sender<u32> {
        let (sender, queue) = std_mpsc::channel();
        let queue: Queue = Arc::new(Mutex::new(queue));
        for _ in 0..READERS {
            let (this, queue) = (Arc::clone(this), Arc::clone(&queue));
            tokio::task::spawn_blocking(move || {
                loop {
                    let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    match next {
                        Ok(id) if this.send_file(id) => {}
                        _ => return,
                    }
                }
            });
        }
        sender
    }

    /// Whether it makes sense to go on.
    fn send_file(&self, id: u32) -> bool {
        let Some(index) = self.chosen.get(id as usize) else { return false };
        let entry = &self.tree.entries()[*index as usize];
        let data = |bytes: Vec<u8>| packet(PacketType::PacketData, id, None, bytes);
        let mut held: Option<Vec<u8>> = None;
        let outcome = self.tree.read(entry, |chunk| {
            self.sent.fetch_add(chunk.len() as u64, Ordering::Relaxed);
            // The last chunk is held back until the digest is known, and travels with the packet that ends the file.
            match held.replace(chunk) {
                Some(before) => self.sender.blocking_send(Ok(vec![data(before)])).is_ok(),
                None => true,
            }
        });
        match outcome {
            Ok(true) => {
                let last = held.into_iter().chain([Vec::new()]).map(data).collect();
                self.sender.blocking_send(Ok(last)).is_ok()
            }
            Ok(false) => false,
            Err(error) => {
                let text = error.to_string();
                self.fault.put(error);
                let packet = packet(PacketType::PacketErr, id, None, text.clone().into_bytes());
                if self.sender.blocking_send(Ok(vec![packet])).is_ok() {
                    // Whether the engine has read the packet or the status first, the build ends here.
                    let _ = self.sender.blocking_send(Err(Status::aborted(text)));
                }
                false
            }
        }
    }
}

/// A chunk, and what surrounds it in a packet, fits into one message.
pub const MESSAGE_LIMIT: usize = 4 * 1024 * 1024;
const _: () = assert!(CHUNK * 2 < MESSAGE_LIMIT);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaped_names_are_read() {
        let mut metadata = MetadataMap::new();
        metadata.append("followpaths", "a%2Fb+c%C3%BC".parse().unwrap());
        assert_eq!(values(&metadata, "followpaths"), [b"a%2Fb+c%C3%BC".to_vec()]);
        metadata.append("followpaths-encoded", "1".parse().unwrap());
        assert_eq!(values(&metadata, "followpaths"), ["a/b cü".as_bytes().to_vec()]);
    }
}
