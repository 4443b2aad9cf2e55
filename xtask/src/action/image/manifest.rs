//! The action `image_manifest`: a page per image and plan with its layers and the output of its info commands, and the
//! tags that its taggers make of what is in it.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::build::{infra, published_tag};
use super::inside::Inside;
use super::platforms::{self, NO_RUNNER};
use super::services::{Services, whole};
use super::style::{Style, style};
use super::{image_of, leftovers, render};
use crate::action::{ActionType, Arguments, Call, Done, Failure};
use crate::docker::Docker;
use crate::graph::{Links, Need};
use crate::model::{Diagnostic, RepoPath, Stream};
use crate::stack::manifest::{InfoOutput, Layer, Rows, layer_table, page};
use crate::stack::sections::{self, BuildInfo, Section};
use crate::stack::wiki::web_url;
use crate::stack::{Graph, Image, InfoCmd, Stack, artifacts, taggers, tags};

pub(super) struct ImageManifest(pub(super) Arc<Services>);

impl ActionType for ImageManifest {
    fn name(&self) -> &'static str {
        "image_manifest"
    }

    fn arguments(&self) -> Arguments {
        Arguments { required: &["image"], optional: &["registry", "style"], short: Some("image") }
    }

    fn links(&self, args: &Value) -> Result<Links, Diagnostic> {
        let (stack, _) = self.0.stack().map_err(whole)?;
        let image = image_of(&stack, "image_manifest", args)?;
        style(args)?;
        Ok(Links {
            provides: vec![format!("manifest:{}", image.key).into()],
            needs: vec![Need { resource: format!("image:{}", image.key).into(), dirties: true }],
            inputs: RepoPath::from_root(&*stack.file).into_iter().collect(),
            ..Links::default()
        })
    }

    fn run(&self, call: &Call<'_>) -> Result<Done, Failure> {
        let (stack, graph) = self.0.stack().map_err(whole)?;
        let image = image_of(&stack, "image_manifest", call.args)?;
        let taggers = taggers::of(&stack, &graph, image);
        let docker = self.0.docker().map_err(Failure::error)?;
        let asks = graph.inherited(&stack, image, |one| &one.info_cmds).next().is_some();
        let is_told = asks || !taggers.is_empty();
        let none = Map::new();
        let built = call.resources.get(&*format!("image:{}", image.key));
        let plans = built.and_then(|values| values["plans"].as_object()).unwrap_or(&none);
        let (mut pages, mut given) = (Map::new(), Map::new());
        for plan in stack.plans_of(image) {
            let Some(id) = plans.get(&*plan.name).and_then(|values| values["id"].as_str()) else { continue };
            let runner = if is_told { platforms::runner(&self.0, plan)? } else { Some(platforms::home(&self.0)?) };
            let Some(runner) = runner else {
                platforms::tell(call, image, plan, "looked into", NO_RUNNER);
                continue;
            };
            leftovers::sweep(&self.0, &runner.docker);
            runner.fetch(&self.0, call, image, &plans[&*plan.name])?;
            let tag = published_tag(&self.0, &stack, image, plan)?;
            let tag = match &plan.foreign {
                Some(foreign) => tags::checked(tags::platform_tag(&tag, &foreign.platform))?,
                None => tag,
            };
            let reference = format!("{}:{tag}", tags::full_name(call.args["registry"].as_str(), image));
            let path = format!("manifests/{}", tags::manifest_file(&reference));
            let inside = Inside::of(call, &runner.docker, id);
            let said = match style(call.args)? {
                Style::Datahub => Said::Anything(outputs(&inside, &stack, image)?),
                Style::Jupyter => Said::Sections(sections_of(&inside, (&stack, &graph), image)?),
            };
            let found = found_tags(&inside, &taggers)?;
            drop(inside);
            let history = history(&docker, id, &reference)?;
            let layers = artifacts::artifact(&format!("layers-{}.json", tags::artifact_stem(&reference)));
            artifacts::store(call.root, &layers, artifacts::layers_json(&history))?;
            write(call.root, &path, &self.page(said, &reference, &history))?;
            call.out.line(Stream::Stdout, format!("wrote {path}").as_bytes());
            pages.insert(plan.name.to_string(), Value::from(path));
            if !taggers.is_empty() {
                let found = tags::in_plan_of(&stack, image, plan, &found)?;
                note_tags(call, image, &reference, &found)?;
                given.insert(plan.name.to_string(), found.into());
            }
        }
        let values = [("manifests", pages), ("tags", given)].into_iter().filter(|(_, map)| !map.is_empty());
        let values = values.map(|(name, map)| (name.to_owned(), Value::Object(map))).collect();
        Ok(Done { values, ..Done::default() })
    }
}

/// What the info commands said, in the order of the page.
enum Said {
    Anything(Vec<InfoOutput>),
    Sections(Vec<Section>),
}

impl ImageManifest {
    fn page(&self, said: Said, reference: &str, history: &[Layer]) -> String {
        let sections = match said {
            Said::Anything(outputs) => return page(&layer_table(history, Rows::All), &outputs),
            Said::Sections(sections) => sections,
        };
        let git = self.0.git();
        let info = BuildInfo {
            reference: reference.to_owned(),
            built: history.iter().map(|layer| layer.created).max().unwrap_or_default(),
            size: history.iter().map(|layer| layer.size).sum(),
            commit: git.head.map(|head| (head.hash, head.message)),
            web: git.remote.as_deref().and_then(web_url),
        };
        sections::page(&info, &sections)
    }
}

/// The output of each info command, those of the ancestors first. One of the image itself must say something; an
/// inherited one may speak of what is not here, and is then left out.
fn sections_of(inside: &Inside<'_>, (stack, graph): (&Stack, &Graph), image: &Image) -> Result<Vec<Section>, Failure> {
    let mut found = Vec::new();
    for (info, is_own) in sections::commands(stack, graph, image) {
        let output = inside.run(&info.command)?;
        let output = output.and_then(|text| match text.trim() {
            "" => Err("it says nothing".to_owned()),
            _ => Ok(text),
        });
        match output {
            Ok(output) => {
                found.push(Section { heading: info.description.clone(), command: info.command.clone(), output });
            }
            Err(cause) if is_own => {
                let message = format!("info command `{}` of image `{}` failed", info.command, image.key);
                return Err(Failure::failed(Diagnostic::error(message).at(info.place.clone()).cause(cause)));
            }
            Err(cause) => {
                let whose = "it is that of an image below, and is left out";
                inside.tell(&format!("info command `{}`: {cause}; {whose}", info.command));
            }
        }
    }
    Ok(found)
}

/// The output of each info command; one that fails says so on the page, and the others go on.
fn outputs(inside: &Inside<'_>, stack: &Stack, image: &Image) -> Result<Vec<InfoOutput>, Failure> {
    let commands = image.info_cmds.iter().filter_map(|name| stack.info_cmd(name));
    let run = |info: &InfoCmd| {
        let output = match inside.run(&info.command)? {
            Ok(output) => Some(output),
            Err(problem) => {
                inside.tell(&format!("info command `{}`: {problem}", info.command));
                None
            }
        };
        Ok(InfoOutput { description: info.description.clone(), output })
    };
    commands.map(run).collect()
}

/// The tags that the taggers make, in their order, each once. A tagger of the image itself must find what it looks for;
/// one of an ancestor may speak of something that is not here.
fn found_tags(inside: &Inside<'_>, taggers: &[taggers::Given<'_>]) -> Result<Vec<String>, Failure> {
    let mut found: Vec<String> = Vec::new();
    for given in taggers {
        let tagger = given.tagger;
        let made = match inside.run(&tagger.command)? {
            Ok(output) => taggers::tags(tagger, &output),
            Err(problem) => Err(Diagnostic::error(format!("tagger `{}` cannot run `{}`", tagger.name, tagger.command))
                .at(tagger.place.clone())
                .cause(problem)),
        };
        match made {
            Ok(tags) => found.extend(tags),
            Err(error) if given.is_own => return Err(Failure::failed(error)),
            Err(error) => inside.tell(&format!("{}; it is that of an image below, and is left out", error.message)),
        }
    }
    let mut seen = std::collections::HashSet::new();
    found.retain(|tag| seen.insert(tag.clone()));
    Ok(found)
}

/// Writes the full names, one per line, for those who come after.
fn note_tags(call: &Call<'_>, image: &Image, reference: &str, found: &[String]) -> Result<(), Failure> {
    let name = tags::full_name(call.args["registry"].as_str(), image);
    let lines: String = found.iter().map(|tag| format!("{name}:{tag}\n")).collect();
    let path = artifacts::artifact(&format!("tags-{}.txt", tags::artifact_stem(reference)));
    artifacts::store(call.root, &path, lines)?;
    call.out.line(Stream::Stdout, format!("tags {}", found.join(" ")).as_bytes());
    Ok(())
}

fn history(docker: &Docker, id: &str, reference: &str) -> Result<Vec<Layer>, Failure> {
    let layers = docker.history(id).map_err(infra)?;
    Ok(layers
        .into_iter()
        .enumerate()
        .map(|(index, layer)| Layer {
            created: layer.created,
            created_by: layer.created_by,
            id: layer.id.unwrap_or_default(),
            size: layer.size,
            tags: if index == 0 { vec![reference.to_owned()] } else { Vec::new() },
        })
        .collect())
}

fn write(root: &Path, path: &str, text: &str) -> Result<(), Failure> {
    render::write(&root.join(path), text)
        .map_err(|error| Failure::failed(Diagnostic::error(format!("failed to write file `{path}`")).cause(error)))
}
