//! The family of Python environments of this repository, on an engine that has the official image of one version: made
//! here of Debian's packages, because what is official comes from a registry. That version is built and used for real;
//! the others are read, told apart and asked for their base.

use std::path::Path;
use std::process::Command;

use super::lab::{Lab, Said};
use crate::support::spare::Spare;

const FAMILY: &str = "python_base_environment";
const VERSIONS: [&str; 5] = ["3.9", "3.10", "3.11", "3.12", "3.13"];

/// Debian's Python with what it needs and with a shell; prints its version.
const ROOT: &str = r#"
set -eu
export LC_ALL=C
mkdir debs root
only='--no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces --no-enhances'
apt-cache depends --recurse $only python3 coreutils dash | grep '^[a-z0-9]' | sort -u >list
(cd debs && xargs apt-get --quiet=2 -o APT::Sandbox::User=root download <../list)
for dir in bin sbin lib lib64; do mkdir -p root/usr/$dir && ln -s usr/$dir root/$dir; done
for deb in debs/*.deb; do dpkg-deb --extract "$deb" root; done
# A small root: this engine copies all of it for every layer and container.
rm -rf root/usr/share root/usr/lib/*/gconv root/usr/lib/*/perl* root/usr/lib/python3*/*/__pycache__
ln -sf dash root/usr/bin/sh
ln -sf python3 root/usr/bin/python
mkdir -p root/tmp root/etc && chmod 1777 root/tmp
printf 'root:x:0:0:root:/root:/bin/sh\n' >root/etc/passwd
readlink root/usr/bin/python3 | sed 's/^python//'
"#;

/// Makes the image as the official one is called; its version.
fn official(spare: &Spare) -> String {
    let dir = tempfile::tempdir().expect("a folder");
    let made = Command::new("sh").args(["-c", ROOT]).current_dir(dir.path()).output().expect("a shell");
    assert!(made.status.success(), "needs apt: {}", String::from_utf8_lossy(&made.stderr));
    let version = String::from_utf8_lossy(&made.stdout).trim().to_owned();
    let import = format!(
        "tar -C root -c . | docker -H '{}' import --change 'CMD [\"python3\"]' - python:{version}-slim",
        spare.url()
    );
    let imported = Command::new("sh").args(["-c", &import]).current_dir(dir.path()).output().expect("a shell");
    assert!(imported.status.success(), "{}", String::from_utf8_lossy(&imported.stderr));
    version
}

/// A repository with the environments as they are in this one.
fn lab(spare: &Spare) -> Lab {
    let mut lab = Lab::new("python");
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("../environments").join(FAMILY);
    std::fs::remove_dir_all(lab.path("environments")).expect("removed");
    for entry in std::fs::read_dir(here).expect("the environment").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        lab.write(&format!("environments/{FAMILY}/{name}"), std::fs::read(entry.path()).expect("a file"));
    }
    lab.env.insert("DOCKER_HOST".to_owned(), spare.url());
    lab
}

fn run(lab: &Lab, version: &str, words: &[&str]) -> Said {
    lab.say(&[&["env", "run", &format!("{FAMILY}-{version}")], words].concat())
}

#[test]
fn r28_the_python_environments_of_this_repository_are_built_on_their_own_base() {
    let spare = Spare::start();
    let version = official(&spare);
    assert!(VERSIONS.contains(&&*version), "Debian's Python here is {version}, which is none of the family");
    let lab = lab(&spare);
    lab.write(
        "analysis.py",
        "import json, os, sys\njson.dump({'sum': sum(map(int, sys.argv[1:]))}, open('/data/out.json', 'w'))\n\
         open(os.environ['RUN_RESULT_DIR'] + '/note.txt', 'w').write('kept')\n\
         print('%d.%d' % sys.version_info[:2], os.getcwd(), os.environ['PYTHONUNBUFFERED'], os.access('.', os.W_OK))\n",
    );
    std::fs::create_dir(lab.path("data")).expect("a folder");
    let said = run(&lab, &version, &["analysis.py", "--mount", "data:/data", "--", "20", "22"]).fine();
    assert_eq!(said.text(), format!("{version} /work 1 True\n"), "{}", said.err);
    assert_eq!(std::fs::read_to_string(lab.path("data/out.json")).expect("written"), "{\"sum\": 42}");
    assert!(said.err.contains("note: results are in "), "{}", said.err);
    // The same of a caller whom the image does not know, and an error as Python tells it.
    let other = run(&lab, &version, &["--user", "4242", "-c", "import os; open('f', 'w'); print(os.getuid()); 1 / 0"]);
    assert_eq!((other.code, other.text().as_str()), (1, "4242\n"), "{}", other.err);
    assert!(
        other.err.contains("/script/command\", line 1") && other.err.contains("ZeroDivisionError"),
        "{}",
        other.err
    );
    let again = lab.say(&["run", "--reporter", "json", &format!("build-env:{FAMILY}-{version}")]).fine();
    assert!(again.text().contains("\"outcome\":\"up-to-date\""), "{}", again.text());

    let listed = lab.say(&["env", "list", "--json"]).fine();
    let listed: Vec<serde_json::Value> = serde_json::from_slice(&listed.out).expect("JSON");
    let mut names: Vec<&str> = listed.iter().filter_map(|one| one["name"].as_str()).collect();
    names.sort_unstable();
    let mut wanted: Vec<String> = VERSIONS.iter().map(|version| format!("{FAMILY}-{version}")).collect();
    wanted.sort_unstable();
    assert_eq!(names, wanted);
    for other in VERSIONS.iter().filter(|other| **other != version) {
        let said = run(&lab, other, &["-c", "print(1)"]);
        let base = format!("base `python:{other}-slim` is not in the engine");
        assert!(said.code == 125 && said.err.contains(&base), "{other}: {} {}", said.code, said.err);
    }
}
