//! Files in and out of a run as tar archives. What comes out is not trusted: nothing is written outside of the folder
//! that is named. Knows no engine.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use tar::{Builder, EntryType, Header};

/// A folder of an archive, owned by `owner`.
pub fn add_folder<W: io::Write>(to: &mut Builder<W>, path: &str, mode: u32, owner: (u32, u32)) -> io::Result<()> {
    let mut header = header(EntryType::Directory, mode, 0, owner);
    to.append_data(&mut header, path, io::empty())
}

/// A file of an archive.
pub fn add_file<W: io::Write>(to: &mut Builder<W>, path: &str, bytes: &[u8], owner: (u32, u32)) -> io::Result<()> {
    let mut header = header(EntryType::Regular, 0o644, bytes.len() as u64, owner);
    to.append_data(&mut header, path, bytes)
}

/// A file or folder of this machine under `path`, owned by `owner`; links stay links.
pub fn add_tree<W: io::Write>(to: &mut Builder<W>, path: &Path, from: &Path, owner: (u32, u32)) -> io::Result<()> {
    let meta = std::fs::symlink_metadata(from)?;
    let mode = meta.permissions().mode() & 0o777;
    if meta.is_dir() {
        to.append_data(&mut header(EntryType::Directory, mode | 0o700, 0, owner), path, io::empty())?;
        let mut names: Vec<_> = std::fs::read_dir(from)?.collect::<io::Result<Vec<_>>>()?;
        names.sort_by_key(std::fs::DirEntry::file_name);
        for entry in names {
            add_tree(to, &path.join(entry.file_name()), &entry.path(), owner)?;
        }
        Ok(())
    } else if meta.is_symlink() {
        to.append_link(&mut header(EntryType::Symlink, 0o777, 0, owner), path, std::fs::read_link(from)?)
    } else if meta.is_file() {
        let file = File::open(from)?;
        let size = file.metadata()?.len();
        to.append_data(&mut header(EntryType::Regular, mode, size, owner), path, file.take(size))
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, format!("`{}` is no file, folder or link", from.display())))
    }
}

fn header(kind: EntryType, mode: u32, size: u64, (uid, gid): (u32, u32)) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_uid(uid.into());
    header.set_gid(gid.into());
    header
}

/// Unpacks what the engine gives for a path: the archive's first part, the path's last name, becomes `to`.
///
/// Folders and files are made new or in place of files; links are made last, so that nothing is written through one.
/// What is no file, folder or symbolic link is left out. Files belong to whoever calls.
///
/// # Errors
/// An entry that would be written elsewhere: then nothing of it is, and what came before stays.
pub fn unpack(archive: impl Read, to: &Path) -> io::Result<Unpacked> {
    let mut archive = tar::Archive::new(archive);
    let mut done = Unpacked::default();
    let mut links: BTreeMap<PathBuf, PathBuf> = BTreeMap::new();
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = within(&entry.path_bytes())?;
        let target = if path.as_os_str().is_empty() { to.to_owned() } else { to.join(&path) };
        let mode = entry.header().mode().unwrap_or(0o644) & 0o777;
        match entry.header().entry_type() {
            EntryType::Directory => make_folder(to, &path)?,
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                match path.parent() {
                    Some(parent) => make_folder(to, parent)?,
                    // A single file: it becomes `to` itself.
                    None => to.parent().map_or(Ok(()), std::fs::create_dir_all)?,
                }
                remove_file(&target)?;
                // A link that somebody puts there meanwhile is not followed.
                let flags = rustix::fs::OFlags::NOFOLLOW.bits() as i32;
                let mut file =
                    OpenOptions::new().write(true).create_new(true).mode(0o600).custom_flags(flags).open(&target)?;
                done.bytes += io::copy(&mut entry, &mut file)?;
                file.set_permissions(Permissions::from_mode(mode | 0o600))?;
                done.files += 1;
            }
            EntryType::Symlink => {
                if let Some(name) = entry.link_name_bytes() {
                    links.insert(path, PathBuf::from(OsStr::from_bytes(&name)));
                }
            }
            EntryType::Link => {
                let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
                return Err(refused(&name, "is a hard link, which is not unpacked"));
            }
            _ => done.left_out += 1,
        }
    }
    for (path, link) in links {
        if !stays_within(&path, &link) {
            return Err(refused(&path.to_string_lossy(), "is a link to a place outside"));
        }
        make_folder(to, path.parent().unwrap_or(Path::new("")))?;
        let target = to.join(&path);
        remove_file(&target)?;
        std::os::unix::fs::symlink(link, target)?;
        done.files += 1;
    }
    Ok(done)
}

/// The text of an archive with one file.
pub fn only_file(archive: &[u8]) -> io::Result<String> {
    let mut archive = tar::Archive::new(archive);
    let mut entry = archive.entries()?.next().ok_or_else(|| io::Error::other("the archive is empty"))??;
    let mut text = Vec::new();
    entry.read_to_end(&mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// What was unpacked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unpacked {
    pub files: usize,
    pub bytes: u64,
    /// Devices, sockets, pipes.
    pub left_out: usize,
}

fn refused(name: &str, why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("`{name}` of the archive {why}"))
}

/// The path below the first part; an error for one that leaves it.
fn within(name: &[u8]) -> io::Result<PathBuf> {
    let path = Path::new(OsStr::from_bytes(name));
    let mut parts = path.components().filter(|part| !matches!(part, Component::CurDir));
    let plain = |part: Component<'_>| match part {
        Component::Normal(name) => Ok(PathBuf::from(name)),
        _ => Err(refused(&path.to_string_lossy(), "names a place outside")),
    };
    if let Some(first) = parts.next() {
        plain(first)?;
    }
    parts.map(plain).collect()
}

/// Whether a link, followed from its place, stays below the top.
fn stays_within(path: &Path, link: &Path) -> bool {
    let mut depth = path.components().count() as i64 - 1;
    for part in link.components() {
        match part {
            Component::Normal(_) => depth += 1,
            Component::CurDir => {}
            Component::ParentDir => depth -= 1,
            Component::RootDir | Component::Prefix(_) => return false,
        }
        if depth < 0 {
            return false;
        }
    }
    true
}

/// Makes a folder below `top`, part by part; a link in its way is refused.
fn make_folder(top: &Path, path: &Path) -> io::Result<()> {
    let mut at = top.to_owned();
    std::fs::create_dir_all(&at)?;
    for part in path.components() {
        at.push(part);
        match DirBuilder::new().mode(0o755).create(&at) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                if !std::fs::symlink_metadata(&at)?.is_dir() {
                    return Err(refused(&path.to_string_lossy(), "leads through something that is no folder"));
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn remove_file(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An archive with one entry whose name is written as it is.
    fn archive(entries: &[(&[u8], EntryType, &[u8])]) -> Vec<u8> {
        let mut builder = Builder::new(Vec::new());
        for (name, kind, text) in entries {
            let is_link = matches!(kind, EntryType::Symlink | EntryType::Link);
            let mut header = header(*kind, 0o644, if is_link { 0 } else { text.len() as u64 }, (0, 0));
            header.as_old_mut().name[..name.len()].copy_from_slice(name);
            if is_link {
                header.as_old_mut().linkname[..text.len()].copy_from_slice(text);
            }
            header.set_cksum();
            builder.append(&header, if is_link { &b""[..] } else { text }).unwrap();
        }
        builder.into_inner().unwrap()
    }

    const FILE: EntryType = EntryType::Regular;
    const LINK: EntryType = EntryType::Symlink;

    #[test]
    fn s11_nothing_is_written_outside() {
        let cases: [(&str, Vec<u8>); 8] = [
            ("dots", archive(&[(b"x/../../evil", FILE, b"!")])),
            ("absolute", archive(&[(b"/evil", FILE, b"!")])),
            ("dots at the start", archive(&[(b"../evil", FILE, b"!")])),
            ("link, then write", archive(&[(b"x/out", LINK, b"../.."), (b"x/out/evil", FILE, b"!")])),
            ("absolute link", archive(&[(b"x/out", LINK, b"/etc/passwd")])),
            ("link upwards", archive(&[(b"x/a/out", LINK, b"../../../evil")])),
            ("hard link", archive(&[(b"x/hard", EntryType::Link, b"/etc/passwd")])),
            ("link over a folder", archive(&[(b"x/a/b", FILE, b"1"), (b"x/a", LINK, b"/"), (b"x/a/evil", FILE, b"!")])),
        ];
        for (what, bytes) in cases {
            let dir = tempfile::tempdir().unwrap();
            let inside = dir.path().join("in/to");
            std::fs::create_dir_all(dir.path().join("in")).unwrap();
            assert!(unpack(&bytes[..], &inside).is_err(), "{what}");
            let names = |path: &Path| -> Vec<String> {
                let found = std::fs::read_dir(path).unwrap();
                found.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
            };
            assert_eq!(names(dir.path()), ["in"], "{what}");
            assert!(names(&dir.path().join("in")).iter().all(|name| name == "to"), "{what}");
        }
    }

    #[test]
    fn s11_an_existing_link_in_the_target_is_not_written_through() {
        let dir = tempfile::tempdir().unwrap();
        let (to, outside) = (dir.path().join("to"), dir.path().join("outside"));
        std::fs::create_dir_all(&to).unwrap();
        std::fs::create_dir_all(&outside).unwrap();
        std::os::unix::fs::symlink(&outside, to.join("a")).unwrap();
        assert!(unpack(&archive(&[(b"x/a/evil", FILE, b"!")])[..], &to).is_err());
        std::fs::write(outside.join("kept"), "kept").unwrap();
        std::os::unix::fs::symlink(outside.join("kept"), to.join("f")).unwrap();
        unpack(&archive(&[(b"x/f", FILE, b"new")])[..], &to).unwrap();
        assert_eq!(std::fs::read_to_string(outside.join("kept")).unwrap(), "kept");
        assert_eq!(std::fs::read_to_string(to.join("f")).unwrap(), "new");
    }

    #[test]
    fn trees_come_back_as_they_went() {
        let dir = tempfile::tempdir().unwrap();
        let from = dir.path().join("from");
        std::fs::create_dir_all(from.join("a/b")).unwrap();
        std::fs::write(from.join("a/b/bytes"), [0, 255, 10]).unwrap();
        std::fs::set_permissions(from.join("a/b/bytes"), Permissions::from_mode(0o755)).unwrap();
        std::os::unix::fs::symlink("b/bytes", from.join("a/link")).unwrap();
        let mut builder = Builder::new(Vec::new());
        add_tree(&mut builder, Path::new("result"), &from, (0, 0)).unwrap();
        let bytes = builder.into_inner().unwrap();
        let to = dir.path().join("deep/to");
        let done = unpack(&bytes[..], &to).unwrap();
        assert_eq!(done, Unpacked { files: 2, bytes: 3, left_out: 0 });
        assert_eq!(std::fs::read(to.join("a/link")).unwrap(), [0, 255, 10]);
        assert_eq!(std::fs::metadata(to.join("a/b/bytes")).unwrap().permissions().mode() & 0o777, 0o755);
        let single = dir.path().join("single");
        unpack(&archive(&[(b"bytes", FILE, b"one")])[..], &single).unwrap();
        assert_eq!(std::fs::read_to_string(single).unwrap(), "one");
    }
}
