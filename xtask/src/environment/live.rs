//! Changed files into containers that run: what each container has, copies through the engine's archives, and what is
//! done after a copy. Knows nothing of Dockerfiles and of images.
//!
//! A container that got files has another name from then on, before the first of them: no run takes it for what its
//! image is, whenever this process is killed.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::docker::{Docker, DockerError, ExecSpec};
use crate::model::{Diagnostic, StopToken, Stream};

use super::pool::Listed;

/// Begins the name of a container that is not what its image is.
pub const NAME_START: &str = "xtask-live-";

/// How long a container may take to end when it is started again.
const GRACE: Duration = Duration::from_secs(10);

/// How long a command after a copy may take.
const LIMIT: Duration = Duration::from_mins(1);

/// One thing to be written.
pub struct File {
    /// Absolute, in the container.
    pub to: String,
    /// The name below `to`, if that is a folder there.
    pub name_in_folder: Option<String>,
    /// `None` for a folder.
    pub content: Option<Vec<u8>>,
    pub mode: u32,
    pub owner: (u32, u32),
}

/// What is done in a container after a copy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct After {
    /// A shell command in the container.
    pub exec: Option<String>,
    pub restart: bool,
}

/// Why files did not get into a container.
#[derive(Debug)]
pub enum LiveError {
    /// It went away meanwhile.
    Gone,
    /// Its files cannot be written, e.g. in a strict run.
    ReadOnly,
    Told(Diagnostic),
}

impl From<DockerError> for LiveError {
    fn from(error: DockerError) -> Self {
        match error {
            DockerError::NotFound { .. } => Self::Gone,
            error if error.to_string().contains("read-only") => Self::ReadOnly,
            error => Self::Told(error.into()),
        }
    }
}

/// Notes of what containers and images hold, as texts by name.
pub struct Notes {
    dir: PathBuf,
}

/// So many notes stay; one that is missing costs a build.
const KEPT: usize = 50;

impl Notes {
    /// In a folder of the repository's state.
    pub fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    pub fn read(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.dir.join(name)).ok()
    }

    /// Writes one, whole or not at all, and forgets the oldest.
    pub fn write(&self, name: &str, text: &str) -> io::Result<()> {
        fs::create_dir_all(&self.dir)?;
        let new = self.dir.join(format!("{name}.{}.new", std::process::id()));
        fs::write(&new, text)?;
        fs::rename(&new, self.dir.join(name))?;
        let mut all: Vec<(SystemTime, PathBuf)> = fs::read_dir(&self.dir)?
            .flatten()
            .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
            .collect();
        all.sort();
        for (_, old) in all.iter().rev().skip(KEPT) {
            // Another process may have been quicker.
            let _ = fs::remove_file(old);
        }
        Ok(())
    }

    pub fn forget(&self, name: &str) {
        let _ = fs::remove_file(self.dir.join(name));
    }
}

/// One thing to be taken away.
pub struct Gone {
    /// Absolute, in the container.
    pub path: String,
    /// Whose the folder around it is.
    pub owner: (u32, u32),
}

/// Writes files into a container and takes others away. First it gets its other name.
///
/// # Errors
/// The container is gone, or cannot be written.
pub fn copy(
    docker: &Docker,
    container: &Listed,
    files: &[File],
    gone: &[Gone],
    stop: &StopToken,
) -> Result<(), LiveError> {
    if !container.is_live() {
        docker.rename(&container.id, &format!("{NAME_START}{}", container.token))?;
    }
    remove(docker, &container.id, gone, stop)?;
    if files.is_empty() {
        return Ok(());
    }
    let folders = folders_of(docker, &container.id, files, stop)?;
    let archive = archive(files, &folders).map_err(|error| {
        LiveError::Told(Diagnostic::error("an archive of changed files cannot be made").cause(error))
    })?;
    docker.upload(&container.id, "/", Box::new(io::Cursor::new(archive)), stop)?;
    Ok(())
}

/// Takes files away, and folders with nothing in them any more. Who does that has no more rights than the owner: even
/// root may have none over others in such a container.
fn remove(docker: &Docker, id: &str, gone: &[Gone], stop: &StopToken) -> Result<(), LiveError> {
    let mut by_owner: BTreeMap<(u32, u32), Vec<String>> = BTreeMap::new();
    for one in gone {
        by_owner.entry(one.owner).or_default().push(one.path.clone());
    }
    let script = "for path; do if [ -d \"$path\" ] && [ ! -h \"$path\" ]; \
                  then rmdir \"$path\" || [ -n \"$(ls -A \"$path\")\" ] || exit 1; \
                  else rm -f \"$path\" || exit 1; fi; done";
    for ((user, group), mut paths) in by_owner {
        // What is in a folder comes before it.
        paths.sort_by(|a, b| b.cmp(a));
        let words = ["sh", "-c", script, "sh"].map(str::to_owned).into_iter().chain(paths);
        let spec = ExecSpec {
            command: words.collect(),
            user: Some(format!("{user}:{group}")),
            timeout: Some(LIMIT),
            ..ExecSpec::default()
        };
        // Where there is no shell, this cannot be done either.
        if docker.exec(id, &spec, &mut |_, _| {}, stop)? != 0 {
            return Err(LiveError::ReadOnly);
        }
    }
    Ok(())
}

/// Runs the command, then starts the container again, whichever are wished.
///
/// # Errors
/// The command fails; the container is gone.
pub fn after(
    docker: &Docker,
    container: &Listed,
    after: &After,
    say: &mut dyn FnMut(Stream, &[u8]),
    stop: &StopToken,
) -> Result<(), LiveError> {
    if let Some(command) = &after.exec {
        let spec = ExecSpec {
            command: ["sh", "-c", command].map(str::to_owned).to_vec(),
            timeout: Some(LIMIT),
            ..ExecSpec::default()
        };
        let code = docker.exec(&container.id, &spec, say, stop)?;
        if code != 0 {
            let problem = format!("`{command}` failed in container `{}` with exit code {code}", container.short());
            return Err(LiveError::Told(Diagnostic::error(problem)));
        }
    }
    if after.restart {
        docker.restart(&container.id, GRACE)?;
    }
    Ok(())
}

/// Of the places that may be folders in the container, those that are.
fn folders_of(docker: &Docker, id: &str, files: &[File], stop: &StopToken) -> Result<Vec<String>, LiveError> {
    let asked: Vec<String> =
        files.iter().filter(|file| file.name_in_folder.is_some()).map(|file| file.to.clone()).collect();
    if asked.is_empty() {
        return Ok(asked);
    }
    let script = "for path; do if [ -d \"$path\" ]; then echo folder; else echo file; fi; done";
    let words = ["sh", "-c", script, "sh"].map(str::to_owned).into_iter().chain(asked.iter().cloned());
    let spec = ExecSpec { command: words.collect(), timeout: Some(LIMIT), ..ExecSpec::default() };
    let mut said = Vec::new();
    let mut listen = |stream: Stream, bytes: &[u8]| {
        if stream == Stream::Stdout {
            said.extend_from_slice(bytes);
        }
    };
    docker.exec(id, &spec, &mut listen, stop)?;
    let said = String::from_utf8_lossy(&said).into_owned();
    Ok(asked.into_iter().zip(said.lines()).filter(|(_, kind)| *kind == "folder").map(|(path, _)| path).collect())
}

/// All files as one archive, with the time of now: programs that look at times see that they are new.
fn archive(files: &[File], folders: &[String]) -> io::Result<Vec<u8>> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    let mut archive = tar::Builder::new(Vec::new());
    let mut sorted: BTreeMap<String, &File> = BTreeMap::new();
    for file in files {
        let into = file.name_in_folder.as_ref().filter(|_| folders.contains(&file.to));
        sorted.insert(into.map_or_else(|| file.to.clone(), |name| format!("{}/{name}", file.to)), file);
    }
    for (to, file) in sorted {
        let mut header = tar::Header::new_gnu();
        let content = file.content.as_deref();
        header.set_entry_type(if content.is_some() { tar::EntryType::Regular } else { tar::EntryType::Directory });
        header.set_mode(file.mode);
        header.set_uid(file.owner.0.into());
        header.set_gid(file.owner.1.into());
        header.set_mtime(now);
        header.set_size(content.map_or(0, |bytes| bytes.len() as u64));
        archive.append_data(&mut header, Path::new(to.trim_start_matches('/')), content.unwrap_or_default())?;
    }
    archive.into_inner()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_whole_and_few() {
        let dir = tempfile::tempdir().unwrap();
        let notes = Notes::new(dir.path().join("live"));
        assert_eq!(notes.read("a"), None);
        for number in 0..=KEPT {
            notes.write(&format!("n{number}"), &number.to_string()).unwrap();
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(notes.read(&format!("n{KEPT}")).as_deref(), Some(&*KEPT.to_string()));
        assert!(fs::read_dir(dir.path().join("live")).unwrap().count() <= KEPT);
        notes.forget(&format!("n{KEPT}"));
        assert_eq!(notes.read(&format!("n{KEPT}")), None);
    }

    #[test]
    fn an_archive_has_modes_owners_and_the_right_names() {
        let file = |to: &str, name: Option<&str>, content: Option<&[u8]>| File {
            to: to.into(),
            name_in_folder: name.map(str::to_owned),
            content: content.map(<[u8]>::to_vec),
            mode: 0o755,
            owner: (7, 8),
        };
        let files =
            [file("/etc/x", Some("x"), Some(b"1")), file("/opt", Some("y"), Some(b"2")), file("/new", None, None)];
        let bytes = archive(&files, &["/opt".to_owned()]).unwrap();
        let mut seen = Vec::new();
        for entry in tar::Archive::new(&bytes[..]).entries().unwrap() {
            let entry = entry.unwrap();
            let header = entry.header();
            assert_eq!((header.mode().unwrap(), header.uid().unwrap(), header.gid().unwrap()), (0o755, 7, 8));
            assert!(header.mtime().unwrap() > 1_600_000_000);
            seen.push(entry.path().unwrap().display().to_string());
        }
        assert_eq!(seen, ["etc/x", "new", "opt/y"]);
    }
}
