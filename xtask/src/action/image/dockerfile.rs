//! The action `dockerfile`: writes a folder that any builder can take, with a Dockerfile made of macros and with what
//! they bring from elsewhere in the repository. Knows nothing of the stack.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::Value;

use super::services::Services;
use super::{identity, render, stage};
use crate::action::{ActionType, Arguments, Call, Done, Failure, Observed, text};
use crate::context::{Ignore, stage as put};
use crate::graph::Links;
use crate::model::context::ContextKind;
use crate::model::words::count;
use crate::model::{Context, ContextEntry, Diagnostic, Diagnostics, Digest, RepoPath, Stream};
use crate::rebuild::{Part, PartKey, PartValue};
use crate::render::brought::{self, Brought};
use crate::render::dockerfile::{BuildOptions, Dockerfile};
use crate::render::macros::{self, Macro};
use crate::store::STATE_DIR;

const FILE: &str = "Dockerfile";

pub(super) struct WriteDockerfile(pub(super) Arc<Services>);

/// The arguments, read.
struct Wanted<'a> {
    into: RepoPath,
    from: Option<&'a str>,
    /// The folder from which plain COPY lines take.
    context: Option<RepoPath>,
    macros: Vec<Macro>,
}

/// What will stand in the folder.
struct Folder {
    text: String,
    /// Where the text is kept, to be put into the folder with the rest.
    kept: PathBuf,
    context: Context,
}

impl<'a> Wanted<'a> {
    fn read(args: &'a Value) -> Result<Self, Diagnostic> {
        let folder = |name: &str| match RepoPath::from_root(text("dockerfile", args, name)?) {
            Some(path) if path.parent().is_some() => Ok(path),
            _ => Err(Diagnostic::error(format!("`{name}` of action `dockerfile` is not a folder below the root"))
                .help(format!("{name}: build/solver"))),
        };
        let named = |name: &str| args.get(name).is_some_and(|value| !value.is_null());
        let context = if named("context") { Some(folder("context")?) } else { None };
        let from = if named("from") { Some(text("dockerfile", args, "from")?) } else { None };
        Ok(Self { into: folder("into")?, from, context, macros: macros::read(&args["macros"])? })
    }
}

impl WriteDockerfile {
    fn folder(&self, wanted: &Wanted<'_>) -> Result<Folder, Failure> {
        let services = &*self.0;
        let rendered = macros::render(&services.root, wanted.from, &wanted.macros).map_err(Failure::error)?;
        refuse_itself(&wanted.into, &rendered.brought)?;
        let name = format!("{}/{FILE}", wanted.into);
        let dockerfile = Dockerfile::read(&name, &rendered.text, &BuildOptions::default()).map_err(first)?;
        if wanted.context.is_none() {
            refuse_foreign(&dockerfile)?;
        }
        // Without one, nothing is looked up in it.
        let dir = services.root.join(wanted.context.as_ref().unwrap_or(&wanted.into).as_path());
        let mut context = identity::listed(services, &name, (&dir, &dir.join(FILE)), &dockerfile)?;
        let text = brought::without(&rendered.text).to_owned();
        let kept = services.root.join(format!("{STATE_DIR}/render/_{}", Digest::of(wanted.into.as_bytes()).short()));
        let kept = kept.join(FILE);
        let digest = Digest::of(text.as_bytes());
        let kind = ContextKind::File { source: kept.clone(), digest, size: text.len() as u64, executable: false };
        let own = ContextEntry { path: FILE.as_bytes().to_vec(), kind };
        context.entries.retain(|entry| entry.path != own.path);
        let at =
            context.entries.partition_point(|entry| entry.path.split(|byte| *byte == b'/').next() < Some(&own.path));
        context.entries.insert(at, own);
        Ok(Folder { text, kept, context })
    }
}

/// What is written must not be brought into itself: it would grow with every run.
fn refuse_itself(into: &RepoPath, brought: &[Brought]) -> Result<(), Failure> {
    for one in brought {
        let Some(from) = RepoPath::from_root(&one.from) else { continue };
        let Ok(below) = into.as_path().strip_prefix(from.as_path()) else { continue };
        let rules = Ignore::parse(&one.from, one.exclude.join("\n").as_bytes()).map_err(first)?;
        if below.as_os_str().is_empty() || !rules.ignores(below.as_os_str().as_encoded_bytes()) {
            let problem = Diagnostic::error(format!("`{into}` would be brought into itself: it is in `{}`", one.from))
                .help(format!("exclude it: exclude: [\"{}\"], or write into another folder", below.display()));
            return Err(Failure::error(problem));
        }
    }
    Ok(())
}

/// Plain COPY lines need a folder that they take from.
fn refuse_foreign(dockerfile: &Dockerfile) -> Result<(), Failure> {
    let foreign = dockerfile.context.iter().find(|one| !one.pattern.starts_with(&format!("{}/", brought::FOLDER)));
    foreign.map_or(Ok(()), |one| {
        let problem = Diagnostic::error(format!("a macro copies `{}`, but no `context` says from where", one.pattern))
            .help("bring it from the repository with a macro `copy`, or name a folder: `context: images/solver`");
        Err(Failure::error(problem))
    })
}

fn first(problems: Diagnostics) -> Failure {
    let none = || Diagnostic::error("the Dockerfile cannot be read");
    Failure::error(problems.0.into_iter().next().unwrap_or_else(none))
}

impl ActionType for WriteDockerfile {
    fn name(&self) -> &'static str {
        "dockerfile"
    }

    fn arguments(&self) -> Arguments {
        Arguments { required: &["into", "macros"], optional: &["from", "context"], short: None }
    }

    fn links_are_constant(&self) -> bool {
        true
    }

    fn links(&self, args: &Value) -> Result<Links, Diagnostic> {
        let wanted = Wanted::read(args)?;
        let sources = wanted.macros.iter().filter_map(Macro::source).filter_map(RepoPath::from_root);
        Ok(Links {
            targets: vec![wanted.into],
            watch: sources.chain(wanted.context).collect(),
            observes: true,
            ..Links::default()
        })
    }

    fn observe(&self, call: &Call<'_>) -> Result<Observed, Failure> {
        let folder = self.folder(&Wanted::read(call.args)?)?;
        let value = PartValue::Digest(Digest::of(stage::listing(&folder.context).as_bytes()));
        let key = PartKey::Check("files in the context".into());
        Ok(Observed { parts: vec![Part { key, value }], ..Observed::default() })
    }

    fn run(&self, call: &Call<'_>) -> Result<Done, Failure> {
        let wanted = Wanted::read(call.args)?;
        let folder = self.folder(&wanted)?;
        let into = &wanted.into;
        render::write(&folder.kept, &folder.text)
            .map_err(|error| Diagnostic::error(format!("failed to write `{into}/{FILE}`")).cause(error))?;
        let staged = put(&folder.context, &call.root.join(into.as_path())).map_err(stage::refused)?;
        let line = format!("{} written to {into}, {} removed", count(staged.written as usize, "file"), staged.removed);
        call.out.line(Stream::Stdout, line.as_bytes());
        let same = staged.written == 0 && staged.removed == 0;
        Ok(Done {
            result: Some(Digest::of(stage::listing(&folder.context).as_bytes())),
            remark: same.then(|| "same files as before".to_owned()),
            ..Done::default()
        })
    }
}
