//! What a reporter needs to know of its surroundings, and which one `auto` means. Reads no environment itself.

use std::io::Write;
use std::sync::Arc;

use crate::model::Hashing;

/// `--reporter`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// `fancy` on a terminal, `github` in its CI, else `plain`.
    #[default]
    Auto,
    /// Live lines at the bottom of a terminal.
    Fancy,
    /// One line per event.
    Plain,
    /// One JSON object per line on stdout.
    Json,
    /// One JUnit XML document on stdout when the run ends.
    Junit,
    /// Groups, annotations and a job summary.
    Github,
    /// As doit's `console`: marks and names on stdout.
    Console,
    /// As `console`, without what was up to date or ignored.
    ExecutedOnly,
    /// As doit's `zero`: only errors from before the run.
    Zero,
    /// Only failures.
    ErrorOnly,
}

impl Kind {
    /// Every name that `--reporter` takes.
    pub const NAMES: [(&'static str, Self); 10] = [
        ("auto", Self::Auto),
        ("fancy", Self::Fancy),
        ("plain", Self::Plain),
        ("json", Self::Json),
        ("junit", Self::Junit),
        ("github", Self::Github),
        ("console", Self::Console),
        ("executed-only", Self::ExecutedOnly),
        ("zero", Self::Zero),
        ("error-only", Self::ErrorOnly),
    ];

    /// The kind with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, kind)| *kind)
    }

    /// What `Auto` means here; every other kind stays.
    pub fn resolve(self, is_tty: bool, ci: Ci) -> Self {
        match self {
            Self::Auto if ci.github => Self::Github,
            Self::Auto if is_tty && !ci.any && !ci.dumb => Self::Fancy,
            Self::Auto => Self::Plain,
            other => other,
        }
    }
}

/// What the environment says about who reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ci {
    /// `CI` is set and not `false`.
    pub any: bool,
    /// `GITHUB_ACTIONS=true`.
    pub github: bool,
    /// `TERM` is `dumb` or absent: no cursor movement.
    pub dumb: bool,
}

impl Ci {
    /// Looks the variables up.
    pub fn from_env(env: &dyn Fn(&str) -> Option<String>) -> Self {
        let set = |name: &str| env(name).filter(|value| !value.is_empty() && value != "false" && value != "0");
        Self {
            any: set("CI").is_some(),
            github: env("GITHUB_ACTIONS").as_deref() == Some("true"),
            dumb: env("TERM").is_none_or(|term| term == "dumb" || term.is_empty()),
        }
    }
}

/// How the output of tasks that may be shown is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OutputMode {
    /// A task's lines together, when it finishes (at once where only one task can run).
    #[default]
    Grouped,
    /// At once, each line behind the name of its task.
    Prefixed,
    /// At once, as they are: stdout of tasks to stdout, stderr to stderr.
    Raw,
}

/// Gives the text of a file by its path relative to the root.
pub type SourceFn = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// Gives rows and columns of the terminal as they are now.
pub type SizeFn = Arc<dyn Fn() -> (u16, u16) + Send + Sync>;

/// Gives what is hashed at this moment; `None` where that is little.
pub type HashingFn = Arc<dyn Fn() -> Option<Hashing> + Send + Sync>;

/// Everything a reporter needs. Start from [`Options::new`].
pub struct Options {
    /// Data: what was asked for.
    pub out: Box<dyn Write + Send>,
    /// Text for people.
    pub err: Box<dyn Write + Send>,
    /// Whether `err` is a terminal.
    pub is_tty: bool,
    /// Decided by [`super::paint::wants_color`].
    pub color: bool,
    /// 0, or the number of `-v`: 1 shows every reason and every up-to-date task.
    pub verbose: u8,
    /// `-q`: failures and the summary.
    pub quiet: bool,
    pub output: OutputMode,
    pub ci: Ci,
    pub size: SizeFn,
    /// Shown as a row of its own.
    pub hashing: HashingFn,
    /// For snippets in diagnostics.
    pub source: Option<SourceFn>,
    /// The file that `GITHUB_STEP_SUMMARY` names, opened for appending.
    pub job_summary: Option<Box<dyn Write + Send>>,
}

impl Options {
    /// Plain surroundings: no terminal, no colour, grouped output; the size of the terminal at stderr, if there is one.
    pub fn new(out: Box<dyn Write + Send>, err: Box<dyn Write + Send>) -> Self {
        Self {
            out,
            err,
            is_tty: false,
            color: false,
            verbose: 0,
            quiet: false,
            output: OutputMode::Grouped,
            ci: Ci::default(),
            size: Arc::new(|| console::Term::stderr().size()),
            hashing: Arc::new(|| None),
            source: None,
            job_summary: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_looks_at_ci_before_the_terminal() {
        let env = |rows: &'static [(&'static str, &'static str)]| {
            Ci::from_env(&move |name| rows.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
        };
        let terminal = env(&[("TERM", "xterm")]);
        assert_eq!(Kind::Auto.resolve(true, terminal), Kind::Fancy);
        assert_eq!(Kind::Auto.resolve(false, terminal), Kind::Plain);
        assert_eq!(Kind::Auto.resolve(true, env(&[("TERM", "dumb")])), Kind::Plain);
        assert_eq!(Kind::Auto.resolve(true, env(&[("TERM", "xterm"), ("CI", "1")])), Kind::Plain);
        assert_eq!(Kind::Auto.resolve(true, env(&[("TERM", "xterm"), ("CI", "false")])), Kind::Fancy);
        assert_eq!(Kind::Auto.resolve(false, env(&[("CI", "true"), ("GITHUB_ACTIONS", "true")])), Kind::Github);
        assert_eq!(Kind::Json.resolve(true, terminal), Kind::Json);
        assert_eq!(Kind::from_name("executed-only"), Some(Kind::ExecutedOnly));
        assert_eq!(Kind::from_name("nyan"), None);
    }
}
