//! The action `image_manifest`: a page per image and plan with its layers and the output of its info commands.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use super::build::{infra, published_tag};
use super::services::{Services, whole};
use super::{image_of, render};
use crate::action::{ActionType, Arguments, Call, Done, Failure};
use crate::docker::{ContainerSpec, Docker, ExecSpec};
use crate::graph::{Links, Need};
use crate::model::{Diagnostic, RepoPath, Stream};
use crate::stack::manifest::{InfoOutput, Layer, Rows, layer_table, page};
use crate::stack::{Image, Stack, tags};

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
        let none = Map::new();
        let built = call.resources.get(&*format!("image:{}", image.key));
        let plans = built.and_then(|values| values["plans"].as_object()).unwrap_or(&none);
        let mut pages = Map::new();
        for plan in stack.plans.iter().filter(|plan| image.is_in(&plan.name)) {
            let Some(id) = plans.get(&*plan.name).and_then(|values| values["id"].as_str()) else { continue };
            let tag = published_tag(&self.0, &stack, image, plan)?;
            let reference = format!("{}:{tag}", tags::full_name(call.args["registry"].as_str(), image));
            let path = format!("manifests/{}", tags::manifest_file(&reference));
            let outputs = outputs(call, &docker, &stack, image, id)?;
            let history = history(&docker, id, &reference)?;
            write(call.root, &path, &page(&layer_table(&history, Rows::All), &outputs))?;
            call.out.line(Stream::Stdout, format!("wrote {path}").as_bytes());
            pages.insert(plan.name.to_string(), Value::from(path));
        }
        Ok(Done { values: Map::from_iter([("manifests".to_owned(), Value::Object(pages))]), ..Done::default() })
    }
}

/// Runs the info commands in one idle container; one that fails says so on the page, and the others go on.
fn outputs(
    call: &Call<'_>,
    docker: &Docker,
    stack: &Stack,
    image: &Image,
    id: &str,
) -> Result<Vec<InfoOutput>, Failure> {
    let spec = ContainerSpec {
        image: id.to_owned(),
        entrypoint: Some(vec!["sleep".into()]),
        command: vec!["infinity".into()],
        network: Some("none".into()),
        labels: [("dev.xtask.run".to_owned(), format!("{}-{}", std::process::id(), call.task))].into(),
        ..ContainerSpec::default()
    };
    let container = docker.create(&spec).map_err(infra)?;
    let result = docker.start(&container).map_err(infra).and_then(|()| {
        let mut outputs = Vec::new();
        for info in image.info_cmds.iter().filter_map(|name| stack.info_cmd(name)) {
            let output = run_info(call, docker, &container, &info.command)?;
            outputs.push(InfoOutput { description: info.description.clone(), output });
        }
        Ok(outputs)
    });
    // Whatever happened: it is ours, and nobody else needs it.
    let _ = docker.remove(&container);
    result
}

/// The output of one command; `None` if it failed.
fn run_info(call: &Call<'_>, docker: &Docker, container: &str, command: &str) -> Result<Option<String>, Failure> {
    let Some(words) = shlex::split(command) else {
        return Err(Failure::failed(Diagnostic::error(format!("info command `{command}` has an open quote"))));
    };
    let spec = ExecSpec { command: words, timeout: Some(LIMIT), ..ExecSpec::default() };
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
