//! The action `rsync`: copies folders and files of the repository to hosts, side by side.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use serde_json::Value;

use super::{ActionType, Arguments, Call, Done, Failure};
use crate::graph::Links;
use crate::model::task::{Compress, Host};
use crate::model::{Diagnostic, RepoPath, Stream, words};
use crate::remote::hosts::{HostEntry, Surroundings, known};
use crate::remote::sync::{Limits, Place};
use crate::remote::{Filter, Job, JobState, Patience, SyncSpec, sync_all};

/// `hosts:` of tasks.yaml, filled in once it was read.
pub(crate) type Hosts = Arc<OnceLock<BTreeMap<Arc<str>, Host>>>;

/// `rsync: {host, from: [path, …], to: folder, delete: bool, exclude: [pattern, …]}`.
pub(super) struct Rsync(pub(super) Hosts);

impl ActionType for Rsync {
    fn name(&self) -> &'static str {
        "rsync"
    }

    fn arguments(&self) -> Arguments {
        Arguments {
            required: &["host", "from"],
            optional: &["to", "delete", "exclude", "include", "compress", "checksum"],
            short: None,
        }
    }

    fn links(&self, args: &Value) -> Result<Links, Diagnostic> {
        let inputs = texts(&args["from"]).iter().filter_map(RepoPath::from_root).collect();
        Ok(Links { inputs, ..Links::default() })
    }

    fn run(&self, call: &Call<'_>) -> Result<Done, Failure> {
        let jobs = self.jobs(call)?;
        let show = |job: &Job, progress: crate::remote::Progress| {
            let rate = crate::remote::progress::size(progress.rate);
            call.out.progress(progress.bytes, 0, &format!("copying {} at {rate}/s", job.path));
        };
        let reports = sync_all(&jobs, Limits::default(), Patience::default(), &call.env.to_vec(), &show, call.stop);
        let mut failed = None;
        for report in reports {
            let line = match report.state {
                JobState::Same => format!("{} on {}: nothing changed", report.path, report.host),
                JobState::Copied { bytes, attempts, only, compressed } => {
                    let again = if attempts > 1 { format!(" in {attempts} attempts") } else { String::new() };
                    let only =
                        only.map_or(String::new(), |count| format!(" of {}", words::count(count, "changed path")));
                    let packed = if compressed { " compressed" } else { "" };
                    format!("{} to {}: {bytes} bytes{only}{packed}{again}", report.path, report.host)
                }
                JobState::Failed(error) => {
                    let diagnostic = error.diagnostic();
                    let line = diagnostic.message.clone();
                    failed = Some(diagnostic);
                    line
                }
            };
            call.out.line(Stream::Stdout, line.as_bytes());
        }
        match failed {
            None => Ok(Done::default()),
            Some(_) if call.stop.is_requested() => Err(Failure::interrupted(call.task)),
            Some(diagnostic) => Err(Failure::failed(diagnostic)),
        }
    }
}

impl Rsync {
    fn jobs(&self, call: &Call<'_>) -> Result<Vec<Job>, Failure> {
        let none = BTreeMap::new();
        let lookup = |name: &str| call.env.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
        let home = lookup("HOME").map(PathBuf::from);
        let around = Surroundings { env: &lookup, home: home.as_deref() };
        let entries = known(self.0.get().unwrap_or(&none), around).map_err(|problems| {
            Failure::error(problems.0.into_iter().next().unwrap_or_else(|| Diagnostic::error("hosts cannot be read")))
        })?;
        let mut jobs = Vec::new();
        for name in texts(&call.args["host"]) {
            let host = entries.iter().find(|entry| *entry.name == *name).ok_or_else(|| unknown(&name, &entries))?;
            let Some(root) = &host.root else {
                return Err(Failure::error(
                    Diagnostic::error(format!("host `{name}` has no `root`"))
                        .help("say where copies are kept on it: root: /srv/stack"),
                ));
            };
            let place = Place { target: host.target.clone(), root: root.to_string() };
            for from in texts(&call.args["from"]) {
                jobs.push(job(call, &place, &from, host.compress)?);
            }
        }
        Ok(jobs)
    }
}

fn unknown(name: &str, entries: &[HostEntry]) -> Failure {
    let names: Vec<&str> = entries.iter().map(|entry| &*entry.name).collect();
    Failure::error(
        Diagnostic::error(format!("host `{name}` is unknown"))
            .maybe_help(crate::model::words::suggest("host", name, &names)),
    )
}

/// One folder or file, to the same path below the root of the host (and below `to`).
fn job(call: &Call<'_>, place: &Place, from: &str, compress: Compress) -> Result<Job, Failure> {
    let path = RepoPath::from_root(from).filter(|path| !path.as_bytes().is_empty()).ok_or_else(|| {
        Failure::error(Diagnostic::error(format!("`{from}` of task `{}` is not below the root", call.task)))
    })?;
    let mut spec = SyncSpec::new(call.root.join(path.as_path()));
    spec.delete = call.args["delete"].as_bool().unwrap_or(true);
    spec.filters.extend(texts(&call.args["include"]).into_iter().map(Filter::Include));
    spec.filters.extend(texts(&call.args["exclude"]).into_iter().map(Filter::Exclude));
    spec.compress = call.args["compress"].as_bool().map_or(compress, Compress::from);
    spec.checksum = call.args["checksum"].as_bool().unwrap_or(false);
    spec.memory = Some(call.root.join(crate::store::STATE_DIR).join("sync"));
    let to = call.args["to"].as_str().unwrap_or_default().trim_matches('/');
    let path = if to.is_empty() { path.lossy() } else { format!("{to}/{}", path.lossy()) };
    Ok(Job { spec, place: place.clone(), path, allow_collapse: false })
}

/// One text or a list of them.
fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::String(one) => vec![one.clone()],
        Value::Array(many) => many.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}
