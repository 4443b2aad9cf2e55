//! Runs again what changes concern, and only that: what a watch remembers from round to round. Knows nothing of where
//! changes come from.
//!
//! Approach:
//! - a round over everything comes first; what each task came to is remembered;
//! - changes touch the tasks that name the changed paths ([`super::interest`]);
//! - the next round plans the touched ones and whatever needs them, and takes the rest as it was;
//! - of those, a task is looked at again only if it was touched or a task that it needs ran or has another result.
//!
//! So files and verdicts of other tasks cost nothing; what is left for each of them is a look at its last result. Verdicts
//! come from `decide`, as in every other run.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::inputs;
use super::interest::{self, Changes, Interests};
use super::run::{Run, Summary};
use super::values::Result_;
use super::{Options, Project};
use crate::graph::{self, Graph, Selection, TaskId};
use crate::model::task::FileDep;
use crate::model::{Diagnostic, Event, Outcome, RepoPath, Verdict};

/// What is remembered between the rounds of a watch.
#[derive(Default)]
pub struct Memory {
    /// The tasks of the selection with all that they need, setup tasks too.
    tasks: Vec<TaskId>,
    /// The size of the graph that `interests` is of.
    tasks_known: usize,
    /// How each task ended when it was last looked at.
    known: HashMap<TaskId, Known>,
    touched: HashSet<TaskId>,
    /// What calc_dep added to tasks.
    computed: HashMap<TaskId, Added>,
    pub(super) interests: Interests,
    /// The graph without the tasks that only a run brings to light.
    base: Option<Arc<Graph>>,
    /// Tasks that wake themselves: changes do not touch them any more.
    muted: HashSet<TaskId>,
    /// What was told to have changed since the last round; `None` if that is not all that did.
    told: Option<HashSet<RepoPath>>,
}

/// How a task ended, and what it left.
struct Known {
    outcome: Outcome,
    result: Option<Result_>,
}

/// Inputs and needs that were computed.
#[derive(Default)]
struct Added {
    inputs: Vec<FileDep>,
    needs: Vec<TaskId>,
}

impl Memory {
    /// Remembers nothing yet of `tasks`: those of the selection with all that they need, setup tasks too.
    pub fn new(tasks: Vec<TaskId>) -> Self {
        Self { tasks, ..Self::default() }
    }

    /// Finds out anew what tasks name; those that a run brought to light count, too.
    fn take_interest(&mut self, graph: &Graph) {
        let first_new = self.base.as_ref().map_or(graph.len(), |base| base.len()) as u32;
        let late = (first_new..graph.len() as u32).map(TaskId);
        let computed = &self.computed;
        let added = |id: TaskId| computed.get(&id).map_or(&[][..], |added| &added.inputs[..]);
        self.interests = Interests::new(graph, self.tasks.iter().copied().chain(late), &added);
        self.tasks_known = graph.len();
    }

    /// All that this is about, for whoever looks at everything during a round.
    pub(super) fn all_again(&mut self) -> Vec<TaskId> {
        self.told = None;
        self.muted.clear();
        self.tasks.clone()
    }

    /// The tasks that failed, for whoever runs them again during a round.
    pub(super) fn bad_again(&mut self) -> Vec<TaskId> {
        self.told = None;
        self.bad().collect()
    }

    pub(super) fn tasks(&self) -> &[TaskId] {
        &self.tasks
    }

    /// Forgets how tasks ended: the next round looks at everything.
    pub fn clear(&mut self) {
        self.known.clear();
        self.told = None;
        self.touched.clear();
        self.muted.clear();
    }

    /// Marks the tasks that these changes concern. False if there are none.
    pub fn touch(&mut self, project: &Project, changes: &Changes) -> bool {
        if changes.anything {
            self.known.clear();
            self.told = None;
            return true;
        }
        self.told.get_or_insert_default().extend(changes.paths.iter().cloned());
        let mut found = interest::concerned(project, &self.interests, changes);
        found.retain(|id| !self.muted.contains(id));
        let any = !found.is_empty();
        self.touched.extend(found);
        any
    }

    /// Of these paths, those that concern any task; all of them where that cannot be told any more.
    pub fn concerning(&self, project: &Project, paths: &BTreeSet<RepoPath>) -> Vec<RepoPath> {
        let found = interest::concerning(project, &self.interests, paths);
        if found.is_empty() { paths.iter().cloned().collect() } else { found }
    }

    /// Marks these tasks.
    pub(super) fn touch_these(&mut self, tasks: impl IntoIterator<Item = TaskId>) {
        self.touched.extend(tasks);
    }

    /// What is to be planned now of all that this is about.
    pub(super) fn affected_now(&self, graph: &Graph) -> Vec<TaskId> {
        self.affected(graph, &self.tasks)
    }

    /// Notes more paths that were told to have changed.
    pub(super) fn was_told<'p>(&mut self, paths: impl IntoIterator<Item = &'p RepoPath>) {
        if let Some(told) = &mut self.told {
            told.extend(paths.into_iter().cloned());
        }
    }

    /// Notes that nothing but these paths, and what is told from now on, is other than when it was looked at.
    pub(super) fn tell_only<'p>(&mut self, paths: impl IntoIterator<Item = &'p RepoPath>) {
        self.told.get_or_insert_default().extend(paths.into_iter().cloned());
    }

    pub(super) fn is_told(&self, path: &RepoPath) -> bool {
        self.told.as_ref().is_some_and(|told| told.contains(path))
    }

    /// Whether the round is about changes that were told, and nothing else.
    pub(super) fn knows_changes(&self) -> bool {
        self.told.is_some()
    }

    pub(super) fn is_muted(&self, id: TaskId) -> bool {
        self.muted.contains(&id)
    }

    /// Marks the tasks that failed. False if there are none.
    pub fn touch_failed(&mut self) -> bool {
        let bad: Vec<TaskId> = self.bad().collect();
        self.told = None;
        self.touched.extend(&bad);
        !bad.is_empty()
    }

    fn bad(&self) -> impl Iterator<Item = TaskId> + '_ {
        self.known.iter().filter(|(_, known)| is_bad(known.outcome)).map(|(id, _)| *id)
    }

    /// How many tasks are not as they should be, groups left out.
    pub fn bad_count(&self, graph: &Graph) -> usize {
        self.bad().filter(|id| id.index() < graph.len() && !graph.task(*id).is_group()).count()
    }

    /// Changes touch this task no more, until everything is looked at again.
    pub fn mute(&mut self, id: TaskId) {
        self.muted.insert(id);
        self.touched.remove(&id);
    }

    /// Inputs that only a run brought to light.
    pub fn computed_inputs(&self) -> impl Iterator<Item = &FileDep> {
        self.computed.values().flat_map(|added| &added.inputs)
    }

    /// Touched, or never looked at to the end.
    fn is_fresh(&self, id: TaskId) -> bool {
        self.touched.contains(&id) || !self.known.contains_key(&id)
    }

    /// What is to be planned of the closure, in its order.
    fn affected(&self, graph: &Graph, closure: &[TaskId]) -> Vec<TaskId> {
        let mut found: HashSet<TaskId> = HashSet::new();
        for id in closure {
            let more = self.computed.get(id).into_iter().flat_map(|added| &added.needs);
            let mut needs = graph.node(*id).needs.iter().map(|edge| &edge.to).chain(more);
            if self.is_fresh(*id) || needs.any(|need| found.contains(need)) {
                found.insert(*id);
            }
        }
        closure.iter().copied().filter(|id| found.contains(id)).collect()
    }
}

fn is_bad(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Failed | Outcome::Error | Outcome::Unmet)
}

/// One round of a watch: everything the first time, then what was touched and whatever that brings about.
///
/// # Errors
/// The state cannot be written.
pub fn run_again(
    project: &mut Project,
    selection: &Selection,
    memory: &mut Memory,
    options: &Options,
    events: &mut dyn FnMut(Event),
) -> Result<Summary, Diagnostic> {
    let graph = project.graph.clone();
    let plan = memory.affected(&graph, &graph::closure(&graph, selection, options.single));
    if memory.known.is_empty() || plan.iter().any(|id| graph.task(*id).expand_after.is_some()) {
        // Tasks that a run brought to light are brought to light again.
        project.graph = memory.base.get_or_insert(graph).clone();
        memory.known.clear();
        memory.take_interest(&project.graph);
        let mut run = Run::new(project, selection, options, events);
        run.memory = Some(memory);
        run.begin(selection);
        return run.whole();
    }
    let mut run = Run::new(project, selection, options, events);
    run.memory = Some(memory);
    run.begin_again(selection, &plan);
    run.whole()
}

impl Run<'_> {
    /// Plans these tasks only; all others of the selection are taken as they were.
    fn begin_again(&mut self, selection: &Selection, plan: &[TaskId]) {
        self.project.files.next_epoch();
        let Some(memory) = self.memory.as_deref() else { return };
        let planned: HashSet<TaskId> = plan.iter().copied().collect();
        for (id, known) in &memory.known {
            if let Some(result) = &known.result {
                self.results.insert(*id, result.clone());
            }
        }
        for id in graph::closure(&self.graph, selection, self.options.single) {
            if let Some(known) = memory.known.get(&id).filter(|_| !planned.contains(&id)) {
                self.outcome_of.insert(id, known.outcome);
                self.scheduler.assume(id.0, known.outcome);
                self.assumed.insert(id);
            }
        }
        let fresh: Vec<TaskId> = plan.iter().copied().filter(|id| memory.is_fresh(*id)).collect();
        let fetched = inputs::prefetch(self.project, &fresh);
        self.inputs = fetched.into_iter().map(|(id, inputs)| (id, (0, inputs))).collect();
        self.announce(plan);
        self.want_all(plan);
    }

    /// Whether a task whose needs are final must be as it was: nobody touched it, and nothing that it needs is another.
    pub(super) fn stays(&self, id: TaskId) -> bool {
        let Some(memory) = self.memory.as_deref() else { return false };
        let is_good = memory.known.get(&id).is_some_and(|known| !is_bad(known.outcome));
        let same = |need: &TaskId| {
            let before = memory.known.get(need).and_then(|known| known.result.as_ref()).map(|result| result.digest);
            let now = self.results.get(need).map(|result| result.digest);
            self.outcome_of.get(need) != Some(&Outcome::Ran) && before == now
        };
        is_good && !memory.is_fresh(id) && self.all_needs(id).iter().all(same)
    }

    /// Takes a task as it was.
    pub(super) fn stay(&mut self, id: TaskId) -> Result<(), Diagnostic> {
        let known = self.memory.as_deref().and_then(|memory| memory.known.get(&id)).map(|known| known.outcome);
        let outcome = match known {
            Some(Outcome::Skipped) => Outcome::Skipped,
            _ => Outcome::UpToDate,
        };
        if outcome == Outcome::UpToDate {
            self.decided(id, Verdict::UpToDate);
        }
        self.finish(id, outcome, std::time::Duration::ZERO, None, super::ended::Ended::default())
    }

    /// Setup tasks that were taken as they were are looked at after all: they are wanted by a task that runs.
    pub(super) fn reconsider(&mut self, plan: &[TaskId]) {
        for id in plan {
            if self.assumed.remove(id) {
                self.outcome_of.remove(id);
                self.scheduler.unassume(id.0);
            }
        }
    }

    /// Keeps how each task ended that is final by now.
    pub(super) fn note_outcomes(&mut self) {
        let Some(memory) = self.memory.as_deref_mut() else { return };
        for (id, outcome) in &self.outcomes {
            let result = self.results.get(id).cloned().map(|result| Result_ { stdout: Arc::from([]), ..result });
            memory.known.insert(*id, Known { outcome: *outcome, result });
            memory.touched.remove(id);
        }
    }

    /// Keeps for the next round how each task ended.
    pub(super) fn remember(&mut self) {
        self.note_outcomes();
        let Some(memory) = self.memory.take() else { return };
        memory.told = None;
        for id in &self.left {
            memory.known.remove(id);
        }
        for (id, computed) in &self.extras {
            let place = &self.graph.task(*id).place;
            let found = computed.extra.discovered.iter().map(|path: &RepoPath| FileDep {
                pattern: path.lossy().into(),
                negated: false,
                place: place.clone(),
            });
            let inputs = computed.extra.file_dep.iter().cloned().chain(found).collect();
            let needs = computed.needs.iter().chain(&computed.sources).copied().collect();
            memory.computed.insert(*id, Added { inputs, needs });
        }
        if !self.extras.is_empty() || self.graph.len() != memory.tasks_known {
            memory.take_interest(&self.graph);
        }
    }
}
