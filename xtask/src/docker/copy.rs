//! Copies images from one engine to another without a file between them, and without layers that are there already.
//! Knows nothing of why an image is wanted elsewhere.
//!
//! An engine gives images away whole: its API has no way to ask for some layers. But one that takes an archive in reads
//! the file of a layer only if it does not have that layer on top of the same ones below. So the files of those layers
//! are left out on the way; nothing of them goes over the second link. Where the engine insists on them (one that keeps
//! its images in containerd), the whole archive follows.

use std::collections::HashSet;
use std::io::{self, Read, Seek, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use bytes::Bytes;
use futures_util::StreamExt;
use tokio::sync::mpsc;

use super::archive::{load, what};
use super::body::ChunkWriter;
use super::error::from_bollard;
use super::{Docker, DockerError, body, runtime};
use crate::model::digest::Hasher;
use crate::model::{Digest, StopToken};

/// What goes over the wire at once.
const CHUNK: usize = 256 * 1024;
/// Layers up to this size are kept in memory until it is known what they are.
const SMALL: u64 = 1 << 20;

/// What a copy did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// As the other engine calls what it took in.
    pub names: Vec<String>,
    /// Bytes that went to it.
    pub sent: u64,
    /// Layers that it had already, which were not sent.
    pub kept: usize,
}

impl Docker {
    /// Copies images, with the names given, to another engine. `relatives` are images there that may share layers with
    /// them (parents, an older version); such layers are not sent. `events` is told how many bytes have gone out.
    ///
    /// # Errors
    /// An image is not here; one of the engines cannot be spoken to; the stop token was raised.
    pub fn copy_to(
        &self,
        other: &Self,
        images: &[&str],
        relatives: &[String],
        events: &mut dyn FnMut(u64),
        stop: &StopToken,
    ) -> Result<Copied, DockerError> {
        let there = self.layers_there(other, images, relatives)?;
        match self.copy_without(other, images, there.clone(), events, stop) {
            Err(error) if !there.is_empty() && !matches!(error, DockerError::Cancelled) && other.engine().is_ok() => {
                self.copy_without(other, images, HashSet::new(), events, stop)
            }
            outcome => outcome,
        }
    }

    /// The layers at the bottom of the images that another engine has, one on top of the other, below a relative.
    fn layers_there(
        &self,
        other: &Self,
        images: &[&str],
        relatives: &[String],
    ) -> Result<HashSet<String>, DockerError> {
        let mut known = Vec::new();
        for name in relatives.iter().map(String::as_str).chain(images.iter().copied()) {
            known.extend(other.find_image(name)?.map(|image| image.layers));
        }
        let (mut there, mut missing) = (HashSet::new(), HashSet::new());
        for name in images {
            let layers = self.image(name)?.layers;
            let common = known.iter().map(|other| common(&layers, other)).max().unwrap_or(0);
            there.extend(layers[..common].iter().cloned());
            missing.extend(layers[common..].iter().cloned());
        }
        // A layer may come twice, below and on top: then its file is needed.
        there.retain(|layer| !missing.contains(layer));
        Ok(there)
    }

    fn copy_without(
        &self,
        other: &Self,
        images: &[&str],
        there: HashSet<String>,
        events: &mut dyn FnMut(u64),
        stop: &StopToken,
    ) -> Result<Copied, DockerError> {
        let what = what(images);
        let stream = self.api.export_images(images);
        let dialer = Arc::clone(&other.dialer);
        let kept = Arc::new(AtomicUsize::new(0));
        let count = kept.clone();
        let total = Arc::new(AtomicU64::new(0));
        let sent = total.clone();
        let work = move |events: mpsc::Sender<u64>| async move {
            let mut stream = Box::pin(stream);
            // The first chunk tells whether the images are there at all.
            let first = match stream.next().await {
                Some(chunk) => chunk.map_err(|error| from_bollard(&what, error))?,
                None => Bytes::new(),
            };
            let (sender, source) = mpsc::channel(8);
            let pump = runtime::spawn(async move {
                let mut alive = sender.send(Ok(first)).await.is_ok();
                while alive && let Some(chunk) = stream.next().await {
                    alive = sender.send(chunk.map_err(io::Error::other)).await.is_ok();
                }
            });
            let (sink, chunks) = mpsc::channel(8);
            let wire = Wire { chunks: ChunkWriter::new(sink), events, sent };
            tokio::task::spawn_blocking(move || {
                sift(Source { chunks: source, rest: Bytes::new() }, wire, &there, &count);
            });
            let loaded = load(&dialer, body::of_chunks(chunks)).await;
            drop(pump);
            loaded
        };
        let names = runtime::drive(work, &mut |sent| events(sent), stop)?;
        Ok(Copied { names, sent: total.load(Ordering::Relaxed), kept: kept.load(Ordering::Relaxed) })
    }
}

/// How many layers two images share, from the bottom.
fn common(one: &[String], other: &[String]) -> usize {
    one.iter().zip(other).take_while(|(one, other)| one == other).count()
}

/// Passes an archive on, except for the files of these layers. An error ends the stream as an error, so that no engine
/// takes a part for the whole.
fn sift(source: impl Read, wire: Wire, there: &HashSet<String>, kept: &AtomicUsize) {
    let mut builder = tar::Builder::new(wire);
    let outcome = sifted(source, &mut builder, there, kept).and_then(|()| builder.finish());
    let outcome = outcome.and_then(|()| builder.get_mut().flush());
    if let Err(error) = outcome {
        // Nobody listens any more if it was the other side that failed.
        let _ = builder.get_ref().chunks.sender().blocking_send(Err(error));
    }
}

fn sifted<W: Write>(
    source: impl Read,
    builder: &mut tar::Builder<W>,
    there: &HashSet<String>,
    kept: &AtomicUsize,
) -> io::Result<()> {
    let mut archive = tar::Archive::new(source);
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = entry.path()?.into_owned();
        let name = path.to_string_lossy().into_owned();
        let mut header = entry.header().clone();
        if !entry.header().entry_type().is_file() {
            match entry.link_name()? {
                Some(target) => builder.append_link(&mut header, &path, &target)?,
                None => builder.append_data(&mut header, &path, io::empty())?,
            }
            continue;
        }
        let named = name.strip_prefix("blobs/sha256/").map(|hex| format!("sha256:{hex}"));
        if named.as_ref().is_some_and(|digest| there.contains(digest)) {
            kept.fetch_add(1, Ordering::Relaxed);
            continue;
        }
        // In the older form only the content tells which layer it is.
        if there.is_empty() || !name.ends_with("/layer.tar") {
            builder.append_data(&mut header, &path, &mut entry)?;
            continue;
        }
        let (mut content, digest) = put_aside(&mut entry)?;
        if there.contains(&format!("sha256:{}", digest.hex())) {
            kept.fetch_add(1, Ordering::Relaxed);
        } else {
            builder.append_data(&mut header, &path, &mut content)?;
        }
    }
    Ok(())
}

/// Reads all of it and says what it is.
fn put_aside(entry: &mut impl Read) -> io::Result<(Box<dyn Read>, Digest)> {
    let mut hasher = Hasher::new();
    let mut start = Vec::new();
    entry.by_ref().take(SMALL).read_to_end(&mut start)?;
    hasher.raw(&start);
    if (start.len() as u64) < SMALL {
        return Ok((Box::new(io::Cursor::new(start)), hasher.finish()));
    }
    let mut file = tempfile::tempfile()?;
    file.write_all(&start)?;
    let mut chunk = vec![0; CHUNK];
    loop {
        match entry.read(&mut chunk)? {
            0 => break,
            length => {
                hasher.raw(&chunk[..length]);
                file.write_all(&chunk[..length])?;
            }
        }
    }
    file.rewind()?;
    Ok((Box::new(file), hasher.finish()))
}

/// What comes through a channel, for reading on a thread of its own.
struct Source {
    chunks: mpsc::Receiver<io::Result<Bytes>>,
    rest: Bytes,
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() {
            match self.chunks.blocking_recv() {
                Some(chunk) => self.rest = chunk?,
                None => return Ok(0),
            }
        }
        let length = self.rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&self.rest.split_to(length));
        Ok(length)
    }
}

/// Passes what is written on, and says how much it was.
struct Wire {
    chunks: ChunkWriter,
    events: mpsc::Sender<u64>,
    sent: Arc<AtomicU64>,
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = self.chunks.write(bytes)?;
        let before = self.sent.fetch_add(length as u64, Ordering::Relaxed);
        let sent = before + length as u64;
        if before / CHUNK as u64 != sent / CHUNK as u64 {
            // A listener that is slow misses some.
            let _ = self.events.try_send(sent);
        }
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.chunks.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, content) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            builder.append_data(&mut header, name, *content).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn names(archive: &[u8]) -> Vec<String> {
        let mut archive = tar::Archive::new(archive);
        archive.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().display().to_string()).collect()
    }

    #[test]
    fn only_the_files_of_known_layers_are_left_out() {
        let large = vec![7; 3 << 20];
        let digest = |content: &[u8]| format!("sha256:{}", Digest::of(content).hex());
        let hex = Digest::of(b"blob").hex();
        let blob = format!("blobs/sha256/{hex}");
        let files: [(&str, &[u8]); 6] = [
            ("a/layer.tar", b"small"),
            ("b/layer.tar", &large),
            ("c/layer.tar", b"new"),
            ("c/json", b"small"),
            (&blob, b"blob"),
            ("manifest.json", b"[]"),
        ];
        let there = HashSet::from([digest(b"small"), digest(&large), digest(b"blob")]);
        let (mut builder, kept) = (tar::Builder::new(Vec::new()), AtomicUsize::new(0));
        sifted(&*archive(&files), &mut builder, &there, &kept).unwrap();
        assert_eq!(names(&builder.into_inner().unwrap()), ["c/layer.tar", "c/json", "manifest.json"]);
        assert_eq!(kept.load(Ordering::Relaxed), 3);
        let mut builder = tar::Builder::new(Vec::new());
        sifted(&*archive(&files), &mut builder, &HashSet::new(), &kept).unwrap();
        assert_eq!(builder.into_inner().unwrap(), archive(&files), "without such layers nothing is changed");
    }

    #[test]
    fn layers_are_shared_from_the_bottom() {
        let layers = |text: &str| text.chars().map(String::from).collect::<Vec<_>>();
        assert_eq!(common(&layers("abc"), &layers("abd")), 2);
        assert_eq!(common(&layers("abc"), &layers("xbc")), 0);
        assert_eq!(common(&layers("ab"), &layers("abc")), 2);
    }
}
