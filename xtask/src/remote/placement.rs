//! Which host an image is built on: slots, what each host has already, who is left out. Pure; knows nothing of engines.

use std::collections::BTreeSet;
use std::sync::Arc;

/// One host as far as placing is concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    pub name: Arc<str>,
    /// Builds at once; at least one.
    pub slots: usize,
    /// Builds that run there now.
    pub running: usize,
    /// Its platform, where that is another one than that of the host that keeps everything.
    foreign: Option<Arc<str>>,
    /// Names of what it is known to hold: parents, and images with their key.
    holds: BTreeSet<String>,
    /// Why nothing is built there any more.
    lost: Option<String>,
}

impl Host {
    pub fn new(name: Arc<str>, slots: usize) -> Self {
        Self { name, slots: slots.max(1), running: 0, foreign: None, holds: BTreeSet::new(), lost: None }
    }

    /// The same for a host of another platform: it builds for that one only, and nobody else does.
    #[must_use]
    pub fn of_platform(self, platform: &str) -> Self {
        Self { foreign: Some(platform.into()), ..self }
    }

    pub fn is_foreign(&self) -> bool {
        self.foreign.is_some()
    }

    /// Whether it builds for this platform; `None` is that of the host that keeps everything.
    fn builds_for(&self, platform: Option<&str>) -> bool {
        self.lost.is_none() && self.foreign.as_deref() == platform
    }

    /// Why it is left out, if it is.
    pub fn lost(&self) -> Option<&str> {
        self.lost.as_deref()
    }
}

/// All hosts of a pool, in the order in which they were named. The first of those that can be reached keeps everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placement {
    hosts: Vec<Host>,
}

/// What can be said of a build that wants a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// On this host; its slot is taken.
    On(usize),
    /// Every host that is left is busy.
    Wait,
    /// No host is left.
    Nowhere,
}

impl Placement {
    pub fn new(hosts: Vec<Host>) -> Self {
        Self { hosts }
    }

    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// The first host that builds for another platform.
    pub fn host_for(&self, platform: &str) -> Option<usize> {
        self.hosts.iter().position(|host| host.builds_for(Some(platform)))
    }

    /// Takes a slot for a build that needs these images: of the hosts with a free slot, one that has most of them; of
    /// those, the one with the smaller share of its slots in use; of those, the first. Only hosts of that platform count;
    /// `None` is the one of the host that keeps everything.
    pub fn take(&mut self, needs: &[String], platform: Option<&str>) -> Place {
        let left = self.hosts.iter().enumerate().filter(|(_, host)| host.builds_for(platform));
        if left.clone().next().is_none() {
            return Place::Nowhere;
        }
        let free = left.filter(|(_, host)| host.running < host.slots);
        let best = free.min_by(|(_, one), (_, other)| {
            let missing = |host: &Host| needs.iter().filter(|need| !host.holds.contains(*need)).count();
            // a/b < c/d without fractions.
            let (load, other_load) = (one.running * other.slots, other.running * one.slots);
            missing(one).cmp(&missing(other)).then(load.cmp(&other_load))
        });
        match best {
            Some((at, _)) => {
                self.hosts[at].running += 1;
                Place::On(at)
            }
            None => Place::Wait,
        }
    }

    /// Gives a slot back.
    pub fn give_back(&mut self, at: usize) {
        let host = &mut self.hosts[at];
        host.running = host.running.saturating_sub(1);
    }

    /// A host has this image now.
    pub fn note(&mut self, at: usize, image: &str) {
        self.hosts[at].holds.insert(image.to_owned());
    }

    /// Builds nothing there any more. The first reason is kept.
    pub fn lose(&mut self, at: usize, why: &str) {
        self.hosts[at].lost.get_or_insert_with(|| why.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pool(slots: &[usize]) -> Placement {
        let host = |(at, slots): (usize, &usize)| Host::new(format!("h{at}").into(), *slots);
        Placement::new(slots.iter().enumerate().map(host).collect())
    }

    #[test]
    fn who_has_the_parent_is_preferred_while_it_has_room() {
        let mut pool = pool(&[1, 1]);
        pool.note(1, "base");
        let needs = ["base".to_owned()];
        assert_eq!(pool.take(&needs, None), Place::On(1));
        assert_eq!(pool.take(&needs, None), Place::On(0), "a busy host is not waited for");
        assert_eq!(pool.take(&needs, None), Place::Wait);
        pool.give_back(0);
        assert_eq!(pool.take(&[], None), Place::On(0));
    }

    #[test]
    fn builds_spread_by_the_share_of_slots_in_use() {
        let mut pool = pool(&[1, 3]);
        let places: Vec<Place> = (0..4).map(|_| pool.take(&[], None)).collect();
        assert_eq!(places, [0, 1, 1, 1].map(Place::On));
    }

    #[test]
    fn a_lost_host_gets_nothing_and_none_left_is_said() {
        let mut pool = pool(&[2, 1]);
        pool.note(0, "base");
        pool.lose(0, "killed");
        pool.lose(0, "later");
        assert_eq!(pool.hosts()[0].lost(), Some("killed"));
        assert_eq!(pool.take(&["base".to_owned()], None), Place::On(1));
        pool.lose(1, "killed, too");
        assert_eq!(pool.take(&[], None), Place::Nowhere);
    }

    #[test]
    fn a_host_of_another_platform_builds_for_that_alone() {
        let other = Host::new("arm".into(), 1).of_platform("linux/arm64");
        let mut pool = Placement::new(vec![Host::new("home".into(), 1), other]);
        assert_eq!(pool.take(&[], None), Place::On(0));
        assert_eq!(pool.take(&[], None), Place::Wait);
        assert_eq!(pool.take(&[], Some("linux/arm64")), Place::On(1));
        assert_eq!(pool.take(&[], Some("linux/riscv64")), Place::Nowhere);
        assert_eq!(pool.host_for("linux/arm64"), Some(1));
        pool.lose(1, "killed");
        assert_eq!(pool.host_for("linux/arm64"), None);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Take(Vec<usize>),
        GiveBack(usize),
        Note(usize, usize),
        Lose(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => prop::collection::vec(0..4usize, 0..3).prop_map(Step::Take),
            4 => any::<usize>().prop_map(Step::GiveBack),
            2 => (0..4usize, 0..4usize).prop_map(|(host, image)| Step::Note(host, image)),
            1 => (0..4usize).prop_map(Step::Lose),
        ]
    }

    proptest! {
        /// Never more than the slots, never on a lost host; a wait only if all that are left are full; of the hosts with
        /// room none lacks fewer of the needed images than the one that was taken.
        #[test]
        fn laws_of_placing(slots in prop::collection::vec(1..4usize, 1..4), steps in prop::collection::vec(step(), 0..60)) {
            let mut pool = pool(&slots);
            let count = slots.len();
            let mut running: Vec<usize> = Vec::new();
            for step in steps {
                match step {
                    Step::Take(images) => {
                        let needs: Vec<String> = images.iter().map(|image| format!("i{image}")).collect();
                        let before = pool.clone();
                        let room = |host: &&Host| host.lost().is_none() && host.running < host.slots;
                        let missing = |host: &Host| needs.iter().filter(|need| !host.holds.contains(*need)).count();
                        let fewest = before.hosts().iter().filter(room).map(missing).min();
                        match pool.take(&needs, None) {
                            Place::On(at) => {
                                prop_assert!(room(&&before.hosts()[at]));
                                prop_assert_eq!(Some(missing(&before.hosts()[at])), fewest);
                                running.push(at);
                            }
                            Place::Wait => prop_assert!(fewest.is_none() && before.hosts().iter().any(|host| host.lost().is_none())),
                            Place::Nowhere => prop_assert!(before.hosts().iter().all(|host| host.lost().is_some())),
                        }
                    }
                    Step::GiveBack(which) if !running.is_empty() => {
                        let at = running.remove(which % running.len());
                        pool.give_back(at);
                    }
                    Step::GiveBack(_) => {}
                    Step::Note(host, image) => pool.note(host % count, &format!("i{image}")),
                    Step::Lose(host) => pool.lose(host % count, "gone"),
                }
                for (at, host) in pool.hosts().iter().enumerate() {
                    prop_assert_eq!(host.running, running.iter().filter(|one| **one == at).count());
                    prop_assert!(host.running <= host.slots);
                }
            }
        }
    }
}
