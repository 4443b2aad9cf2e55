//! `init`: a new repository with a first image, or what an existing one lacks. Never changes a file's own text, except
//! that it adds lines to `.gitignore`, `Cargo.toml` and `.cargo/config.toml`. Knows nothing of tasks or engines.

mod edit;

use std::path::{Path, PathBuf};

use super::args::InitArgs;
use crate::model::{Diagnostic, Diagnostics, ImageRef};
use crate::world::World;

/// What is written, relative to the root, with the text in which `@WORDS@` are replaced.
const STACK: &[(&str, &str)] = &[
    ("tasks.yaml", include_str!("files/tasks.yaml.in")),
    ("images/spec.yml", include_str!("files/spec.yml.in")),
    ("images/@IMAGE@/Dockerfile", include_str!("files/Dockerfile.in")),
    ("images/@IMAGE@/welcome.txt", "Welcome to @IMAGE@.\n"),
    ("images/@IMAGE@/test/test_@MODULE@.py", include_str!("files/test_image.py.in")),
];

const CRATE: &[(&str, &str)] = &[
    ("xtask/Cargo.toml", include_str!("files/crate.toml.in")),
    ("xtask/src/main.rs", include_str!("files/main.rs.in")),
];

const WORKSPACE: &str = include_str!("files/workspace.toml.in");
const ALIAS: &str = "xtask = \"run --quiet --package repo-xtask --\"";
const IGNORED: &[&str] = &["/target", "/.xtask", "/artifacts", "/logs", "/manifests", "/wiki", "__pycache__/"];

/// Makes what is missing in a folder.
///
/// # Errors
/// A name that cannot be used, a library that cannot be found, a folder that cannot be written.
pub(super) fn init(args: &InitArgs, world: &World) -> Result<u8, Diagnostics> {
    let root = world.cwd.join(args.dir.as_deref().unwrap_or("."));
    let words = Words::new(args, &root)?;
    let source = if args.no_crate { None } else { Some(source(args, world)?) };
    let mut plan = Vec::new();
    if !root.join("tasks.yaml").exists() {
        plan.extend(STACK.iter().map(|(name, text)| (words.fill(name), words.fill(text))));
        plan.extend(super::schema::files(world));
    }
    if let Some(source) = &source {
        plan.extend(CRATE.iter().map(|(name, text)| ((*name).to_owned(), text.replace("@SOURCE@", source))));
        let existing = std::fs::read_to_string(root.join("Cargo.toml")).ok();
        plan.push(("Cargo.toml".into(), existing.map_or_else(|| WORKSPACE.to_owned(), |text| edit::member(&text))));
        let config = std::fs::read_to_string(root.join(".cargo/config.toml")).unwrap_or_default();
        plan.push((".cargo/config.toml".into(), edit::alias(&config, ALIAS)));
    }
    let ignored = std::fs::read_to_string(root.join(".gitignore")).unwrap_or_default();
    plan.push((".gitignore".into(), edit::lines(&ignored, IGNORED)));
    let grows = ["Cargo.toml", ".cargo/config.toml", ".gitignore"];
    for (name, text) in &plan {
        let what = write(&root, name, text, grows.contains(&name.as_str()))?;
        world.err.line(&format!("{what:7} {name}"));
    }
    if args.git.is_none() && source.is_some() {
        world.err.line(
            "note: xtask/Cargo.toml names a folder of this machine; for others, name a repository there: \
             xtask = { git = \"URL\" }",
        );
    }
    let program = if source.is_some() { "cargo xtask" } else { "xtask" };
    let place = args.dir.as_deref().filter(|dir| *dir != ".");
    let place = place.map_or_else(String::new, |dir| format!("cd {dir} && "));
    world.err.line(&format!("next: {place}{program} build-stack --yes"));
    Ok(0)
}

/// Writes a file, or adds to one that may grow; says which.
fn write(root: &Path, name: &str, text: &str, grows: bool) -> Result<&'static str, Diagnostic> {
    let path = root.join(name);
    let failed =
        |error: std::io::Error| Diagnostic::error(format!("`{}` cannot be written", path.display())).cause(error);
    let what = match std::fs::read_to_string(&path) {
        Ok(found) if found == text || !grows => return Ok("kept"),
        Ok(_) => "changed",
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => "wrote",
        Err(error) => return Err(failed(error)),
    };
    std::fs::create_dir_all(path.parent().unwrap_or(root)).map_err(failed)?;
    std::fs::write(&path, text).map_err(failed)?;
    Ok(what)
}

/// What stands for the `@WORDS@` of the files.
struct Words {
    image: String,
    base: String,
    name: String,
}

impl Words {
    fn new(args: &InitArgs, root: &Path) -> Result<Self, Diagnostic> {
        let fine = |text: &str| {
            let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
            text.chars().all(|c| inner(c) || "-_.".contains(c))
                && text.starts_with(inner)
                && text.ends_with(inner)
                && ImageRef::parse(text).is_some()
        };
        let wrong = |option: &str, value: &str| {
            Diagnostic::error(format!("`{option} {value}` is no name of an image"))
                .note("it is made of small letters, digits and single `-`, `_` or `.` between them")
        };
        if !fine(&args.image) {
            return Err(wrong("--image", &args.image));
        }
        if let Some(name) = args.name.as_deref().filter(|name| !name.split('/').all(fine)) {
            return Err(wrong("--name", name));
        }
        if ImageRef::parse(&args.base).is_none() || args.base.contains('"') {
            return Err(Diagnostic::error(format!("`--base {}` is no reference of an image", args.base))
                .help("for example: cargo xtask init --base debian:bookworm-slim"));
        }
        let folder = std::path::absolute(root).ok().and_then(|path| Some(path.file_name()?.to_str()?.to_lowercase()));
        let name = args.name.clone().or(folder.filter(|name| fine(name))).unwrap_or_else(|| "lab".to_owned());
        Ok(Self { image: args.image.clone(), base: args.base.clone(), name })
    }

    fn fill(&self, text: &str) -> String {
        let module: String = self.image.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        text.replace("@IMAGE@", &self.image)
            .replace("@BASE@", &self.base)
            .replace("@NAME@", &self.name)
            .replace("@MODULE@", &module)
    }
}

/// Where the crate finds the library, as TOML: what was asked for, else the sources of this very program.
fn source(args: &InitArgs, world: &World) -> Result<String, Diagnostic> {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    if let Some(url) = &args.git {
        let rev = args.rev.as_ref().map_or_else(String::new, |rev| format!(", rev = {}", quoted(rev)));
        return Ok(format!("{{ git = {}{rev} }}", quoted(url)));
    }
    let path = match &args.path {
        Some(path) => world.cwd.join(path),
        None => PathBuf::from(env!("CARGO_MANIFEST_DIR")),
    };
    let is_library =
        std::fs::read_to_string(path.join("Cargo.toml")).is_ok_and(|text| text.contains("name = \"xtask\""));
    let path = path.canonicalize().unwrap_or(path);
    if !is_library {
        return Err(Diagnostic::error(format!("the library was not found in `{}`", path.display()))
            .note("the crate of the new repository depends on it")
            .help("name its repository: cargo xtask init --git URL (or --path DIR, or --no-crate)"));
    }
    Ok(format!("{{ path = {} }}", quoted(&path.to_string_lossy())))
}
