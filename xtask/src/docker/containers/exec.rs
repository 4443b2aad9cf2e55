//! Commands in a running container. Knows nothing of how the container came to be.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bollard::exec::StartExecResults;
use bollard::models::ExecConfig;
use tokio::sync::mpsc;

use super::run::{Output, Piece, feed, pass_on};
use super::subject;
use crate::docker::error::from_bollard;
use crate::docker::{Docker, DockerError, runtime};
use crate::model::StopToken;

/// One command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExecSpec {
    pub command: Vec<String>,
    pub env: BTreeMap<String, String>,
    pub user: Option<String>,
    pub workdir: Option<String>,
    /// What it reads; then its input ends.
    pub stdin: Option<Vec<u8>>,
    /// After it, it is ended as by a stop, and the answer is `Timeout`.
    pub timeout: Option<Duration>,
}

/// The variable by which the processes of one command are known.
pub const MARK: &str = "XTASK_EXEC";

impl Docker {
    /// Runs a command in a running container; its exit code. The engine cannot end a command: when `stop` is raised
    /// or the time is over, all processes that have the command's mark in their environment are killed by a second
    /// command, for which the image needs `sh` and `grep`.
    pub fn exec(
        &self,
        container: &str,
        spec: &ExecSpec,
        output: Output<'_>,
        stop: &StopToken,
    ) -> Result<i64, DockerError> {
        let mark = fresh_mark();
        let ended = self.execute(container, config(spec, Some(&mark)), spec, output, stop);
        if matches!(ended, Err(DockerError::Cancelled | DockerError::Timeout { .. })) {
            self.end(container, &mark);
        }
        ended
    }

    fn execute(
        &self,
        container: &str,
        config: ExecConfig,
        spec: &ExecSpec,
        output: Output<'_>,
        stop: &StopToken,
    ) -> Result<i64, DockerError> {
        let (api, container, stdin, limit) = (self.api.clone(), container.to_owned(), spec.stdin.clone(), spec.timeout);
        let command = spec.command.join(" ");
        let work = move |pieces: mpsc::Sender<Piece>| async move {
            let life = life(&api, &container, config, stdin, pieces);
            match limit {
                None => life.await,
                Some(limit) => match tokio::time::timeout(limit, life).await {
                    Ok(code) => code,
                    Err(_) => Err(DockerError::Timeout { what: format!("`{command}`"), limit }),
                },
            }
        };
        runtime::drive(work, &mut |(stream, bytes): Piece| output(stream, &bytes), stop)
    }

    /// Kills what bears the mark. An image without a shell keeps what it runs; the container's end is its end.
    fn end(&self, container: &str, mark: &str) {
        let script = format!(
            "for p in /proc/[0-9]*; do grep -q {MARK}={mark} $p/environ 2>/dev/null && kill -KILL ${{p#/proc/}}; done; true"
        );
        let killer = ExecSpec {
            command: vec!["sh".to_owned(), "-c".to_owned(), script],
            user: Some("0".to_owned()),
            timeout: Some(Duration::from_secs(10)),
            ..Default::default()
        };
        let _ = self.execute(container, config(&killer, None), &killer, &mut |_, _| {}, &StopToken::new());
    }
}

fn fresh_mark() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    format!("{:x}-{:x}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

fn config(spec: &ExecSpec, mark: Option<&str>) -> ExecConfig {
    let mut env: Vec<String> = spec.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
    env.extend(mark.map(|mark| format!("{MARK}={mark}")));
    ExecConfig {
        attach_stdin: Some(spec.stdin.is_some()),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        env: Some(env),
        cmd: Some(spec.command.clone()),
        user: spec.user.clone(),
        working_dir: spec.workdir.clone(),
        ..Default::default()
    }
}

async fn life(
    api: &bollard::Docker,
    container: &str,
    config: ExecConfig,
    stdin: Option<Vec<u8>>,
    pieces: mpsc::Sender<Piece>,
) -> Result<i64, DockerError> {
    let what = subject(container);
    let failed = |error| from_bollard(&what, error);
    let exec = api.create_exec(container, config).await.map_err(failed)?.id;
    if let StartExecResults::Attached { mut output, input } = api.start_exec(&exec, None).await.map_err(failed)? {
        let feed = runtime::spawn(feed(input, stdin));
        pass_on(&what, &mut output, &pieces).await?;
        drop(feed);
    }
    // The output may end a moment before the engine has noted the end.
    for _ in 0..50 {
        let state = api.inspect_exec(&exec).await.map_err(failed)?;
        match state.exit_code {
            Some(code) if state.running != Some(true) => return Ok(code),
            _ => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
    Err(DockerError::Infra { what, message: "the end of a command was not told".to_owned() })
}
