//! Removes images of environments that were not used for the longest time, if nobody uses them. Knows nothing of how
//! they are made.

use super::records::{Record, Records, Status};
use crate::docker::{Docker, DockerError};
use crate::model::{Diagnostic, ImageRef};

/// What happened to one record.
#[derive(Clone, Debug, PartialEq)]
pub enum Gone {
    /// The image was removed.
    Removed(Record),
    /// The engine had no such image any more.
    Forgotten(Record),
    /// A container uses it.
    Kept(Record),
}

/// Keeps the `limit` images of an engine that were used last, and those that are in use.
pub fn evict(docker: &Docker, records: &Records, scope: &str, limit: usize) -> Result<Vec<Gone>, Diagnostic> {
    let all = records.list(Some(scope))?;
    let mut gone = Vec::new();
    for record in all.iter().filter(|record| is_dead(record)) {
        records.forget(record)?;
        gone.push(Gone::Forgotten(record.clone()));
    }
    let available: Vec<Record> = all.into_iter().filter(|record| record.status == Status::Available).collect();
    if available.len() <= limit {
        return Ok(gone);
    }
    let in_use: Vec<String> =
        docker.containers_with_labels(&[]).map_err(Diagnostic::from)?.into_iter().map(|one| one.image).collect();
    for record in available.into_iter().skip(limit) {
        gone.push(one(docker, records, record, &in_use)?);
    }
    Ok(gone)
}

/// Its process died while it was built, or the build failed long ago.
fn is_dead(record: &Record) -> bool {
    match record.status {
        Status::Building { pid } => !is_alive(pid),
        _ => false,
    }
}

/// Whether a process is there.
pub fn is_alive(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
    pid.is_some_and(|pid| rustix::process::test_kill_process(pid) != Err(rustix::io::Errno::SRCH))
}

fn one(docker: &Docker, records: &Records, record: Record, in_use: &[String]) -> Result<Gone, Diagnostic> {
    let id = record.image_id.clone().unwrap_or_default();
    let Some(image) = docker.find_image(&id).map_err(Diagnostic::from)? else {
        records.forget(&record)?;
        return Ok(Gone::Forgotten(record));
    };
    if in_use.contains(&image.id) {
        return Ok(Gone::Kept(record));
    }
    // Names that others gave it stay, and with them the image.
    let own = format!("{}:", record.name);
    for name in image.tags.iter().filter(|name| name.starts_with(&own)).filter_map(|name| ImageRef::parse(name)) {
        match docker.untag(&name) {
            Ok(()) | Err(DockerError::NotFound { .. }) => {}
            // A container was made of it this moment.
            Err(DockerError::Conflict { .. }) => return Ok(Gone::Kept(record)),
            Err(error) => return Err(error.into()),
        }
    }
    records.forget(&record)?;
    Ok(Gone::Removed(record))
}
