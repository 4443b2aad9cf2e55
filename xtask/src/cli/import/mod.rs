//! `import`: tasks of doit, images of compose and bake files, as text of tasks.yaml or spec.yml. Writes no file; what
//! cannot be taken over is told, never guessed.

mod bake;
mod compose;
mod doit;
mod images;
#[cfg(test)]
mod tests;

use serde_json::Value;

use super::args::ImportArgs;
use crate::model::{Diagnostic, Diagnostics};
use crate::taskfile::yaml;
use crate::world::World;

/// What a file was turned into.
#[derive(Debug, Default)]
struct Imported {
    value: Value,
    /// What a person has to look at.
    open: Vec<Diagnostic>,
}

pub(super) fn import(args: &ImportArgs, world: &World) -> Result<u8, Diagnostics> {
    let name = &args.from;
    let bytes = std::fs::read(world.cwd.join(name))
        .map_err(|error| Diagnostic::error(format!("`{name}` cannot be read")).cause(error))?;
    let imported = imported(name, &bytes, &|name| world.var(name))?;
    world.out.line(yaml::write(&imported.value).trim_end());
    super::show(world, &Diagnostics(imported.open));
    Ok(0)
}

/// By the name of the file and what is in it.
fn imported(name: &str, bytes: &[u8], environment: &dyn Fn(&str) -> Option<String>) -> Result<Imported, Diagnostics> {
    if std::path::Path::new(name).extension().is_some_and(|kind| kind == "hcl") {
        return Ok(images::spec(bake::from_hcl(name, bytes, environment)?, "target"));
    }
    let json = serde_json::from_slice::<Value>(bytes);
    if let Ok(tasks @ Value::Array(_)) = &json {
        return Ok(doit::tasks(tasks));
    }
    let mut bytes = bytes.to_owned();
    if json.is_ok() {
        // YAML takes JSON but for its tabs, which are never within texts.
        bytes.iter_mut().filter(|byte| **byte == b'\t').for_each(|byte| *byte = b' ');
    }
    let node = yaml::parse(name, &bytes)?;
    if node.list().is_some() {
        return Ok(doit::tasks(&node.json()));
    }
    if node.get("services").is_some() {
        return Ok(images::spec(compose::read(&node, environment)?, "service"));
    }
    if node.get("target").is_some() {
        return Ok(images::spec(bake::from_json(&node, name, environment)?, "target"));
    }
    let error = Diagnostic::error(format!("`{name}` is no file that can be imported"));
    Err(error.note("known are a JSON list of doit's tasks, a compose file, and a bake file in HCL or JSON").into())
}
