//! `schema`: what editors need to complete and check tasks.yaml and spec.yml. Knows nothing of what the schemas say.

use serde_json::Value;

use super::args::SchemaArgs;
use super::project;
use crate::model::{Diagnostic, Diagnostics};
use crate::world::World;

/// The files that `--write` makes, as the first lines of tasks.yaml and spec.yml name them.
const FILES: [&str; 2] = ["tasks.json", "spec.json"];

pub(super) fn schema(args: &SchemaArgs, world: &World) -> Result<u8, Diagnostics> {
    if let Some(dir) = &args.write {
        let folder = world.cwd.join(dir);
        let failed = |error| Diagnostic::error(format!("schemas cannot be written to `{dir}`")).cause(error);
        std::fs::create_dir_all(&folder).map_err(failed)?;
        for (name, schema) in FILES.iter().zip(both(world)) {
            std::fs::write(folder.join(name), pretty(&schema)).map_err(failed)?;
            world.err.line(&format!("wrote {}/{name}", dir.trim_end_matches('/')));
        }
        return Ok(0);
    }
    let schemas = both(world);
    let text = match args.of.as_str() {
        "reference" => super::reference::page(&schemas),
        "spec" => pretty(&schemas[1]),
        _ => pretty(&schemas[0]),
    };
    world.out.line(text.trim_end());
    Ok(0)
}

/// The files that the first lines of tasks.yaml and spec.yml name, with their texts.
pub(super) fn files(world: &World) -> Vec<(String, String)> {
    FILES.iter().zip(both(world)).map(|(name, schema)| (format!("schemas/{name}"), pretty(&schema))).collect()
}

/// Those of tasks.yaml and spec.yml.
fn both(world: &World) -> [Value; 2] {
    [project::schema(world), crate::stack::spec::schema()]
}

fn pretty(schema: &Value) -> String {
    format!("{schema:#}\n")
}
