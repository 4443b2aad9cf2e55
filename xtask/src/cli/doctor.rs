//! `doctor`: what this machine has and lacks, with a fix for each; and the setting up that `--yes` asks for.
//!
//! Knows Debian's packages; elsewhere it names what is missing and changes nothing.

use std::path::{Path, PathBuf};

use xshell::{Shell, cmd};

use super::args::DoctorArgs;
use crate::docker::{Docker, endpoint};
use crate::model::{Diagnostic, Diagnostics};
use crate::world::World;

/// What a command may need of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// Programs for the main job.
    Stack,
    /// More programs, for the tests of this project.
    Tests,
}

/// One thing that is looked at.
struct Item {
    name: &'static str,
    /// What it is for.
    purpose: &'static str,
    need: Need,
    /// Programs of which one must be found.
    programs: &'static [&'static str],
    /// Debian's package.
    package: &'static str,
}

const ITEMS: &[Item] = &[
    Item {
        name: "docker engine",
        purpose: "builds and runs images",
        need: Need::Stack,
        programs: &["dockerd"],
        package: "docker.io",
    },
    Item {
        name: "docker CLI",
        purpose: "starts containers in the tests of images",
        need: Need::Stack,
        programs: &["docker"],
        package: "docker.io",
    },
    Item {
        name: "git",
        purpose: "names and labels images by commit",
        need: Need::Stack,
        programs: &["git"],
        package: "git",
    },
    Item {
        name: "mmdebstrap",
        purpose: "makes the base where no registry is in reach",
        need: Need::Stack,
        programs: &["mmdebstrap"],
        package: "mmdebstrap",
    },
    Item {
        name: "python3",
        purpose: "runs the tests of images",
        need: Need::Stack,
        programs: &["python3"],
        package: "python3",
    },
    Item {
        name: "pytest",
        purpose: "runs the tests of images",
        need: Need::Stack,
        programs: &["pytest", "pytest-3"],
        package: "python3-pytest",
    },
    Item {
        name: "docker-registry",
        purpose: "a registry on this machine",
        need: Need::Stack,
        programs: &["docker-registry", "registry"],
        package: "docker-registry",
    },
    Item { name: "rsync", purpose: "copies to hosts", need: Need::Stack, programs: &["rsync"], package: "rsync" },
    Item {
        name: "ssh client",
        purpose: "reaches hosts",
        need: Need::Stack,
        programs: &["ssh"],
        package: "openssh-client",
    },
    Item {
        name: "ssh server",
        purpose: "tests of hosts",
        need: Need::Tests,
        programs: &["sshd"],
        package: "openssh-server",
    },
    Item {
        name: "pytest of the system",
        purpose: "small images that have pytest, for tests",
        need: Need::Tests,
        programs: &["/usr/lib/python3/dist-packages/pytest/__init__.py"],
        package: "python3-pytest",
    },
    Item {
        name: "docker of Python",
        purpose: "tests of a conftest that asks the engine",
        need: Need::Tests,
        programs: &["/usr/lib/python3/dist-packages/docker/__init__.py"],
        package: "python3-docker",
    },
    Item {
        name: "htpasswd",
        purpose: "tests of registries with a login",
        need: Need::Tests,
        programs: &["htpasswd"],
        package: "apache2-utils",
    },
    Item {
        name: "busybox",
        purpose: "small images for tests",
        need: Need::Tests,
        programs: &["busybox"],
        package: "busybox-static",
    },
    Item {
        name: "C compiler",
        purpose: "small images for tests",
        need: Need::Tests,
        programs: &["gcc"],
        package: "gcc",
    },
    Item {
        name: "C library",
        purpose: "static programs for tests",
        need: Need::Tests,
        programs: &[],
        package: "libc6-dev",
    },
    Item {
        name: "strace",
        purpose: "tests that nothing is written or started",
        need: Need::Tests,
        programs: &["strace"],
        package: "strace",
    },
    Item { name: "zsh", purpose: "tests of completion", need: Need::Tests, programs: &["zsh"], package: "zsh" },
    Item { name: "fish", purpose: "tests of completion", need: Need::Tests, programs: &["fish"], package: "fish" },
    Item {
        name: "elvish",
        purpose: "tests of completion",
        need: Need::Tests,
        programs: &["elvish"],
        package: "elvish",
    },
    Item {
        name: "tmux",
        purpose: "tests of the live display",
        need: Need::Tests,
        programs: &["tmux"],
        package: "tmux",
    },
    Item {
        name: "jsonschema",
        purpose: "tests of the schemas",
        need: Need::Tests,
        programs: &["jsonschema"],
        package: "python3-jsonschema",
    },
    Item {
        name: "pre-commit",
        purpose: "tests of the hooks",
        need: Need::Tests,
        programs: &["pre-commit"],
        package: "pre-commit",
    },
    Item {
        name: "doit or venv",
        purpose: "plays the conformance cases beside us",
        need: Need::Tests,
        // With venv, `ci` installs doit below target/.
        programs: &["doit", "/usr/share/doc/python3-venv/copyright"],
        package: "python3-venv",
    },
    Item {
        name: "chromium",
        purpose: "tests of pages",
        need: Need::Tests,
        programs: &["chromium"],
        package: "chromium",
    },
];

/// What was found out about one thing.
struct Finding {
    name: String,
    fine: bool,
    detail: String,
    fix: String,
}

pub(super) fn doctor(args: &DoctorArgs, world: &World) -> Result<u8, Diagnostics> {
    let mut findings = look(if args.all { Need::Tests } else { Need::Stack }, world);
    if args.yes && findings.iter().any(|finding| !finding.fine) {
        ensure(if args.all { Need::Tests } else { Need::Stack }, true, world)?;
        findings = look(if args.all { Need::Tests } else { Need::Stack }, world);
    }
    let width = findings.iter().map(|finding| finding.name.chars().count()).max().unwrap_or(0);
    for finding in &findings {
        let mark = if finding.fine { "ok     " } else { "missing" };
        world.out.line(&format!("{mark}  {:width$}  {}", finding.name, finding.detail));
        if !finding.fine {
            world.out.line(&format!("         {:width$}  fix: {}", "", finding.fix));
        }
    }
    Ok(u8::from(findings.iter().any(|finding| !finding.fine)))
}

fn look(need: Need, world: &World) -> Vec<Finding> {
    let mut findings: Vec<Finding> = items(need)
        .map(|item| {
            let found = item.programs.iter().find_map(|program| which(program, world));
            let present = found.is_some() || (item.programs.is_empty() && Path::new("/usr/include/stdlib.h").exists());
            Finding {
                name: item.name.to_owned(),
                fine: present,
                detail: found.map_or_else(|| item.purpose.to_owned(), |path| path.display().to_string()),
                fix: format!("sudo apt-get install --yes {}", item.package),
            }
        })
        .collect();
    findings.push(engine(world));
    findings
}

fn items(need: Need) -> impl Iterator<Item = &'static Item> {
    ITEMS.iter().filter(move |item| need == Need::Tests || item.need == Need::Stack)
}

/// Whether the engine answers.
fn engine(world: &World) -> Finding {
    let name = "docker engine answers".to_owned();
    match connect(world) {
        Ok(detail) => Finding { name, fine: true, detail, fix: String::new() },
        Err(problem) => {
            Finding { name, fine: false, detail: problem.message, fix: "sudo service docker start".to_owned() }
        }
    }
}

fn connect(world: &World) -> Result<String, Diagnostic> {
    let home = world.var_os("HOME").map(PathBuf::from);
    let endpoint = endpoint::resolve(&|name| world.var_os(name), home.as_deref())
        .map_err(|error| Diagnostic::error(error.to_string()))?;
    let engine = Docker::connect(&endpoint)?.engine()?;
    let builder = if engine.buildkit { "BuildKit" } else { "classic builder" };
    Ok(format!("{} {} ({builder}) at {endpoint}", engine.version, engine.platform()))
}

pub(super) fn which(program: &str, world: &World) -> Option<PathBuf> {
    let path = world.var_os("PATH")?;
    let places = std::env::split_paths(&path).chain(["/usr/sbin", "/sbin"].map(PathBuf::from));
    places.map(|dir| dir.join(program)).find(|file| file.is_file())
}

/// Installs what is missing and starts the engine, if that may be done: `yes`, or a person says so.
///
/// # Errors
/// Something is still missing; the error names exactly the command to run.
pub(super) fn ensure(need: Need, yes: bool, world: &World) -> Result<(), Diagnostics> {
    let missing: Vec<&Item> = items(need)
        .filter(|item| match item.programs {
            [] => !Path::new("/usr/include/stdlib.h").exists(),
            programs => !programs.iter().any(|program| which(program, world).is_some()),
        })
        .collect();
    let mut packages: Vec<&str> = missing.iter().map(|item| item.package).collect();
    packages.sort_unstable();
    packages.dedup();
    if !packages.is_empty() {
        let command = format!("sudo apt-get install --yes {}", packages.join(" "));
        if !may(yes, &format!("install {}?", packages.join(", ")), world) {
            return Err(refused(&missing, &command));
        }
        install(&packages, world).map_err(|error| {
            Diagnostic::error("the missing packages could not be installed").cause(error).help(command)
        })?;
    }
    if connect(world).is_err() && may(yes, "start the docker engine?", world) {
        start_engine(world)?;
    }
    Ok(())
}

/// Before a run that needs the engine: with `yes` (or a person's word) sets up what is missing; without, leaves it to
/// the tasks to say what they miss.
///
/// # Errors
/// What could not be set up.
pub(super) fn ensure_for_run(yes: bool, world: &World) -> Result<(), Diagnostics> {
    let has_person = world.in_is_tty && world.err_is_tty;
    if yes || (has_person && connect(world).is_err()) { ensure(Need::Stack, yes, world) } else { Ok(()) }
}

fn refused(missing: &[&Item], command: &str) -> Diagnostics {
    let names = crate::model::words::list(missing.iter().map(|item| item.name));
    Diagnostic::error(format!("{names} {} missing", if missing.len() == 1 { "is" } else { "are" }))
        .note("nothing was installed, because nobody said that it may be")
        .help(command)
        .into()
}

/// Asks a person, if there is one and `yes` was not given.
fn may(yes: bool, question: &str, world: &World) -> bool {
    if yes {
        return true;
    }
    if !(world.in_is_tty && world.err_is_tty) {
        return false;
    }
    let mut err = world.err.clone();
    let _ = std::io::Write::write_all(&mut err, format!("{question} [y/N] ").as_bytes());
    let _ = std::io::Write::flush(&mut err);
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).is_ok() && matches!(answer.trim(), "y" | "Y" | "yes")
}

/// As root, or through sudo without a question.
fn install(packages: &[&str], world: &World) -> xshell::Result<()> {
    let shell = Shell::new()?;
    world.err.line(&format!("installing {}", packages.join(" ")));
    // Package scripts must not ask.
    let (program, rest) = as_root(&["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq"]);
    cmd!(shell, "{program} {rest...} update").quiet().run()?;
    let (program, rest) =
        as_root(&["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq", "-o", "Dpkg::Use-Pty=0"]);
    cmd!(shell, "{program} {rest...} install --yes --no-install-recommends {packages...}").quiet().run()
}

/// A command with sudo in front of it, unless we are root.
fn as_root<'w>(words: &[&'w str]) -> (&'w str, Vec<&'w str>) {
    if rustix::process::geteuid().is_root() { (words[0], words[1..].to_vec()) } else { ("sudo", words.to_vec()) }
}

/// Starts the engine as a service, and where there is no service manager, by itself.
fn start_engine(world: &World) -> Result<(), Diagnostics> {
    let failed = |why: &dyn std::fmt::Display| {
        Diagnostics::from(
            Diagnostic::error("the docker engine could not be started").cause(why).help("sudo service docker start"),
        )
    };
    let shell = Shell::new().map_err(|error| failed(&error))?;
    world.err.line("starting the docker engine");
    let (program, rest) = as_root(&["service", "docker", "start"]);
    let service = cmd!(shell, "{program} {rest...}").quiet().ignore_stdout().run();
    if service.is_err() || !answers(world, 10) {
        let (program, rest) = as_root(&["setsid", "sh", "-c", "nohup dockerd >/var/log/dockerd.log 2>&1 &"]);
        cmd!(shell, "{program} {rest...}").quiet().run().map_err(|error| failed(&error))?;
    }
    if answers(world, 30) { Ok(()) } else { Err(failed(&"it does not answer")) }
}

fn answers(world: &World, seconds: u32) -> bool {
    (0..seconds * 5).any(|_| {
        let fine = connect(world).is_ok();
        if !fine {
            std::thread::sleep(std::time::Duration::from_millis(200));
        }
        fine
    })
}
