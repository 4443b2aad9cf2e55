//! A context as a stream of tar, always the same for the same manifest. Knows nothing of builders.

use std::io::{self, Write};
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::tree::{Fault, Tree};
use crate::docker::DockerError;
use crate::docker::body::ChunkWriter;
use crate::model::{ContextEntry, ContextKind};

/// Starts a thread that writes the trees, one after the other, and returns what it writes. A file that changed ends
/// the stream with an error, which is also left in `fault`.
pub fn stream(trees: Vec<Arc<Tree>>, fault: Fault) -> mpsc::Receiver<Result<Bytes, io::Error>> {
    let (sender, chunks) = mpsc::channel(8);
    tokio::task::spawn_blocking(move || {
        let wire = ChunkWriter::new(sender);
        let mut builder = tar::Builder::new(wire);
        let outcome = trees.iter().try_for_each(|tree| write(&mut builder, tree));
        let outcome = outcome.and_then(|()| builder.finish().and_then(|()| builder.get_mut().flush()).map_err(gone));
        if let Err(error) = outcome {
            let text = error.to_string();
            let sender = builder.get_ref().sender();
            fault.put(error);
            // Without the error the engine would take a short stream for a whole one.
            let _ = sender.blocking_send(Err(io::Error::other(text)));
        }
    });
    chunks
}

/// The engine stopped reading: its answer says why.
fn gone(error: io::Error) -> DockerError {
    DockerError::Infra { what: "the context's stream".to_owned(), message: error.to_string() }
}

fn write(builder: &mut tar::Builder<ChunkWriter>, tree: &Tree) -> Result<(), DockerError> {
    for entry in tree.entries() {
        let mut header = header(entry);
        match &entry.kind {
            ContextKind::Symlink { target } => {
                use std::os::unix::ffi::OsStrExt;
                let (path, target) = (std::ffi::OsStr::from_bytes(&entry.path), std::ffi::OsStr::from_bytes(target));
                builder.append_link(&mut header, path, target).map_err(gone)?;
            }
            ContextKind::Directory => append(builder, &mut header, entry, io::empty())?,
            ContextKind::File { .. } => file(builder, &mut header, tree, entry)?,
        }
    }
    Ok(())
}

fn append(
    builder: &mut tar::Builder<ChunkWriter>,
    header: &mut tar::Header,
    entry: &ContextEntry,
    data: impl io::Read,
) -> Result<(), DockerError> {
    use std::os::unix::ffi::OsStrExt;
    builder.append_data(header, std::ffi::OsStr::from_bytes(&entry.path), data).map_err(gone)
}

/// The head goes out with the size of the manifest, then the content, as it is verified, then the padding.
fn file(
    builder: &mut tar::Builder<ChunkWriter>,
    header: &mut tar::Header,
    tree: &Tree,
    entry: &ContextEntry,
) -> Result<(), DockerError> {
    append(builder, header, entry, io::empty())?;
    let mut problem = None;
    let mut size = 0;
    let whole = tree.read(entry, |chunk| {
        size += chunk.len();
        match builder.get_mut().write_all(&chunk) {
            Ok(()) => true,
            Err(error) => {
                problem = Some(error);
                false
            }
        }
    })?;
    match problem {
        Some(error) if !whole => Err(gone(error)),
        _ => builder.get_mut().write_all(&[0; 512][..size.next_multiple_of(512) - size]).map_err(gone),
    }
}

fn header(entry: &ContextEntry) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    let (kind, size) = match &entry.kind {
        ContextKind::Directory => (tar::EntryType::Directory, 0),
        ContextKind::File { size, .. } => (tar::EntryType::Regular, *size),
        ContextKind::Symlink { .. } => (tar::EntryType::Symlink, 0),
    };
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(entry.mode());
    header.set_uid(0);
    header.set_gid(0);
    // Whole seconds: a finer time would need extra entries, and the classic builder looks at content anyway.
    header.set_mtime(entry.mtime().0.unsigned_abs());
    header
}
