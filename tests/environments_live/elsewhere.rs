//! Runs on an engine of another machine, which only ssh reaches.

use super::lab::Lab;
use crate::support::spare::Spare;
use crate::support::sshd::Sshd;

#[test]
fn a_script_and_its_files_arrive_on_another_machine_and_come_back() {
    let (sshd, engine) = (Sshd::start(""), Spare::start());
    let mut lab = Lab::new("elsewhere");
    let address = format!("docker: \"ssh://127.0.0.1:{}{}\"", sshd.port, engine.socket().display());
    lab.write("tasks.yaml", format!("{}hosts:\n  far: {}\n", super::lab::TASKS, sshd.host(&address)));
    lab.env.insert("PATH".into(), sshd.search_path());
    // Every byte that a file may have, and what shells and encodings trip over.
    let mut script =
        b"printf '%s' '\\' \"$(printf '\\047')\" '$(no) `no` \xff\xfe\r' ; cat \"$UPLOAD_0\" > /tmp/back; exit 2\n"
            .to_vec();
    script.extend(b"after the end: \x01\x02\x7f '\" \\\n");
    lab.write("script.sh", &script);
    let bytes: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    lab.write("bytes", &bytes);
    let said = lab.run(&["--host", "far", "--upload", "bytes", "--download", "/tmp/back:back", "script.sh"]);
    assert_eq!(said.code, 2, "{}", said.err);
    assert_eq!(said.out, b"\\'$(no) `no` \xff\xfe\r", "{}", said.err);
    assert_eq!(std::fs::read(lab.path("back")).expect("a download"), bytes);
    assert_eq!(engine.says(&["ps", "--quiet"]).lines().count(), 1, "the container is kept there");
    // The second run is served by it.
    lab.run(&["--host", "far", "-c", "true"]).fine();
    assert_eq!(engine.says(&["ps", "--quiet"]).lines().count(), 1);
    let listed = lab.say(&["env", "ps", "--host", "far", "--json"]).fine();
    assert!(listed.text().contains(&lab.name()), "{}", listed.text());
    assert!(!lab.say(&["env", "ps", "--json"]).fine().text().contains(&lab.name()), "and not here");
    lab.say(&["env", "gc", "--host", "far"]).fine();
    assert_eq!(engine.says(&["ps", "--all", "--quiet"]), "", "nothing stays there");
}
