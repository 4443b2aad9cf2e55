//! The action `image_manifest`: a page per image and plan with its layers and the output of its info commands.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use super::build::{infra, published_tag};
use super::services::{Services, whole};
use super::{image_of, leftovers, published, render};
use crate::action::{ActionType, Arguments, Call, Done, Failure};
use crate::docker::{ContainerSpec, Docker, DockerError, ExecSpec};
use crate::graph::{Links, Need};
use crate::model::{Diagnostic, RepoPath, Stream};
use crate::stack::manifest::{InfoOutput, Layer, Rows, layer_table, page};
use crate::stack::{Image, Stack, artifacts, tags};

pub(super) struct ImageManifest(pub(super) Arc<Services>);

/// How long one info command may take.
const LIMIT: Duration = Duration::from_mins(2);

impl ActionType for ImageManifest {
    fn name(&self) -> &'static str {
        "image_manifest"
    }

    fn arguments(&self) -> Arguments {
        Arguments { required: &["image"], optional: &["registry"], short: Some("image") }
    }

    fn links(&self, args: &Value) -> Result<Links, Diagnostic> {
        let (stack, _) = self.0.stack().map_err(whole)?;
        let image = image_of(&stack, "image_manifest", args)?;
        Ok(Links {
            provides: vec![format!("manifest:{}", image.key).into()],
            needs: vec![Need { resource: format!("image:{}", image.key).into(), dirties: true }],
            inputs: RepoPath::from_root(&*stack.file).into_iter().collect(),
            ..Links::default()
        })
    }

    fn run(&self, call: &Call<'_>) -> Result<Done, Failure> {
        let (stack, _) = self.0.stack().map_err(whole)?;
        let image = image_of(&stack, "image_manifest", call.args)?;
        let docker = self.0.docker().map_err(Failure::error)?;
        leftovers::sweep(&self.0, &docker);
        let none = Map::new();
        let built = call.resources.get(&*format!("image:{}", image.key));
        let plans = built.and_then(|values| values["plans"].as_object()).unwrap_or(&none);
        let mut pages = Map::new();
        for plan in stack.plans.iter().filter(|plan| image.is_in(&plan.name)) {
            let Some(id) = plans.get(&*plan.name).and_then(|values| values["id"].as_str()) else { continue };
            published::fetch_built(&self.0, call, image, &plans[&*plan.name])?;
            let tag = published_tag(&self.0, &stack, image, plan)?;
            let reference = format!("{}:{tag}", tags::full_name(call.args["registry"].as_str(), image));
            let path = format!("manifests/{}", tags::manifest_file(&reference));
            let outputs = outputs(call, &docker, &stack, image, id)?;
            let history = history(&docker, id, &reference)?;
            let layers = artifacts::artifact(&format!("layers-{}.json", tags::artifact_stem(&reference)));
            artifacts::store(call.root, &layers, artifacts::layers_json(&history))?;
            write(call.root, &path, &page(&layer_table(&history, Rows::All), &outputs))?;
            call.out.line(Stream::Stdout, format!("wrote {path}").as_bytes());
            pages.insert(plan.name.to_string(), Value::from(path));
        }
        Ok(Done { values: Map::from_iter([("manifests".to_owned(), Value::Object(pages))]), ..Done::default() })
    }
}

/// Runs the info commands in one idle container; one that fails says so on the page, and the others go on. An image in
/// which nothing can idle gets a container per command.
fn outputs(
    call: &Call<'_>,
    docker: &Docker,
    stack: &Stack,
    image: &Image,
    id: &str,
) -> Result<Vec<InfoOutput>, Failure> {
    let commands: Vec<_> = image.info_cmds.iter().filter_map(|name| stack.info_cmd(name)).collect();
    if commands.is_empty() {
        return Ok(Vec::new());
    }
    // Without an init, the start itself fails where there is no `sleep`.
    let idle = ContainerSpec { command: vec!["infinity".into()], init: false, ..container(call, id, "sleep") };
    let idle = docker.create(&idle).map_err(infra)?;
    let is_idle = docker.start(&idle).is_ok();
    let run = |command: &str| {
        if is_idle { run_info(call, docker, &idle, command) } else { run_alone(call, docker, id, command) }
    };
    let outputs = commands
        .iter()
        .map(|info| Ok(InfoOutput { description: info.description.clone(), output: run(&info.command)? }));
    let outputs = outputs.collect();
    // Whatever happened: it is ours, and nobody else needs it.
    let _ = docker.remove(&idle);
    outputs
}

fn container(call: &Call<'_>, id: &str, program: &str) -> ContainerSpec {
    ContainerSpec {
        image: id.to_owned(),
        entrypoint: Some(vec![program.to_owned()]),
        network: Some("none".into()),
        labels: leftovers::labels(call),
        timeout: Some(LIMIT),
        ..ContainerSpec::default()
    }
}

fn words_of(command: &str) -> Result<Vec<String>, Failure> {
    let open = || Failure::failed(Diagnostic::error(format!("info command `{command}` has an open quote")));
    shlex::split(command).filter(|words| !words.is_empty()).ok_or_else(open)
}

/// The output of one command in a container of its own.
fn run_alone(call: &Call<'_>, docker: &Docker, id: &str, command: &str) -> Result<Option<String>, Failure> {
    let mut words = words_of(command)?.into_iter();
    let program = words.next().unwrap_or_default();
    let spec = ContainerSpec { command: words.collect(), ..container(call, id, &program) };
    let mut output = Vec::new();
    let mut keep = |stream: Stream, bytes: &[u8]| {
        if stream == Stream::Stdout {
            output.extend_from_slice(bytes);
        }
    };
    let problem = match docker.run(&spec, &mut keep, call.stop) {
        Ok(exit) if exit.code == 0 && !exit.timed_out => {
            return Ok(Some(String::from_utf8_lossy(&output).into_owned()));
        }
        Ok(exit) => format!("exited with code {}", exit.code),
        Err(DockerError::Cancelled) => return Err(infra(DockerError::Cancelled)),
        // It cannot be started, e.g. because there is no such program.
        Err(error) => error.to_string(),
    };
    call.out.line(Stream::Stderr, format!("info command `{command}`: {problem}").as_bytes());
    Ok(None)
}

/// The output of one command; `None` if it failed.
fn run_info(call: &Call<'_>, docker: &Docker, container: &str, command: &str) -> Result<Option<String>, Failure> {
    let spec = ExecSpec { command: words_of(command)?, timeout: Some(LIMIT), ..ExecSpec::default() };
    let mut output = Vec::new();
    let code = docker.exec(
        container,
        &spec,
        &mut |stream, bytes| {
            if stream == Stream::Stdout {
                output.extend_from_slice(bytes);
            }
        },
        call.stop,
    );
    match code {
        Ok(0) => Ok(Some(String::from_utf8_lossy(&output).into_owned())),
        Ok(code) => {
            call.out.line(Stream::Stderr, format!("info command `{command}` exited with code {code}").as_bytes());
            Ok(None)
        }
        Err(error) => Err(infra(error)),
    }
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
