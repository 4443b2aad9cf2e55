//! Many folders to many hosts: what arrives, what is skipped, what is refused.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::model::StopToken;
use crate::remote::sshd::{Sshd, fill, programs};
use crate::remote::sync::{Limits, Place};
use crate::remote::{Filter, Job, JobReport, JobState, Patience, RemoteError, SyncSpec, sync_all};

fn run(jobs: &[Job]) -> Vec<JobReport> {
    sync_all(jobs, Limits::default(), Patience::default(), &programs(), &|_, _| {}, &StopToken::new())
}

fn job(source: &Path, place: &Place, path: &str) -> Job {
    let mut spec = SyncSpec::new(source);
    spec.delete = true;
    Job { spec, place: place.clone(), path: path.to_owned(), allow_collapse: false }
}

/// What rsync would have to do about names, modes, times and contents.
fn differences(one: &Path, other: &Path) -> String {
    let output =
        Command::new("rsync").args(["-anHci", "--delete", "--"]).arg(one.join("")).arg(other.join("")).output();
    String::from_utf8_lossy(&output.unwrap().stdout).into_owned()
}

/// Names, modes, times and contents are the same.
fn assert_same(one: &Path, other: &Path) {
    assert_eq!(differences(one, other), "", "{} and {} differ", one.display(), other.display());
}

#[test]
fn many_folders_reach_many_hosts_with_one_login_each() {
    let (server, dir) = (Sshd::start(""), tempfile::tempdir().unwrap());
    let sources: Vec<_> = (0..5).map(|number| dir.path().join(format!("source {number}"))).collect();
    for source in &sources {
        fill(source, 60);
    }
    let root = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let places = [
        Place { target: Some(server.target()), root: root("one") },
        Place { target: Some(server.target()), root: root("t'wo ü") },
        Place { target: None, root: root("here") },
    ];
    let jobs: Vec<Job> = places
        .iter()
        .flat_map(|place| {
            sources.iter().enumerate().map(|(number, source)| job(source, place, &format!("data/s {number}")))
        })
        .collect();
    let sent = AtomicU64::new(0);
    let watcher = |_: &Job, progress: crate::remote::Progress| {
        sent.fetch_max(progress.bytes, Ordering::SeqCst);
    };
    let reports = sync_all(&jobs, Limits::default(), Patience::default(), &programs(), &watcher, &StopToken::new());
    for (report, job) in reports.iter().zip(&jobs) {
        assert!(
            matches!(report.state, JobState::Copied { bytes: 400_000.., attempts: 1, only: None, .. }),
            "{report:?}"
        );
        assert_same(&job.spec.source, &Path::new(&job.place.root).join(&job.path));
    }
    assert!(sent.load(Ordering::SeqCst) >= 400_000);
    assert_eq!(server.logins(), 2);

    let again = run(&jobs);
    assert!(again.iter().all(|report| report.state == JobState::Same), "{again:?}");

    fs::write(sources[2].join("new"), "new").unwrap();
    fs::remove_file(Path::new(&places[0].root).join("data/s 4/d0/plain-0")).unwrap();
    let third = run(&jobs);
    let copied: Vec<usize> = (0..jobs.len()).filter(|at| third[*at].state != JobState::Same).collect();
    assert_eq!(copied, [2, 4, 7, 12], "a changed source and a tree that was changed on its host");
    for job in &jobs {
        assert_same(&job.spec.source, &Path::new(&job.place.root).join(&job.path));
    }
}

/// What a watch needs: of a large tree only the changed paths are looked at, and never if the copy was touched.
#[test]
fn changed_paths_travel_alone() {
    let (server, dir) = (Sshd::start(""), tempfile::tempdir().unwrap());
    let source = dir.path().join("source");
    fill(&source, 200);
    let place = Place { target: Some(server.target()), root: dir.path().join("copy").to_str().unwrap().to_owned() };
    let mut job = job(&source, &place, "tree");
    job.spec.memory = Some(dir.path().join("memory"));
    let copy = Path::new(&place.root).join("tree");
    let only = |what: &str| {
        let report = run(std::slice::from_ref(&job)).remove(0);
        // The time of the folder itself is nobody's content, and it is in no list.
        let differences = differences(&source, &copy);
        assert!(differences.is_empty() || differences == ".d..t...... ./\n", "{what}: {differences}");
        match report.state {
            JobState::Copied { only, .. } => only,
            other => panic!("{what}: {other:?}"),
        }
    };
    assert_eq!(only("the first time"), None);
    fs::write(source.join("d0/plain-0"), "changed").unwrap();
    assert_eq!(only("a file"), Some(1));
    fs::create_dir(source.join("new")).unwrap();
    fs::write(source.join("new/file"), "new").unwrap();
    fs::set_permissions(source.join("d0/plain-0"), fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(only("a folder, a file, a mode"), Some(3));
    // Same size and time, other content.
    let time = fs::metadata(source.join("new/file")).unwrap().modified().unwrap();
    fs::write(source.join("new/file"), "old").unwrap();
    fs::File::options().write(true).open(source.join("new/file")).unwrap().set_modified(time).unwrap();
    assert_eq!(only("a disguised file"), Some(1));
    assert_eq!(fs::read_to_string(copy.join("new/file")).unwrap(), "old");
    fs::write(copy.join("d0/plain-0"), "touched").unwrap();
    fs::write(source.join("d0/plain-0"), "again").unwrap();
    assert_eq!(only("the copy was touched"), None);
    fs::remove_file(source.join("new/file")).unwrap();
    assert_eq!(only("something is gone"), None);
    assert!(matches!(run(std::slice::from_ref(&job))[0].state, JobState::Same));
}

#[test]
fn what_is_gone_is_deleted_and_excluded_files_stay() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    fill(&source, 30);
    fs::write(source.join("secret.key"), "x").unwrap();
    fs::write(source.join("public.key"), "x").unwrap();
    let place = Place { target: None, root: dir.path().join("root/deep").to_str().unwrap().to_owned() };
    let mut job = job(&source, &place, "tree");
    job.spec.filters = vec![Filter::Include("public.key".into()), Filter::Exclude("*.key".into())];
    let tree = Path::new(&place.root).join("tree");
    run(&[job.clone()]);
    assert!(tree.join("public.key").exists() && !tree.join("secret.key").exists());
    fs::write(tree.join("theirs.key"), "kept, because it is excluded").unwrap();
    fs::write(tree.join("stray"), "goes").unwrap();
    fs::remove_file(source.join("d0/plain-0")).unwrap();
    run(&[job]);
    assert!(tree.join("theirs.key").exists() && !tree.join("stray").exists() && !tree.join("d0/plain-0").exists());
}

#[test]
fn content_replaced_behind_the_same_size_and_time_is_copied() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    fill(&source, 20);
    let place = Place { target: None, root: dir.path().join("root/deep").to_str().unwrap().to_owned() };
    let job = job(&source, &place, "tree");
    run(std::slice::from_ref(&job));
    let file = source.join("d0/plain-0");
    let time = fs::metadata(&file).unwrap().modified().unwrap();
    fs::write(&file, vec![b'!'; fs::metadata(&file).unwrap().len() as usize]).unwrap();
    fs::File::options().write(true).open(&file).unwrap().set_modified(time).unwrap();
    run(std::slice::from_ref(&job));
    assert_same(&source, &Path::new(&place.root).join("tree"));
}

#[test]
fn r7_an_empty_or_collapsed_source_deletes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    fill(&source, 40);
    let place = Place { target: None, root: dir.path().join("root/deep").to_str().unwrap().to_owned() };
    let tree = Path::new(&place.root).join("tree");
    let mut job = job(&source, &place, "tree");
    run(std::slice::from_ref(&job));
    for folder in ["d0", "d1", "d2", "d3"] {
        fs::remove_dir_all(source.join(folder)).unwrap();
    }
    let refused =
        |reports: &[JobReport]| matches!(&reports[0].state, JobState::Failed(RemoteError::SuspiciousSource { .. }));
    assert!(refused(&run(std::slice::from_ref(&job))));
    fs::remove_dir_all(&source).unwrap();
    assert!(matches!(run(std::slice::from_ref(&job))[0].state, JobState::Failed(RemoteError::Unreadable { .. })));
    fs::create_dir_all(source.join("only/folders")).unwrap();
    assert!(refused(&run(std::slice::from_ref(&job))));
    assert!(tree.join("d0/plain-0").exists());
    job.allow_collapse = true;
    assert!(matches!(run(&[job])[0].state, JobState::Copied { .. }));
    assert!(!tree.join("d0").exists());
}

#[test]
fn a_link_on_the_host_leads_nowhere() {
    let dir = tempfile::tempdir().unwrap();
    let (source, outside) = (dir.path().join("source"), dir.path().join("outside"));
    fill(&source, 5);
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("precious"), "x").unwrap();
    let root = dir.path().join("root/deep");
    fs::create_dir_all(&root).unwrap();
    std::os::unix::fs::symlink(&outside, root.join("link")).unwrap();
    let place = Place { target: None, root: root.to_str().unwrap().to_owned() };
    let reports =
        run(&[job(&source, &place, "link"), job(&source, &place, "link/below"), job(&source, &place, "good")]);
    for report in &reports[..2] {
        assert!(matches!(report.state, JobState::Failed(RemoteError::Dangerous { .. })), "{report:?}");
    }
    assert!(matches!(reports[2].state, JobState::Copied { .. }));
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
}

#[test]
fn unchanged_files_become_links_to_another_tree() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    fill(&source, 5);
    fs::set_permissions(source.join("d0/plain-0"), fs::Permissions::from_mode(0o755)).unwrap();
    let place = Place { target: None, root: dir.path().join("root/deep").to_str().unwrap().to_owned() };
    let tree = |name: &str| Path::new(&place.root).join(name);
    run(&[job(&source, &place, "first")]);
    let mut second = job(&source, &place, "second");
    second.spec.link_dest = Some(tree("first").to_str().unwrap().to_owned());
    run(&[second]);
    let inode = |name: &str| fs::metadata(tree(name).join("d0/plain-0")).unwrap().ino();
    assert_eq!(inode("first"), inode("second"));
    assert_same(&source, &tree("second"));
}

#[test]
fn a_single_file_is_copied_without_what_stands_beside_it() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("tasks.yaml");
    fs::write(&file, "version: 1\n").unwrap();
    fs::write(dir.path().join("other"), "x").unwrap();
    let place = Place { target: None, root: dir.path().join("root/deep").to_str().unwrap().to_owned() };
    let root = Path::new(&place.root);
    let jobs =
        [job(&file, &place, "tasks.yaml"), job(&file, &place, "ci/deep/tasks.yaml"), job(&file, &place, "taken")];
    fs::create_dir_all(root).unwrap();
    std::os::unix::fs::symlink(dir.path(), root.join("taken")).unwrap();
    let reports = run(&jobs);
    assert!(matches!(reports[2].state, JobState::Failed(RemoteError::Dangerous { .. })), "{reports:?}");
    for path in ["tasks.yaml", "ci/deep/tasks.yaml"] {
        assert_eq!(fs::read_to_string(root.join(path)).unwrap(), "version: 1\n");
    }
    assert!(run(&jobs[..2]).iter().all(|report| report.state == JobState::Same));
    fs::write(&file, "version: 2\n").unwrap();
    assert!(run(&jobs[..2]).iter().all(|report| matches!(report.state, JobState::Copied { .. })));
    assert_eq!(fs::read_to_string(root.join("ci/deep/tasks.yaml")).unwrap(), "version: 2\n");
    let mut names: Vec<_> = fs::read_dir(root).unwrap().flatten().map(|entry| entry.file_name()).collect();
    names.sort();
    assert_eq!(names, [".xtask-sync", "ci", "taken", "tasks.yaml"]);
}
