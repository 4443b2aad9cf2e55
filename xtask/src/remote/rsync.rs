//! The words of one call of rsync, checked. Knows nothing of how it is run.

use std::ffi::OsString;
use std::path::PathBuf;

use super::RemoteError;
use crate::model::task::Compress;

/// One rule of what is copied; the first that fits a path decides, so their order counts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Filter {
    /// A pattern in rsync's language.
    Include(String),
    Exclude(String),
}

/// What to copy and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncSpec {
    /// A folder here, absolute, whose content is copied; or a single file.
    pub source: PathBuf,
    pub filters: Vec<Filter>,
    /// What the source does not have goes away on the other side.
    pub delete: bool,
    /// Unchanged files become hard links to this folder, which is on the file system of the target.
    pub link_dest: Option<String>,
    pub compress: Compress,
    /// Compares contents, not only size and time.
    pub checksum: bool,
    /// Further options; see [`check_option`].
    pub options: Vec<String>,
    /// A folder here in which is kept what was copied last: then only what changed since is looked at.
    pub memory: Option<PathBuf>,
    /// Copies only the paths in this file, each followed by a zero byte.
    pub(super) only: Option<PathBuf>,
}

impl SyncSpec {
    /// Copies the content of `source`, deletes nothing.
    pub fn new(source: impl Into<PathBuf>) -> Self {
        Self {
            source: source.into(),
            filters: Vec::new(),
            delete: false,
            link_dest: None,
            compress: Compress::Auto,
            checksum: false,
            options: Vec::new(),
            memory: None,
            only: None,
        }
    }

    /// Whether the source is a single file.
    pub(super) fn is_file(&self) -> bool {
        self.source.is_file()
    }
}

/// Options that neither run a program nor show half a file under its final name.
const ALLOWED: &[&str] = &[
    "--bwlimit",
    "--checksum",
    "--chmod",
    "--copy-links",
    "--copy-unsafe-links",
    "--ignore-existing",
    "--max-delete",
    "--max-size",
    "--min-size",
    "--modify-window",
    "--no-group",
    "--no-owner",
    "--no-perms",
    "--no-times",
    "--numeric-ids",
    "--omit-dir-times",
    "--one-file-system",
    "--prune-empty-dirs",
    "--safe-links",
    "--size-only",
    "--sparse",
    "--update",
    "--whole-file",
];

/// Whether a sync may use this option of rsync.
pub fn check_option(option: &str) -> Result<(), RemoteError> {
    let name = option.split('=').next().unwrap_or_default();
    if ALLOWED.contains(&name) { Ok(()) } else { Err(RemoteError::ForbiddenOption { option: option.to_owned() }) }
}

/// Program and arguments that copy, `compressed` on the way or not, to `operand` (`host:/path`, or an absolute path here)
/// through the remote shell `shell`, if there is one.
///
/// A file is never seen half under its final name: it is written aside and renamed, and all of them at the end.
pub fn argv(
    spec: &SyncSpec,
    compressed: bool,
    shell: Option<&str>,
    operand: &str,
) -> Result<Vec<OsString>, RemoteError> {
    // The window of -1 compares nanoseconds: two edits within one second are two contents.
    let words = ["-aH", "-s", "--modify-window=-1", "--partial-dir=.rsync-partial", "--delay-updates", "--outbuf=N"];
    let mut argv: Vec<OsString> = std::iter::once("rsync").chain(words).map(OsString::from).collect();
    argv.push("--info=progress2".into());
    let end = if spec.is_file() { "" } else { "/" };
    if let Some(list) = &spec.only {
        let mut from = OsString::from("--files-from=");
        from.push(list);
        argv.extend([from, "--from0".into()]);
    } else if spec.delete && !spec.is_file() {
        argv.push("--delete-delay".into());
    }
    if spec.checksum {
        argv.push("--checksum".into());
    }
    if compressed {
        // Both sides agree on the best kind that they know (zstd since 3.2). The lowest level is the fastest on links that
        // are worth it at all.
        argv.extend(["-z", "--compress-level=1"].map(OsString::from));
    }
    for filter in &spec.filters {
        argv.push(match filter {
            Filter::Include(pattern) => format!("--filter=+ {pattern}").into(),
            Filter::Exclude(pattern) => format!("--filter=- {pattern}").into(),
        });
    }
    if let Some(dir) = &spec.link_dest {
        argv.push(format!("--link-dest={dir}").into());
    }
    for option in &spec.options {
        check_option(option)?;
        argv.push(option.into());
    }
    if let Some(shell) = shell {
        argv.extend(["-e".into(), shell.into()]);
    }
    // A trailing `/` means the content of the folder. An absolute path is never taken for `host:path`.
    let mut source = spec.source.clone().into_os_string();
    source.push(end);
    argv.extend(["--".into(), source, format!("{}{end}", operand.trim_end_matches('/')).into()]);
    Ok(argv)
}

/// What an exit code of rsync means for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodeClass {
    Success,
    /// The link or the other side failed: worth another attempt.
    Retry,
    /// Files vanished while they were read: worth one more attempt.
    RetryOnce,
    Failure,
}

/// The class of an exit code of rsync (or of ssh below it: 255).
pub fn classify(code: i32) -> CodeClass {
    match code {
        0 => CodeClass::Success,
        10 | 12 | 30 | 35 | 255 => CodeClass::Retry,
        24 => CodeClass::RetryOnce,
        _ => CodeClass::Failure,
    }
}

/// What an exit code of rsync means, for people.
pub fn explain(code: i32) -> &'static str {
    match code {
        1 => "wrong usage",
        2 => "the two versions of rsync do not understand each other",
        3 => "a file or folder could not be selected",
        4 => "the other side cannot do what was asked",
        5 => "the two sides could not start talking",
        10 => "the connection broke",
        11 => "reading or writing a file failed",
        12 => "the connection broke or rsync is missing on the host",
        13 => "a message could not be printed",
        20 => "a signal ended it",
        23 => "some files could not be transferred",
        24 => "some files vanished while they were read",
        25 => "more files than allowed would have been deleted",
        30 => "no data came for too long",
        35 => "no connection in time",
        126 | 127 => "rsync could not be started on the host",
        255 => "ssh failed",
        _ => "unknown code",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_filters_is_kept_and_operands_come_last() {
        let mut spec = SyncSpec::new("/src/a");
        spec.filters = vec![Filter::Include("/keep/***".into()), Filter::Exclude("*".into())];
        spec.delete = true;
        spec.options = vec!["--bwlimit=100".into()];
        let words = argv(&spec, true, Some("sh /x/rsh"), "me@h:/srv/stack/a").unwrap();
        let words: Vec<&str> = words.iter().map(|word| word.to_str().unwrap()).collect();
        let at = |word: &str| words.iter().position(|other| *other == word).unwrap_or_else(|| panic!("{word}"));
        assert!(at("--filter=+ /keep/***") < at("--filter=- *"));
        assert_eq!(words[at("--")..], ["--", "/src/a/", "me@h:/srv/stack/a/"]);
        assert!(at("--delete-delay") < at("--") && at("-s") < at("--") && at("-z") < at("--"));
        assert!(!argv(&spec, false, None, "/srv").unwrap().contains(&"-z".into()));
    }

    #[test]
    fn options_that_run_programs_are_refused() {
        for option in [
            "-e",
            "--rsh=x",
            "--rsync-path=x",
            "--inplace",
            "-essh",
            "--files-from=x",
            "--delete",
            "x",
            "",
            "--password-file=x",
        ] {
            assert!(check_option(option).is_err(), "{option:?}");
        }
        assert!(check_option("--chmod=F644").is_ok());
    }

    #[test]
    fn r3_codes_are_retried_or_not() {
        let class = |wanted| (0..=255).filter(|code| classify(*code) == wanted).collect::<Vec<_>>();
        assert_eq!(class(CodeClass::Success), [0]);
        assert_eq!(class(CodeClass::Retry), [10, 12, 30, 35, 255]);
        assert_eq!(class(CodeClass::RetryOnce), [24]);
        assert_eq!(class(CodeClass::Failure).len(), 249);
    }
}
