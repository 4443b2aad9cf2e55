//! Delayed expansion: what a task printed, read as the members of a group. Knows nothing of when that happens.

use serde_json::json;

use super::cx::Cx;
use super::world::LoadWorld;
use super::{Errors, names, read, task, yaml};
use crate::model::task::{Task, Taskfile};
use crate::model::{Diagnostics, RepoPath};

/// The members of `group` (a task with `expand_after`) from what the other task printed: YAML or JSON, a map from
/// names to attributes as under `tasks`. Nothing printed is no members.
///
/// Paths are relative to the folder of the file that has the group. `taskfile` gives `vars` and `pools`; that no
/// other task has a member's name is for the graph to see.
pub fn members(
    group: &Task,
    output: &str,
    taskfile: &Taskfile,
    world: &LoadWorld<'_>,
) -> Result<Vec<Task>, Diagnostics> {
    if output.trim().is_empty() {
        return Ok(Vec::new());
    }
    let producer = group.expand_after.as_ref().map_or("a task", |task| &*task.value);
    let node = yaml::parse(&format!("output of {producer}"), output.as_bytes())?;
    let mut errors = Errors::new();
    let dir = RepoPath::from_root(&*group.place.file).and_then(|file| file.parent()).unwrap_or_else(RepoPath::root);
    let constants = json!({ "vars": taskfile.vars });
    let mut tasks = Vec::new();
    let of = format!("`{}`", node.place.file);
    for (key, value) in
        read::map(&node, read::Subject::new(&node.place.file, ""), "a map from names to tasks", &mut errors)
    {
        let name = format!("{}:{}", group.name, key.key());
        names::refuse(&name, &key.place, &[], &mut errors);
        let cx = &mut Cx {
            world,
            dir: &dir,
            constants: &constants,
            of: format!("task `{name}`"),
            used: Vec::new(),
            errors: &mut errors,
        };
        let mut member = task::empty(name.as_str().into(), key.place.clone());
        member.group = Some(group.name.clone());
        for attribute in ["for_each", "matrix", "expand_after"].iter().filter_map(|name| value.get(name)) {
            cx.error(&attribute.place, format!("task `{name}` of {of} would make members again"));
        }
        match value.map() {
            Some(entries) => task::fill(&mut member, &[], entries, cx),
            None => cx.wrong(value, key.key(), "a map of attributes"),
        }
        tasks.push(member);
    }
    names::pools(&tasks, &taskfile.pools, &mut errors);
    errors.finish()?;
    Ok(tasks)
}

#[cfg(test)]
mod tests {
    use super::super::testing::World;
    use super::*;

    fn expanded(output: &str) -> Result<Vec<Task>, String> {
        let world = World::of(
            "version: 1\nvars: {cc: gcc}\npools: {cpu: 2}\ntasks:\n  scan: {actions: [echo]}\n  obj: {expand_after: scan}\n",
        );
        let taskfile = world.load().unwrap().taskfile;
        let group = taskfile.tasks.iter().find(|task| &*task.name == "obj").unwrap().clone();
        world.with(|load_world| members(&group, output, &taskfile, load_world)).map_err(|errors| errors.to_string())
    }

    #[test]
    fn h01_members_are_read_from_yaml_and_json() {
        let found = expanded(
            "a:\n  file_dep: [a.c]\n  targets: [a.o]\n  actions: ['{{ vars.cc }} {{ file_dep }}']\n  pool: cpu\n",
        )
        .unwrap();
        assert_eq!((&*found[0].name, found[0].group.as_deref()), ("obj:a", Some("obj")));
        assert_eq!(&*found[0].file_dep[0].pattern, "a.c");
        let found = expanded(r#"{"b": {"actions": [["touch", "b"]]}, "c": {"task_dep": ["scan"]}}"#).unwrap();
        assert_eq!(found.iter().map(|task| &*task.name).collect::<Vec<_>>(), ["obj:b", "obj:c"]);
        assert!(expanded(" \n").unwrap().is_empty());
        assert!(expanded("{}").unwrap().is_empty());
    }

    #[test]
    fn h01_what_is_wrong_is_told_with_its_place() {
        let text =
            expanded("a: {actons: [x]}\nb: [1]\nc=d: {actions: [x], pool: gpu}\nd: {for_each: [1], actions: [x]}\n")
                .unwrap_err();
        for part in [
            "task `obj:a` has unknown field `actons`\n  --> output of scan:1:5",
            "`b` of task `obj:b` is a list, expected a map of attributes\n  --> output of scan:2:4",
            "task name `obj:c=d` holds `=`",
            "task `obj:c=d` has unknown pool `gpu`",
            "task `obj:d` of `output of scan` would make members again",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
        assert!(
            expanded("- a\n").unwrap_err().contains("`output of scan` is a list, expected a map from names to tasks")
        );
    }
}
