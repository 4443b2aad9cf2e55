//! Files of a run: owners, mounts, uploads, downloads, results, shared memory, what a preset forbids.

use std::os::unix::fs::{MetadataExt, PermissionsExt};

use super::lab::{Lab, containers_of};

#[test]
fn files_belong_to_the_caller_and_nothing_of_the_host_changes_hands() {
    let lab = Lab::new("owners");
    lab.write("data/input.txt", "input\n");
    let data = lab.path("data");
    std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o777)).expect("a mode");
    let text = "cat /data/input.txt; echo made > /data/made.txt; id -u; id -g; id -un; echo ok > \"$HOME/f\"; cat ~/f";
    let said = lab.run(&["--user", "12345:23456", "--mount", "data:/data", "-c", text]).fine();
    assert_eq!(said.text(), "input\n12345\n23456\ncaller\nok\n");
    let made = std::fs::metadata(data.join("made.txt")).expect("a file");
    assert_eq!((made.uid(), made.gid()), (12345, 23456));
    let me = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    for path in ["data", "data/input.txt"] {
        let meta = std::fs::metadata(lab.path(path)).expect("metadata");
        assert_eq!((meta.uid(), meta.gid()), me, "{path}");
    }
    let own = lab.run(&["--mount", "data:/data:ro", "-c", "id -u; echo no > /data/no 2>/dev/null || echo read-only"]);
    assert_eq!(own.fine().text(), format!("{}\nread-only\n", me.0));
}

#[test]
fn uploads_go_in_and_downloads_and_results_come_out() {
    let lab = Lab::new("transfer");
    lab.write("in/a/bytes", [0_u8, 255, 10]);
    lab.write("one file.txt", "one\n");
    let text = "set -e; cat \"$UPLOAD_0\"; wc -c < \"$UPLOAD_1/a/bytes\"; mkdir -p /tmp/out/deep; echo x > /tmp/out/deep/f; \
        echo table > \"$RUN_RESULT_DIR/table.csv\"; echo \"$RUN_ID\"";
    let said = lab
        .run(&[
            "--upload",
            "one file.txt",
            "--upload",
            "in",
            "--download",
            "/tmp/out:got",
            "--download",
            "table.csv:deep/table.csv",
            "-c",
            text,
        ])
        .fine();
    let lines: Vec<String> = said.text().lines().map(str::to_owned).collect();
    assert_eq!((lines[0].as_str(), lines[1].trim()), ("one", "3"));
    assert_eq!(std::fs::read_to_string(lab.path("got/deep/f")).expect("a download"), "x\n");
    assert_eq!(std::fs::read_to_string(lab.path("deep/table.csv")).expect("a download"), "table\n");
    let id = &lines[2];
    let (stamp, random) = id.split_once('-').expect("an id");
    assert!(stamp.len() == 14 && random.len() == 6 && stamp.bytes().all(|b| b.is_ascii_digit()), "{id}");
    let run = lab.path(".xtask/runs").join(id);
    assert_eq!(std::fs::read_to_string(run.join("result/table.csv")).expect("a result"), "table\n");
    let record: serde_json::Value =
        serde_json::from_slice(&std::fs::read(run.join("result.json")).expect("a record")).expect("JSON");
    assert_eq!((record["outcome"].as_str(), record["version"].as_str()), (Some("success"), Some("0.1.0")));
    let missing = lab.run(&["--download", "/nothing:x", "-c", "true"]);
    assert!(missing.code == 125 && missing.err.contains("is not there after the run"), "{}", missing.err);
}

#[test]
fn s11_a_result_that_points_outside_is_refused() {
    let lab = Lab::new("outside");
    let said = lab.run(&["-c", "ln -s ../../../../tasks.yaml \"$RUN_RESULT_DIR/link\""]);
    assert_eq!(said.code, 125);
    assert!(said.err.contains("is a link to a place outside"), "{}", said.err);
}

#[test]
fn a_strict_run_can_write_only_where_it_may() {
    let lab = Lab::new("strict");
    let text = "echo x > /note.txt 2>/dev/null || echo read-only; echo x > \"$HOME/x\" && echo home; \
        echo x > /tmp/x && echo tmp; grep -c . /proc/net/dev; echo r > \"$RUN_RESULT_DIR/r\"; id -un";
    let said = lab.run(&["--security", "strict", "--user", "4321:4321", "-c", text]).fine();
    // Two lines of head and the loopback.
    assert_eq!(said.text(), "read-only\nhome\ntmp\n3\ncaller\n");
    let caps = lab.run(&["-c", "grep -E 'CapBnd|NoNewPrivs' /proc/self/status | tr -d '\\t'"]).fine();
    // IPC_LOCK is 14, SYS_NICE is 23.
    assert_eq!(caps.text(), "CapBnd:0000000000804000\nNoNewPrivs:1\n");
    let open = lab.run(&["--security", "permissive", "-c", "grep NoNewPrivs /proc/self/status | tr -d '\\t'"]).fine();
    assert_eq!(open.text(), "NoNewPrivs:0\n");
    assert_eq!(containers_of(&lab.name()).len(), 1, "one replaced the other");
}

#[test]
fn shared_memory_has_the_size_that_is_asked_for() {
    let lab = Lab::new("shm");
    let size = "df -m /dev/shm | tail -n 1 | tr -s ' ' | cut -d ' ' -f 2";
    assert_eq!(lab.run(&["--shm-size", "96m", "-c", size]).fine().text(), "96\n");
    let auto = lab.run(&["--shm-size=auto", "--memory", "256m", "-c", size]).fine();
    assert_eq!(auto.text(), "128\n");
}
