//! Containers that a run which was killed has left on the engine: found by a label that names their owner, and removed
//! by the next run that uses the engine. Never touches one whose owner lives, is elsewhere, or cannot be told.

use std::collections::BTreeMap;
use std::fs;

use super::services::Services;
use crate::action::Call;
use crate::docker::Docker;

/// Label of every container that is made for a task: who made it.
pub(super) const OWNER_LABEL: &str = "dev.xtask.owner";

/// A process of some machine: its host, the start of that host's system, the namespace of its number, the number, and
/// when it was started.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Owner {
    host: String,
    boot: String,
    space: String,
    pid: u32,
    started: String,
}

fn first_line(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

/// When a process was started, in ticks since the start of the system; `None` if there is no such process.
fn started(pid: u32) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may hold anything, so the last `)` counts.
    let mut fields = text.rsplit_once(") ")?.1.split(' ');
    let state = fields.next()?;
    let started = fields.nth(18)?.to_owned();
    (state != "Z" && state != "X").then_some(started)
}

impl Owner {
    fn this() -> Self {
        let space = fs::read_link("/proc/self/ns/pid").map(|link| link.to_string_lossy().into_owned());
        let pid = std::process::id();
        Self {
            host: first_line("/proc/sys/kernel/hostname"),
            boot: first_line("/proc/sys/kernel/random/boot_id"),
            space: space.unwrap_or_default(),
            pid,
            started: started(pid).unwrap_or_default(),
        }
    }

    fn text(&self) -> String {
        format!("{} {} {} {} {}", self.host, self.boot, self.space, self.pid, self.started)
    }

    fn parse(text: &str) -> Option<Self> {
        let words: Vec<&str> = text.split(' ').collect();
        let [host, boot, space, pid, started] = words[..] else { return None };
        let own = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        Some(Self {
            host: own(host)?,
            boot: own(boot)?,
            space: own(space)?,
            pid: pid.parse().ok()?,
            started: own(started)?,
        })
    }

    /// Whether it is certain, seen from `here`, that it runs no more. `started` looks at a process.
    fn is_dead(&self, here: &Self, started: impl Fn(u32) -> Option<String>) -> bool {
        self.host == here.host
            && (self.boot != here.boot
                || (self.space == here.space && started(self.pid).is_none_or(|started| started != self.started)))
    }
}

/// What names this process as the owner of a container.
pub(super) fn owner() -> String {
    Owner::this().text()
}

/// The labels of a container that is made for a task.
pub(super) fn labels(call: &Call<'_>) -> BTreeMap<String, String> {
    let run = format!("{}-{}", std::process::id(), call.task);
    [("dev.xtask.run".to_owned(), run), (OWNER_LABEL.to_owned(), owner())].into()
}

/// Removes the containers of dead runs, once per run. It is a service to others, so that nothing fails with it.
pub(super) fn sweep(services: &Services, docker: &Docker) {
    if services.swept.set(()).is_err() {
        return;
    }
    let here = Owner::this();
    for container in docker.containers_with_labels(&[OWNER_LABEL]).unwrap_or_default() {
        let owner = container.labels.get(OWNER_LABEL).and_then(|text| Owner::parse(text));
        if owner.is_some_and(|owner| owner.is_dead(&here, started)) {
            let _ = docker.remove(&container.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_lives_and_is_read_again() {
        let this = Owner::this();
        assert_eq!(Owner::parse(&this.text()), Some(this.clone()));
        assert!(!this.is_dead(&this, started));
        assert!(Owner { started: "1".into(), ..this.clone() }.is_dead(&this, started), "its number was given again");
        assert!(Owner { boot: "before".into(), ..this.clone() }.is_dead(&this, started));
    }

    /// Every mixture of the five facts: dead only if that is certain.
    #[test]
    fn k5_only_owners_that_are_certainly_dead_are_dead() {
        let here = Owner { host: "h".into(), boot: "b".into(), space: "s".into(), pid: 1, started: "10".into() };
        let alive = |pid: u32| (pid == 7).then(|| "70".to_owned());
        let (mut cases, mut dead) = (0, 0);
        for host in ["h", "other"] {
            for boot in ["b", "earlier"] {
                for space in ["s", "container"] {
                    for (pid, started, runs) in [(7, "70", true), (7, "69", false), (8, "80", false), (7, "700", false)]
                    {
                        for broken in [false, true] {
                            let owner = Owner {
                                host: host.into(),
                                boot: boot.into(),
                                space: space.into(),
                                pid,
                                started: started.into(),
                            };
                            let text = if broken { owner.text().replace(' ', "-") } else { owner.text() };
                            let found = Owner::parse(&text).is_some_and(|owner| owner.is_dead(&here, alive));
                            let certain = host == "h" && (boot != "b" || (space == "s" && !runs)) && !broken;
                            assert_eq!(found, certain, "{text}");
                            cases += 1;
                            dead += usize::from(found);
                        }
                    }
                }
            }
        }
        assert_eq!((cases, dead), (64, 11));
    }
}
