//! The engines that a run works on: one, or a pool over which the builds of a stack are spread. Knows nothing of what is
//! built.
//!
//! The first host that can be reached is the home: it holds every image in the end, and there they are tested and
//! published. The others only build. So a host that fails takes nothing with it that was done.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use crate::action::Failure;
use crate::docker::{Docker, Engine, endpoint};
use crate::exec::environment::Variables;
use crate::model::task::Host;
use crate::model::{Diagnostic, StopToken};
use crate::remote::hosts::{self, HostEntry, Source, Surroundings};
use crate::remote::placement::{self, Place, Placement};
use crate::remote::{Reached, Staged};

/// How often a build that waits for a slot looks whether the run is to stop.
const GLANCE: Duration = Duration::from_millis(50);

/// What tasks.yaml says of hosts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    pub hosts: BTreeMap<Arc<str>, Host>,
    /// `config.host`: names, with commas.
    pub chosen: Option<Arc<str>>,
    /// `config.transfer`: the repository through which hosts hand images on.
    pub transfer: Option<Arc<str>>,
}

/// One engine of the fleet.
struct Member {
    name: Arc<str>,
    /// `None` where it could not be reached when the run began.
    docker: Option<Docker>,
    /// Keeps the way open.
    reached: Option<Reached>,
}

/// All engines of a run.
pub(super) struct Fleet {
    members: Vec<Member>,
    home: usize,
    placement: Mutex<Placement>,
    changed: Condvar,
    /// What the home runs programs of, once it was asked.
    platforms: OnceLock<Vec<String>>,
}

/// A host that does not build (any more), and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LeftOut {
    pub host: Arc<str>,
    pub why: String,
}

/// The host that held all images of a run, and does not answer any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LostHome {
    pub host: LeftOut,
    /// Those on which the images can be built instead.
    pub others: Vec<Arc<str>>,
}

impl LostHome {
    pub(crate) fn diagnostic(&self) -> Diagnostic {
        let others: Vec<String> = self.others.iter().map(|name| format!("`{name}`")).collect();
        Diagnostic::warning(format!("host `{}`, which kept the images, was lost", self.host.host))
            .note(self.host.why.clone())
            .note(format!("the run begins again on what is left: {}", others.join(", ")))
    }
}

/// The hosts that are meant: none of them is spoken to.
///
/// # Errors
/// One is unknown.
pub(super) fn named(known: &Known, flag: &[String], env: &Variables) -> Result<Vec<HostEntry>, Diagnostic> {
    let lookup = |name: &str| env.get(OsStr::new(name)).cloned();
    let home = lookup("HOME").map(PathBuf::from);
    let around = Surroundings { env: &lookup, home: home.as_deref() };
    let entries = hosts::known(&known.hosts, around).map_err(super::services::whole)?;
    hosts::choose_all(&entries, flag, known.chosen.as_deref(), around).map_err(|error| error.diagnostic())
}

/// What a connection to a host came to.
type Met = Result<(Docker, Engine, Option<Reached>), Diagnostic>;

impl Fleet {
    /// Finds the hosts that are meant and connects to them: `flag`, else the variables, else what tasks.yaml says, else
    /// the one that the docker command line would use. That alone is not spoken to yet. `foreign` are platforms for which
    /// hosts of theirs build, beside those of the home's.
    ///
    /// # Errors
    /// A host is unknown, or none can be reached.
    pub(super) fn connect(
        known: Option<&Known>,
        flag: &[String],
        env: &Variables,
        foreign: &[String],
    ) -> Result<Self, Diagnostic> {
        let lookup = |name: &str| env.get(OsStr::new(name)).cloned();
        let home = lookup("HOME").map(PathBuf::from);
        let chosen = match known {
            Some(known) => named(known, flag, env)?,
            None => vec![HostEntry::default_host()],
        };
        if let [only] = &chosen[..]
            && only.source == Source::Default
        {
            let endpoint =
                endpoint::resolve(&lookup, home.as_deref()).map_err(|error| Diagnostic::error(error.to_string()))?;
            let docker = Docker::connect(&endpoint).map_err(Diagnostic::from)?;
            // How much is built at once is then the matter of pools and jobs alone.
            let host = placement::Host::new(only.name.clone(), usize::MAX);
            return Ok(Self::of(vec![(host, Some(docker), None)], 0));
        }
        Self::meet(&chosen, env, foreign)
    }

    /// Connects to all at once.
    fn meet(chosen: &[HostEntry], env: &Variables, foreign: &[String]) -> Result<Self, Diagnostic> {
        let met: Vec<Met> = std::thread::scope(|scope| {
            let threads: Vec<_> = chosen.iter().map(|entry| scope.spawn(|| reach(entry, env))).collect();
            let ended = |name: &str| Err(Diagnostic::error(format!("connecting to host `{name}` ended in a panic")));
            let join = |(thread, entry): (std::thread::ScopedJoinHandle<'_, Met>, &HostEntry)| {
                thread.join().unwrap_or_else(|_| ended(&entry.name))
            };
            threads.into_iter().zip(chosen).map(join).collect()
        });
        // What is built for another platform is not what people work with: its hosts help, as long as there are others.
        let is_own = |met: &Met| met.as_ref().is_ok_and(|(_, engine, _)| !foreign.contains(&engine.platform()));
        let home = met.iter().position(is_own).or_else(|| met.iter().position(Result::is_ok));
        let Some(home) = home else {
            let mut problems = met.into_iter().filter_map(Result::err);
            let first = problems.next().unwrap_or_else(|| Diagnostic::error("no host was named"));
            return Err(problems.fold(first, |all, next| all.note(next.message)));
        };
        let platform = met[home].as_ref().map(|(_, engine, _)| engine.platform()).unwrap_or_default();
        let members = chosen.iter().zip(met).map(|(entry, met)| {
            let host = placement::Host::new(entry.name.clone(), entry.slots);
            match met {
                Ok((docker, engine, reached)) if engine.platform() == platform => (Ok(()), host, Some(docker), reached),
                Ok((docker, engine, reached)) if foreign.contains(&engine.platform()) => {
                    (Ok(()), host.of_platform(&engine.platform()), Some(docker), reached)
                }
                Ok((_, engine, _)) => {
                    let why = format!("it is {}, and the images are for {platform}", engine.platform());
                    (Err(why), host, None, None)
                }
                Err(problem) => (Err(short(&problem)), host, None, None),
            }
        });
        let (mut parts, mut lost) = (Vec::new(), Vec::new());
        for (at, (state, host, docker, reached)) in members.enumerate() {
            lost.extend(state.err().map(|why| (at, why)));
            parts.push((host, docker, reached));
        }
        let fleet = Self::of(parts, home);
        for (at, why) in lost {
            fleet.lock().lose(at, &why);
        }
        Ok(fleet)
    }

    fn of(parts: Vec<(placement::Host, Option<Docker>, Option<Reached>)>, home: usize) -> Self {
        let mut members = Vec::new();
        let mut hosts = Vec::new();
        for (host, docker, reached) in parts {
            members.push(Member { name: host.name.clone(), docker, reached });
            hosts.push(host);
        }
        Self {
            members,
            home,
            placement: Mutex::new(Placement::new(hosts)),
            changed: Condvar::new(),
            platforms: OnceLock::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Placement> {
        self.placement.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The engine that holds everything.
    pub(super) fn home(&self) -> Result<Docker, Diagnostic> {
        let home = &self.members[self.home];
        home.docker.clone().ok_or_else(|| Diagnostic::error(format!("host `{}` cannot be reached", home.name)))
    }

    /// How images are built on the host of an engine, if not by the engine itself.
    pub(super) fn staged(&self, docker: &Docker) -> Option<&Staged> {
        let is_it = |member: &&Member| member.docker.as_ref().is_some_and(|own| own.endpoint() == docker.endpoint());
        self.members.iter().find(is_it)?.reached.as_ref()?.staged.as_ref()
    }

    /// [`hosts::whereabouts`] of the engine that holds everything.
    pub(super) fn whereabouts(&self, env: &Variables) -> Result<(String, bool), Diagnostic> {
        let host = &self.members[self.home];
        let lookup = |name: &str| env.get(OsStr::new(name)).cloned();
        let home = lookup("HOME").map(PathBuf::from);
        let around = Surroundings { env: &lookup, home: home.as_deref() };
        let reached = host.reached.as_ref().map(|reached| (&*host.name, reached));
        hosts::whereabouts(reached, around).map_err(Diagnostic::from)
    }

    /// What the docker command line must find in its environment to use the engine that holds everything.
    pub(super) fn variables(&self) -> Vec<(&'static str, OsString)> {
        self.variables_of(self.home)
    }

    /// The same for one member.
    pub(super) fn variables_of(&self, at: usize) -> Vec<(&'static str, OsString)> {
        self.members[at].reached.as_ref().map(Reached::variables).unwrap_or_default()
    }

    /// Builds at once, of all hosts together; `None` where there is no limit.
    pub(super) fn slots(&self) -> Option<usize> {
        self.lock().hosts().iter().try_fold(0_usize, |sum, host| {
            let slots = if host.lost().is_some() { 0 } else { host.slots };
            sum.checked_add(slots).filter(|sum| *sum < usize::MAX)
        })
    }

    /// Waits for a host that can build something on these images, and takes a slot of it. A platform is one that a host
    /// was met for (see [`Fleet::host_for`]); without one it is that of the home.
    ///
    /// # Errors
    /// No host is left, or the run is to stop.
    pub(super) fn take(
        &self,
        task: &str,
        (needs, platform): (&[String], Option<&str>),
        stop: &StopToken,
    ) -> Result<Slot<'_>, Failure> {
        let mut placement = self.lock();
        loop {
            match placement.take(needs, platform) {
                Place::On(at) => return Ok(Slot { fleet: self, at }),
                Place::Nowhere => {
                    let all = Self::left_out_of(&placement);
                    let problem = Diagnostic::error("no host is left to build on");
                    let notes = all.into_iter().map(|one| format!("host `{}`: {}", one.host, one.why));
                    return Err(Failure::error(notes.fold(problem, Diagnostic::note)));
                }
                Place::Wait if stop.is_requested() => return Err(Failure::interrupted(task)),
                Place::Wait => {
                    let woken = self.changed.wait_timeout(placement, GLANCE);
                    placement = woken.unwrap_or_else(PoisonError::into_inner).0;
                }
            }
        }
    }

    /// The host that builds for a platform which is not the home's, if there is one.
    pub(super) fn host_for(&self, platform: &str) -> Option<(usize, Arc<str>, Docker)> {
        let at = self.lock().host_for(platform)?;
        let member = self.members.get(at)?;
        Some((at, member.name.clone(), member.docker.clone()?))
    }

    /// Whether the engine that holds everything runs programs of this platform: its own, or by an emulator. It is asked
    /// once.
    pub(super) fn home_runs(&self, platform: &str) -> Result<bool, Diagnostic> {
        let known = match self.platforms.get() {
            Some(known) => known,
            None => {
                let home = self.home()?;
                let mut found = home.build_platforms().map_err(Diagnostic::from)?;
                found.push(home.engine().map_err(Diagnostic::from)?.platform());
                self.platforms.get_or_init(|| found)
            }
        };
        Ok(known.iter().any(|one| one == platform))
    }

    /// A member beside the home that has this image; only those are asked that are not left out.
    pub(super) fn others(&self) -> Vec<(usize, Arc<str>, Docker)> {
        let placement = self.lock();
        let left =
            self.members.iter().enumerate().filter(|(at, _)| {
                *at != self.home && placement.hosts().get(*at).is_some_and(|host| host.lost().is_none())
            });
        left.filter_map(|(at, member)| Some((at, member.name.clone(), member.docker.clone()?))).collect()
    }

    /// Whether the host does not answer; then nothing is built there any more.
    pub(super) fn has_lost(&self, at: usize) -> bool {
        let member = &self.members[at];
        let problem = match &member.docker {
            Some(docker) => docker.engine().err().map(Diagnostic::from),
            None => Some(Diagnostic::error(format!("host `{}` cannot be reached", member.name))),
        };
        let Some(problem) = problem else { return false };
        self.lock().lose(at, &short(&problem));
        self.changed.notify_all();
        true
    }

    /// Whether the home does not answer any more while another host does.
    pub(super) fn lost_home(&self) -> Option<LostHome> {
        if self.members.len() < 2 || !self.has_lost(self.home) {
            return None;
        }
        let is_like_home = |at: usize| self.lock().hosts().get(at).is_some_and(|host| !host.is_foreign());
        let others = self.others().into_iter().filter(|(at, ..)| is_like_home(*at) && !self.has_lost(*at));
        let others = others.map(|(_, name, _)| name);
        let others: Vec<Arc<str>> = others.collect();
        let name = &self.members[self.home].name;
        let host = self.left_out().into_iter().find(|one| one.host == *name)?;
        (!others.is_empty()).then_some(LostHome { host, others })
    }

    /// A host has this image now.
    pub(super) fn note(&self, at: usize, image: &str) {
        self.lock().note(at, image);
    }

    /// Hosts on which nothing is built, and why.
    pub(super) fn left_out(&self) -> Vec<LeftOut> {
        Self::left_out_of(&self.lock())
    }

    fn left_out_of(placement: &Placement) -> Vec<LeftOut> {
        let lost = placement.hosts().iter().filter_map(|host| Some((host.name.clone(), host.lost()?.to_owned())));
        lost.map(|(host, why)| LeftOut { host, why }).collect()
    }
}

/// A slot of a host; given back on drop.
pub(super) struct Slot<'a> {
    fleet: &'a Fleet,
    pub at: usize,
}

impl Slot<'_> {
    pub(super) fn is_home(&self) -> bool {
        self.at == self.fleet.home
    }

    pub(super) fn name(&self) -> &str {
        &self.fleet.members[self.at].name
    }

    pub(super) fn docker(&self) -> Result<Docker, Failure> {
        let gone = || Failure::error(Diagnostic::error(format!("host `{}` cannot be reached", self.name())));
        self.fleet.members[self.at].docker.clone().ok_or_else(gone)
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        self.fleet.lock().give_back(self.at);
        self.fleet.changed.notify_all();
    }
}

/// Opens the way to a host and asks its engine who it is.
fn reach(entry: &HostEntry, env: &Variables) -> Met {
    let lookup = |name: &str| env.get(OsStr::new(name)).cloned();
    let home = lookup("HOME").map(PathBuf::from);
    let around = Surroundings { env: &lookup, home: home.as_deref() };
    let programs: Vec<(OsString, OsString)> = env.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    let of_host = |problem: Diagnostic| problem.note(format!("it is the engine of host `{}`", entry.name));
    let reached = entry.reach(around, &programs, &StopToken::new()).map_err(|error| of_host(error.diagnostic()))?;
    let docker = Docker::connect(&reached.endpoint).map_err(|error| of_host(error.into()))?;
    let engine = docker.engine().map_err(|error| of_host(error.into()))?;
    Ok((docker, engine, Some(reached)))
}

/// A problem in one line.
fn short(problem: &Diagnostic) -> String {
    match problem.causes.first() {
        Some(cause) => format!("{} ({cause})", problem.message),
        None => problem.message.clone(),
    }
}
