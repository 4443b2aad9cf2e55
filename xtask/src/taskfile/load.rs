//! Files to tasks: includes, constants, groups and their members. Knows nothing of single attributes.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value as Json, json};

use super::cx::Cx;
use super::members::{self, Member, Sources};
use super::names::{self, Range};
use super::world::{ImageInfo, LoadWorld, Loaded};
use super::{Errors, Node, files, options, read, task, template, toplevel};
use crate::model::task::{At, Task, Taskfile};
use crate::model::{Diagnostic, Diagnostics};

/// Reads `root_file` and what it includes. Every error of all files is told at once; syntax errors are told alone,
/// because what stands after them is unknown.
pub fn load(root_file: &str, world: &LoadWorld<'_>) -> Result<Loaded, Diagnostics> {
    let mut errors = Errors::new();
    let (files, sources) = files::gather(root_file, world, &mut errors);
    let mut loader =
        Loader { world, taskfile: Taskfile::default(), images: None, environments: None, ranges: Vec::new(), errors };
    for file in &files {
        loader.beside_tasks(file);
    }
    let mut vars = BTreeMap::new();
    for file in &files {
        loader.file_vars(file, &mut vars);
    }
    for file in &files {
        let own = vars.get(&file.index).cloned().unwrap_or_default();
        loader.file_tasks(file, &own);
    }
    loader.finish(&vars, sources)
}

type Vars = Map<String, Json>;

struct Loader<'a> {
    world: &'a LoadWorld<'a>,
    taskfile: Taskfile,
    /// Asked for once, when the first task needs them.
    images: Option<Vec<ImageInfo>>,
    environments: Option<Vec<ImageInfo>>,
    ranges: Vec<Range>,
    errors: Errors,
}

impl<'a> Loader<'a> {
    fn cx<'c>(&'c mut self, file: &'c files::File, constants: &'c Json, of: &str) -> Cx<'c>
    where
        'a: 'c,
    {
        let errors = &mut self.errors;
        Cx { world: self.world, dir: &file.dir, constants, of: of.to_owned(), used: Vec::new(), errors }
    }

    /// `config`, `stack`, `pools` and `hosts`. Only globals of the command line are known yet.
    fn beside_tasks(&mut self, file: &files::File) {
        let constants = json!({});
        let (mut pools, mut hosts) =
            (std::mem::take(&mut self.taskfile.pools), std::mem::take(&mut self.taskfile.hosts));
        let mut cx = self.cx(file, &constants, "`pools`");
        if let Some(node) = file.node.get("pools") {
            toplevel::pools(node, &mut pools, &mut cx);
        }
        if let Some(node) = file.node.get("hosts") {
            toplevel::hosts(node, &mut hosts, &mut cx);
        }
        "`config`".clone_into(&mut cx.of);
        let config = file.node.get("config").map(|node| toplevel::config(node, &mut cx));
        "`storage`".clone_into(&mut cx.of);
        let storage = file.node.get("storage").map(|node| toplevel::storage(node, &mut cx));
        cx.of = String::new();
        let stack = file.node.get("stack").and_then(|node| {
            let value = cx.path(node, "stack")?.lossy().into();
            Some(At { value, place: node.place.clone() })
        });
        (self.taskfile.pools, self.taskfile.hosts) = (pools, hosts);
        self.taskfile.storage = storage.unwrap_or(std::mem::take(&mut self.taskfile.storage));
        if file.parent.is_none() {
            self.taskfile.config = config.unwrap_or_default();
            names::resolve_root(&mut self.taskfile.config.default_tasks);
            self.taskfile.stack = stack;
        }
    }

    /// The vars that a file sees: those of its includer, then its own.
    fn file_vars(&mut self, file: &files::File, all: &mut BTreeMap<usize, Vars>) {
        let mut vars: Vars = match file.parent {
            Some(parent) => all.get(&parent).cloned().unwrap_or_default(),
            None => Vars::new(),
        };
        let constants = json!({});
        let mut env_read = std::mem::take(&mut self.taskfile.env_read);
        if let Some(node) = file.node.get("vars") {
            toplevel::vars(node, &mut vars, &mut env_read, &mut self.cx(file, &constants, "`vars`"));
        }
        self.taskfile.env_read = env_read;
        all.insert(file.index, vars);
    }

    fn file_tasks(&mut self, file: &files::File, vars: &Vars) {
        let start = self.taskfile.tasks.len();
        let constants = json!({ "vars": vars });
        let defaults = self.defaults(file);
        if let Some(node) = file.node.get("tasks") {
            let entries =
                read::map(node, read::Subject::new("tasks", ""), "a map from names to tasks", &mut self.errors);
            for (key, value) in entries {
                self.task(file, &constants, &defaults, key, value);
            }
        }
        let tasks = start..self.taskfile.tasks.len();
        self.ranges.push(Range { namespace: file.namespace.clone(), tasks });
    }

    fn defaults(&mut self, file: &files::File) -> Vec<(Node, Node)> {
        let Some(node) = file.node.get("defaults") else { return Vec::new() };
        read::fields(node, "`defaults`", task::DEFAULTS, &mut self.errors);
        let known = |entry: &&(Node, Node)| task::DEFAULTS.contains(&entry.0.key());
        node.map().unwrap_or_default().iter().filter(known).cloned().collect()
    }

    fn task(&mut self, file: &files::File, constants: &Json, defaults: &[(Node, Node)], key: &Node, node: &Node) {
        let name: Arc<str> = match (file.namespace.as_str(), key.text()) {
            ("", Some(text)) => text.clone(),
            (namespace, _) => format!("{namespace}{}", key.key()).into(),
        };
        names::refuse(&name, &key.place, self.world.commands, &mut self.errors);
        let of = format!("task `{name}`");
        let Some(entries) = node.map() else {
            let message = format!("{of} is {}, expected a map of attributes", node.found());
            self.errors.push(Diagnostic::error(message).at(node.place.clone()));
            return;
        };
        let mut task = task::empty(name, key.place.clone());
        match (node.get("for_each"), node.get("matrix")) {
            (Some(_), Some(second)) => {
                let message = format!("{of} has `for_each` and `matrix`, expected one of the two");
                self.errors.push(Diagnostic::error(message).at(second.place.clone()));
            }
            (None, None) => {
                task::fill(&mut task, defaults, entries, &mut self.cx(file, constants, &of));
                self.taskfile.tasks.push(task);
            }
            (each, matrix) => {
                let members = self.members(file, constants, &of, each, matrix);
                self.group(file, constants, defaults, task, entries, members);
            }
        }
    }

    fn members(
        &mut self,
        file: &files::File,
        constants: &Json,
        of: &str,
        each: Option<&Node>,
        matrix: Option<&Node>,
    ) -> Vec<Member> {
        let (world, stack, hosts) = (self.world, self.taskfile.stack.clone(), std::mem::take(&mut self.taskfile.hosts));
        let mut images = self.images.take();
        let mut find =
            |node: &Node, cx: &mut Cx<'_>| images.get_or_insert_with(|| ask(world, stack.as_ref(), node, cx)).clone();
        let mut environments = self.environments.take();
        let mut look = |cx: &mut Cx<'_>| {
            let ask = || (world.environments)().map_err(|problems| cx.errors.extend(problems)).unwrap_or_default();
            environments.get_or_insert_with(ask).clone()
        };
        let mut sources = Sources { images: &mut find, environments: &mut look, hosts: &hosts };
        let mut cx = self.cx(file, constants, of);
        let members = match (each, matrix) {
            (Some(node), _) => members::for_each(node, &mut sources, &mut cx),
            (_, Some(node)) => members::matrix(node, &mut cx),
            (None, None) => Vec::new(),
        };
        (self.taskfile.hosts, self.images, self.environments) = (hosts, images, environments);
        members
    }

    /// A group and its members. After the first member with errors the others are left out: theirs are the same.
    fn group(
        &mut self,
        file: &files::File,
        constants: &Json,
        defaults: &[(Node, Node)],
        mut group: Task,
        entries: &[(Node, Node)],
        members: Vec<Member>,
    ) {
        let position = self.taskfile.tasks.len();
        let mut tasks = Vec::with_capacity(members.len());
        for member in members {
            let name: Arc<str> = format!("{}:{}", group.name, member.name).into();
            if let Some(fault) = names::fault(&name) {
                self.errors.push(Diagnostic::error(format!("task name `{name}` {fault}")).at(group.place.clone()));
                break;
            }
            let mut constants = constants.clone();
            member.bindings.into_iter().for_each(|(variable, value)| constants[variable] = value);
            let mut task = task::empty(name.clone(), group.place.clone());
            task.group = Some(group.name.clone());
            let before = self.errors.len();
            task::fill(&mut task, defaults, entries, &mut self.cx(file, &constants, &format!("task `{name}`")));
            if self.errors.len() > before {
                break;
            }
            group.members.push(name);
            tasks.push(task);
        }
        self.fill_group(file, constants, &mut group, entries);
        self.taskfile.tasks.insert(position, group);
        self.taskfile.tasks.extend(tasks);
    }

    /// What a group itself has: words for people, and the params, which it hands to its members.
    fn fill_group(&mut self, file: &files::File, constants: &Json, group: &mut Task, entries: &[(Node, Node)]) {
        let of = format!("task `{}`", group.name);
        let quiet = &mut Errors::new();
        let mut cx = self.cx(file, constants, &of);
        // What is wrong with these was told for the first member.
        cx.errors = quiet;
        for (key, value) in entries {
            match key.key() {
                "doc" => group.doc = value.text().map(|doc| template::outline(doc.trim())).unwrap_or_default(),
                "params" => group.params = options::params(value, &mut cx),
                "pos_arg" => group.pos_arg = options::identifier(value, "pos_arg", &mut cx),
                "tags" => group.tags = cx.fixed_list(value, "tags", "a list of words"),
                _ => {}
            }
        }
    }

    fn finish(
        mut self,
        vars: &BTreeMap<usize, Vars>,
        sources: Vec<(String, crate::model::Digest)>,
    ) -> Result<Loaded, Diagnostics> {
        names::unique(&self.taskfile.tasks, &mut self.errors);
        names::resolve(&mut self.taskfile.tasks, &self.ranges);
        names::pools(&self.taskfile.tasks, &self.taskfile.pools, &mut self.errors);
        for own in vars.values() {
            for (name, value) in own {
                let text: Arc<str> = value.as_str().unwrap_or_default().into();
                self.taskfile.vars.entry(name.as_str().into()).or_insert(text);
            }
        }
        self.env_of_params();
        let warnings = self.errors.finish()?;
        Ok(Loaded { taskfile: self.taskfile, warnings, sources })
    }

    fn env_of_params(&mut self) {
        let mut names: Vec<Arc<str>> =
            self.taskfile.tasks.iter().flat_map(|task| &task.params).filter_map(|param| param.env.clone()).collect();
        names.append(&mut self.taskfile.env_read);
        names.sort();
        names.dedup();
        self.taskfile.env_read = names;
    }
}

/// Asks the caller for the images of the stack.
fn ask(world: &LoadWorld<'_>, stack: Option<&At<Arc<str>>>, node: &Node, cx: &mut Cx<'_>) -> Vec<ImageInfo> {
    let Some(stack) = stack else {
        let message = format!("`for_each` of {} is `image`, but the file has no `stack`", cx.of);
        cx.errors.push(
            Diagnostic::error(message)
                .at(node.place.clone())
                .help("name the spec of the stack: `stack: images/spec.yml`"),
        );
        return Vec::new();
    };
    match (world.images)(&stack.value) {
        Ok(images) => images,
        Err(errors) => {
            // What is wrong with the whole spec has no place in it.
            let placed =
                |error: Diagnostic| if error.places.is_empty() { error.at(stack.place.clone()) } else { error };
            cx.errors.extend(Diagnostics(errors.0.into_iter().map(placed).collect()));
            Vec::new()
        }
    }
}
