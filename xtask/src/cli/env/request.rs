//! From the words of `env run` to a request: everything that can be wrong with them is found before anything starts.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::args::RunArgs;
use super::engine::Opened;
use crate::environment::options::{computed_shm, parse_mount, parse_publish, parse_size};
use crate::environment::session::Session;
use crate::environment::{Environment, Language, Options, Security, Work};
use crate::model::digest::Hasher;
use crate::model::{Diagnostic, Diagnostics, Digest, Secret};
use crate::taskfile::read::parse_duration;
use crate::world::World;

/// Shorter values would hide half of every text.
const SHORTEST_SECRET: usize = 8;

/// What is asked for.
pub(super) struct Request {
    pub work: Work,
    pub options: Options,
    pub env: BTreeMap<String, String>,
    pub secrets: BTreeMap<String, Secret>,
    pub workdir: Option<String>,
    pub timeout: Option<Duration>,
    pub uploads: Vec<PathBuf>,
    pub downloads: Vec<(String, PathBuf)>,
    /// Taken part in until the run is over.
    #[expect(dead_code, reason = "dropping it leaves the session")]
    pub session: Option<Session>,
}

/// Reads the words; all that is wrong with them at once.
pub(super) fn read(
    args: &RunArgs,
    environment: &Environment,
    opened: &Opened,
    world: &World,
) -> Result<Request, Diagnostics> {
    let mut problems = Vec::new();
    let mut keep = |problem: Diagnostic| problems.push(problem);
    let work = work(args, environment, world).map_err(&mut keep).ok();
    let mut options = options(args, opened, world, &mut keep);
    let env = collect(&args.env, &mut keep, |word| variable(word, world));
    let secrets = collect(&args.secret, &mut keep, |word| secret(word, world));
    let uploads = collect(&args.upload, &mut keep, |word| upload(word, world));
    let downloads = collect(&args.download, &mut keep, |word| download(word, world));
    let timeout = args.timeout.as_deref().and_then(|text| {
        let read = parse_duration(text).filter(|time| !time.is_zero());
        if read.is_none() {
            keep(Diagnostic::error(format!("`--timeout` is `{text}`, expected seconds or a duration such as `90s`")));
        }
        read
    });
    if let Some(dir) = args.workdir.as_deref().filter(|dir| !dir.starts_with('/')) {
        keep(Diagnostic::error(format!("`--workdir` is `{dir}`, expected an absolute path in the container")));
    }
    match work {
        Some(work) if problems.is_empty() => {
            let strict = options.security == Security::Strict;
            // What the image has cannot be written there.
            let workdir = args.workdir.clone().or_else(|| strict.then(|| "/xtask/home".to_owned()));
            let (env, secrets) = (env.into_iter().collect(), secrets.into_iter().collect());
            let session = args.session.as_deref().map(|name| join(args, name, opened, &mut options)).transpose()?;
            Ok(Request { work, options, env, secrets, workdir, timeout, uploads, downloads, session })
        }
        _ => Err(Diagnostics(problems)),
    }
}

/// Takes part in a session, and mounts what belongs to it.
fn join(args: &RunArgs, name: &str, opened: &Opened, options: &mut Options) -> Result<Session, Diagnostic> {
    if !opened.is_here {
        let scope = &opened.scope;
        return Err(Diagnostic::error(format!("`--session` needs the engine of this machine, not that of `{scope}`"))
            .note("runs of a session share the memory of one machine"));
    }
    if !args.service_dir.starts_with('/') {
        return Err(Diagnostic::error(format!(
            "`--service-dir` is `{}`, expected an absolute path in the container",
            args.service_dir
        )));
    }
    let own = options.user.is_some_and(|(uid, _)| uid == rustix::process::geteuid().as_raw());
    let session = Session::join(&opened.folders, name, !own)?;
    options.mounts.extend(session.binds(&args.service_dir));
    Ok(session)
}

fn collect<T>(
    words: &[String],
    keep: &mut dyn FnMut(Diagnostic),
    read: impl Fn(&str) -> Result<T, Diagnostic>,
) -> Vec<T> {
    words.iter().filter_map(|word| read(word).map_err(&mut *keep).ok()).collect()
}

fn work(args: &RunArgs, environment: &Environment, world: &World) -> Result<Work, Diagnostic> {
    let given = args
        .language
        .as_deref()
        .and_then(|word| Language::CHOICES.iter().find(|(name, _)| *name == word).map(|(_, language)| *language));
    let default = environment.metadata.language;
    match (&args.script, &args.text) {
        (Some(script), _) => {
            let path = world.cwd.join(script);
            let bytes = std::fs::read(&path).map_err(|error| {
                Diagnostic::error(format!("script `{script}` cannot be read")).cause(error).help(format!(
                    "a command is written behind two dashes: cargo xtask env run {} -- {script}",
                    args.name
                ))
            })?;
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            Ok(Work::script(bytes, &name, given, default, args.words.clone()))
        }
        (None, Some(text)) => {
            Ok(Work::script(text.clone().into_bytes(), "command", given, default, args.words.clone()))
        }
        (None, None) if args.words.is_empty() && args.interactive => Ok(Work::Command(vec!["sh".to_owned()])),
        (None, None) if args.words.is_empty() => {
            Err(Diagnostic::error("`env run` has nothing to run, expected a script, `-c TEXT` or `-- COMMAND`")
                .help(format!("cargo xtask env run {} -- uname -a", args.name)))
        }
        (None, None) => Ok(Work::Command(args.words.clone())),
    }
}

fn options(args: &RunArgs, opened: &Opened, world: &World, keep: &mut dyn FnMut(Diagnostic)) -> Options {
    let mut size = |flag: &str, text: &Option<String>| {
        text.as_deref().and_then(|text| parse_size(flag, text).map_err(&mut *keep).ok())
    };
    let memory = size("--memory", &args.memory);
    let shm_size = match args.shm_size.as_deref() {
        Some("auto") => {
            let machine = opened.docker.engine().ok().and_then(|engine| engine.memory);
            Some(computed_shm(memory, machine))
        }
        _ => size("--shm-size", &args.shm_size),
    };
    if memory.is_some_and(|memory| memory < 6 << 20) {
        keep(Diagnostic::error("`--memory` is less than 6 MiB, with which no container starts").help("--memory 64m"));
    }
    let mounts = collect(&args.mount, keep, |text| parse_mount(text, &world.cwd, opened.is_here));
    if let Some(twice) = mounts
        .iter()
        .enumerate()
        .find_map(|(at, mount)| mounts[..at].iter().any(|other| other.target == mount.target).then_some(&mount.target))
    {
        keep(Diagnostic::error(format!("`--mount` has two sources for `{twice}`")));
    }
    let cpus = args.cpus.as_deref().and_then(|text| {
        let read = text.parse().ok().filter(|cpus: &f64| cpus.is_finite() && *cpus >= 0.01);
        if read.is_none() {
            keep(Diagnostic::error(format!("`--cpus` is `{text}`, expected a number such as `1.5`")));
        }
        read
    });
    let ports = collect(&args.publish, keep, parse_publish);
    let security = Security::NAMES.iter().find(|(name, _)| *name == args.security).map(|(_, security)| *security);
    let options = Options {
        mounts,
        ports,
        gpus: args.gpus.as_ref().map(|gpus| gpus.split(',').map(str::to_owned).collect()),
        shm_size,
        memory,
        cpus,
        user: user(args.user.as_deref(), keep),
        security: security.unwrap_or_default(),
        network: args.network.clone(),
    };
    options.check_ports().map_err(keep).ok();
    options
}

/// The caller, unless told otherwise.
fn user(text: Option<&str>, keep: &mut dyn FnMut(Diagnostic)) -> Option<(u32, u32)> {
    let Some(text) = text else {
        return Some((rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw()));
    };
    if text == "image" {
        return None;
    }
    let (uid, gid) = text.split_once(':').unwrap_or((text, text));
    let read = uid.parse().ok().zip(gid.parse().ok());
    if read.is_none() {
        keep(
            Diagnostic::error(format!("`--user` is `{text}`, expected `uid`, `uid:gid` or `image`"))
                .help("--user $(id -u):$(id -g)"),
        );
    }
    read
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// `NAME=VALUE`, or `NAME` to take it from here.
fn variable(word: &str, world: &World) -> Result<(String, String), Diagnostic> {
    let (name, value) = match word.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (word, world.var(word)),
    };
    if !is_name(name) {
        return Err(Diagnostic::error(format!("`{name}` of `--env` is no name of a variable")));
    }
    let value = value.ok_or_else(|| {
        Diagnostic::error(format!("variable `{name}` of `--env` is not set here")).help(format!("--env {name}=value"))
    })?;
    if value.contains('\0') {
        return Err(Diagnostic::error(format!("variable `{name}` of `--env` holds a NUL byte")));
    }
    Ok((name.to_owned(), value))
}

fn secret(name: &str, world: &World) -> Result<(String, Secret), Diagnostic> {
    if !is_name(name) {
        // A value may have been written there: it is not repeated.
        return Err(Diagnostic::error("`--secret` takes the name of a variable, without its value")
            .help("export TOKEN, then: --secret TOKEN"));
    }
    let value = world.var(name).ok_or_else(|| {
        Diagnostic::error(format!("variable `{name}` of `--secret` is not set here")).help(format!("export {name}"))
    })?;
    if value.len() < SHORTEST_SECRET {
        return Err(Diagnostic::error(format!(
            "variable `{name}` of `--secret` is shorter than {SHORTEST_SECRET} bytes, too short to be hidden"
        ))
        .help(format!("--env {name}")));
    }
    Ok((name.to_owned(), Secret::new(value)))
}

fn upload(word: &str, world: &World) -> Result<PathBuf, Diagnostic> {
    let path = world.cwd.join(word);
    let path = path.canonicalize();
    path.map_err(|error| Diagnostic::error(format!("`{word}` of `--upload` does not exist")).cause(error))
}

fn download(word: &str, world: &World) -> Result<(String, PathBuf), Diagnostic> {
    let Some((from, to)) = word.split_once(':').filter(|(from, to)| !from.is_empty() && !to.is_empty()) else {
        return Err(Diagnostic::error(format!("`--download` is `{word}`, expected `SOURCE:TARGET`"))
            .help("--download table.csv:results/table.csv"));
    };
    let to = world.cwd.join(to);
    let name = Path::new(from).file_name();
    let to = if to.is_dir() { name.map_or(to.clone(), |name| to.join(name)) } else { to };
    Ok((from.to_owned(), to))
}

impl Request {
    /// What makes two requests the same, but for where they run.
    pub fn digest(&self, opened: &Opened, image: &str) -> std::io::Result<Digest> {
        let mut hasher = Hasher::new();
        hasher.field(&opened.scope).field(image).field(opened.place.root.as_os_str().as_encoded_bytes());
        hasher.field(format!("{:?}", self.work.words("", ""))).field(self.work.input().unwrap_or_default());
        hasher.field(self.options.canonical()).field(self.variables(opened));
        hasher.field(format!("{:?} {:?} {:?}", self.workdir, self.timeout, self.downloads));
        for path in &self.uploads {
            hasher.field(tree(path)?.0);
        }
        Ok(hasher.finish())
    }

    /// A word for the variables, from which their values cannot be guessed.
    pub fn variables(&self, opened: &Opened) -> String {
        let secrets: Vec<(&String, &[u8])> = self.secrets.iter().map(|(name, value)| (name, value.expose())).collect();
        opened.folders.keyed(format!("{:?} {secrets:?}", self.env).as_bytes()).short()
    }
}

/// Names, modes and content of a file or folder.
fn tree(path: &Path) -> std::io::Result<Digest> {
    use std::os::unix::fs::PermissionsExt;
    let meta = std::fs::symlink_metadata(path)?;
    let mut hasher = Hasher::new();
    hasher.field(path.as_os_str().as_encoded_bytes()).field(meta.permissions().mode().to_le_bytes());
    if meta.is_dir() {
        let mut entries: Vec<_> = std::fs::read_dir(path)?.collect::<std::io::Result<Vec<_>>>()?;
        entries.sort_by_key(std::fs::DirEntry::file_name);
        for entry in entries {
            hasher.field(tree(&entry.path())?.0);
        }
    } else if meta.is_symlink() {
        hasher.field(std::fs::read_link(path)?.as_os_str().as_encoded_bytes());
    } else if meta.is_file() {
        hasher.field(std::fs::read(path)?);
    }
    Ok(hasher.finish())
}
