//! What a sync costs beside plain rsync, measured in one run. Run with `--ignored --nocapture`.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use crate::model::StopToken;
use crate::remote::sshd::{Sshd, programs};
use crate::remote::sync::{Limits, Place};
use crate::remote::{Job, JobState, Patience, SyncSpec, sync_all};

const FOLDERS: usize = 8;
const FILES: usize = 20_000;
const HOSTS: usize = 4;

fn seconds(what: impl FnOnce()) -> f64 {
    let start = Instant::now();
    what();
    start.elapsed().as_secs_f64()
}

/// One rsync after the other, each with a connection of its own.
fn plain(server: &Sshd, source: &Path, root: &Path) {
    let target = server.target();
    let shell = format!(
        "ssh -F {} -i {} -p {}",
        server.path("client").display(),
        target.identity.unwrap().display(),
        server.port
    );
    for host in 0..HOSTS {
        for folder in 0..FOLDERS {
            let to = root.join(format!("plain{host}/f{folder}"));
            fs::create_dir_all(&to).unwrap();
            let status = Command::new("rsync")
                .args(["-aH", "--delete", "-e", &shell, "--"])
                .arg(source.join(format!("f{folder}/")))
                .arg(format!("127.0.0.1:{}/", to.display()))
                .status();
            assert!(status.unwrap().success());
        }
    }
}

#[test]
#[ignore = "a measurement, not a check"]
fn cost_of_a_sync() {
    let (server, dir) = (Sshd::start("MaxStartups 100"), tempfile::tempdir().unwrap());
    let source = dir.path().join("source");
    for file in 0..FILES {
        let folder = source.join(format!("f{}/d{}", file % FOLDERS, file % 50));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(format!("{file}")), format!("content {file}").repeat(20)).unwrap();
    }
    let place = |host: usize| Place {
        target: Some(server.target()),
        root: dir.path().join(format!("hosts/h{host}")).to_str().unwrap().to_owned(),
    };
    let job = |host: usize, folder: usize| {
        let mut spec = SyncSpec::new(source.join(format!("f{folder}")));
        spec.delete = true;
        Job { spec, place: place(host), path: format!("f{folder}"), allow_collapse: false }
    };
    let jobs: Vec<Job> =
        (0..HOSTS).flat_map(|host| (0..FOLDERS).map(move |folder| (host, folder))).map(|(h, f)| job(h, f)).collect();
    let ours = || {
        let none = |_: &Job, _| {};
        let reports = sync_all(&jobs, Limits::default(), Patience::default(), &programs(), &none, &StopToken::new());
        assert!(!reports.iter().any(|report| matches!(report.state, JobState::Failed(_))), "{reports:?}");
    };
    let theirs = || plain(&server, &source, dir.path());
    for what in ["first", "nothing changed", "one file changed"] {
        if what.starts_with("one") {
            fs::write(source.join("f3/d3/3"), "other").unwrap();
        }
        let (own, other) = (seconds(ours), seconds(theirs));
        #[expect(clippy::print_stderr, reason = "the measurement is for the person who asked for it")]
        {
            eprintln!("{what}: {own:.2} s, plain rsync {other:.2} s, ratio {:.2}", own / other);
        }
    }
}
