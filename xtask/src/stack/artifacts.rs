//! Files that a run leaves for people and for other programs: names and encodings. Writes them whole or not at all;
//! knows nothing of what is in them.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use serde_json::{Value, json};

use crate::model::{Diagnostic, RepoPath};
use crate::taskfile::yaml;

use super::manifest::Layer;

/// Folders that are kept although they are not tracked, each with a file `.empty`.
pub const FOLDERS: [&str; 4] = ["artifacts", "logs", "manifests", "wiki"];

/// The files in `artifacts/`. A list holds full references (or paths), one per line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Artifact {
    GitHash,
    GitHashShort,
    GitMessage,
    GitChangedFiles,
    /// Keys of the images that changed.
    ImagesChanged,
    ImagesBuilt,
    ImagesTestPassed,
    ImagesTestError,
    ImagesPushed,
    ImagesUntestedPushed,
    /// New names of what was tagged.
    ImagesTagged,
    /// Old names, in the same order.
    ImagesOriginal,
    ImagesGlobalStable,
    ImagesOriginalStable,
}

/// How an artifact is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// As it is.
    Text,
    /// One item per line, each with a newline.
    List,
}

impl Artifact {
    pub const ALL: [Self; 14] = [
        Self::GitHash,
        Self::GitHashShort,
        Self::GitMessage,
        Self::GitChangedFiles,
        Self::ImagesChanged,
        Self::ImagesBuilt,
        Self::ImagesTestPassed,
        Self::ImagesTestError,
        Self::ImagesPushed,
        Self::ImagesUntestedPushed,
        Self::ImagesTagged,
        Self::ImagesOriginal,
        Self::ImagesGlobalStable,
        Self::ImagesOriginalStable,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::GitHash => "GIT_HASH",
            Self::GitHashShort => "GIT_HASH_SHORT",
            Self::GitMessage => "GIT_MESSAGE",
            Self::GitChangedFiles => "GIT_CHANGED_FILES",
            Self::ImagesChanged => "IMAGES_CHANGED",
            Self::ImagesBuilt => "IMAGES_BUILT",
            Self::ImagesTestPassed => "IMAGES_TEST_PASSED",
            Self::ImagesTestError => "IMAGES_TEST_ERROR",
            Self::ImagesPushed => "IMAGES_PUSHED",
            Self::ImagesUntestedPushed => "IMAGES_UNTESTED_PUSHED",
            Self::ImagesTagged => "IMAGES_TAGGED",
            Self::ImagesOriginal => "IMAGES_ORIGINAL",
            Self::ImagesGlobalStable => "IMAGES_GLOBAL_STABLE",
            Self::ImagesOriginalStable => "IMAGES_ORIGINAL_STABLE",
        }
    }

    pub fn encoding(self) -> Encoding {
        match self {
            Self::GitHash | Self::GitHashShort | Self::GitMessage => Encoding::Text,
            _ => Encoding::List,
        }
    }

    /// Relative to the root.
    pub fn path(self) -> RepoPath {
        artifact(self.name())
    }

    /// The bytes of a list. An item is trimmed, as it has always been, and cannot hold a newline.
    pub fn list<S: AsRef<str>>(items: impl IntoIterator<Item = S>) -> String {
        items.into_iter().map(|item| item.as_ref().trim().replace('\n', " ") + "\n").collect()
    }

    /// The items of what was read: a text is one item, and a list of one is a list. The kind is known by the name,
    /// not guessed from the newlines.
    pub fn items(self, content: &str) -> Vec<String> {
        match self.encoding() {
            Encoding::Text => vec![content.to_owned()],
            Encoding::List => content.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect(),
        }
    }
}

/// A file in `artifacts/`, relative to the root.
pub fn artifact(name: &str) -> RepoPath {
    RepoPath::from_root(format!("artifacts/{name}")).unwrap_or_else(RepoPath::root)
}

/// The logs of one image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Log {
    Build,
    BasicTests,
    /// Beside the basic tests, not over them.
    IntegrationTests,
    /// Those that are in the image.
    WorkflowTests,
}

/// `logs/<name>.build.log` and the like, relative to the root; `name` is the image's key, or its full reference with
/// `/` and `:` as `-` where several plans are built.
pub fn log(name: &str, kind: Log) -> RepoPath {
    let kind = match kind {
        Log::Build => "build",
        Log::BasicTests => "basic-tests",
        Log::IntegrationTests => "integration-tests",
        Log::WorkflowTests => "workflow-tests",
    };
    let name = super::tags::artifact_stem(name);
    RepoPath::from_root(format!("logs/{name}.{kind}.log")).unwrap_or_else(RepoPath::root)
}

/// How one image fared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageResult {
    pub full_image_name: String,
    /// False as soon as anything went wrong, whatever it was.
    pub success: bool,
    /// For people.
    pub message: String,
    /// False for one that was up to date.
    pub image_built: bool,
    pub push_success: Option<bool>,
    pub push_log: String,
    pub basic_tests: TestResult,
    pub integration_tests: TestResult,
}

/// How one kind of tests ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TestResult {
    #[default]
    Skipped,
    Passed,
    Failed,
}

impl TestResult {
    fn text(self, kind: &str) -> String {
        match self {
            Self::Skipped => "skipped".to_owned(),
            Self::Passed => format!("Passed {kind}"),
            Self::Failed => format!("Failed {kind}"),
        }
    }
}

impl ImageResult {
    /// Clean YAML with sorted keys.
    pub fn yaml(&self) -> String {
        yaml::write(&json!({
            "container_details": {
                "image_built": self.image_built,
                "push_log": self.push_log,
                "push_success": self.push_success.unwrap_or(false),
            },
            "full_image_name": self.full_image_name,
            "message": self.message,
            "success": self.success,
            "test_results": {
                "basic_tests": self.basic_tests.text("basic tests"),
                "integration_tests": self.integration_tests.text("integration tests"),
            },
        }))
    }

    /// `artifacts/<full name with / and : as ->.yaml`, relative to the root.
    pub fn path(&self) -> RepoPath {
        artifact(&format!("{}.yaml", super::tags::artifact_stem(&self.full_image_name)))
    }
}

/// One step of a build, for `builder-metainfo.json`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BuildStep {
    pub command: String,
    /// Seconds since 1970.
    pub started: f64,
    pub finished: f64,
    pub logs: Vec<String>,
    /// Its result was there already.
    pub cached: bool,
    /// Of the layer, where the builder tells.
    pub id: Option<String>,
}

/// `builder-metainfo.json`: full reference to the steps of its build, so that two plans of one image stay apart.
pub fn builder_metainfo(builds: &BTreeMap<String, Vec<BuildStep>>) -> String {
    let step = |step: &BuildStep| {
        json!({
            "CMD": step.command, "START_T": step.started, "FINISH_T": step.finished, "LOGS": step.logs, "ID": step.id,
        })
    };
    let builds: serde_json::Map<String, Value> =
        builds.iter().map(|(image, steps)| (image.clone(), steps.iter().map(step).collect())).collect();
    pretty(&builds.into())
}

/// `layers-<image>.json`: command, created, size, duration (seconds since the layer below) and id, the oldest first.
/// `history` has the newest first.
pub fn layers_json(history: &[Layer]) -> String {
    let mut before = None;
    let layers: Vec<Value> = history
        .iter()
        .rev()
        .map(|layer| {
            let duration = before.map(|before| layer.created - before);
            before = Some(layer.created);
            let id = Some(&layer.id).filter(|id| id.starts_with("sha256:"));
            json!({
                "command": layer.created_by, "created": layer.created, "size": layer.size, "duration": duration, "id": id,
            })
        })
        .collect();
    pretty(&layers.into())
}

/// `image-dependency.json`: full reference to that of its parent.
pub fn dependency_json(dependencies: &[super::wiki::Dependency]) -> String {
    let map: serde_json::Map<String, Value> =
        dependencies.iter().map(|row| (row.image.clone(), json!(row.base))).collect();
    pretty(&map.into())
}

/// `image-dependency.csv`.
pub fn dependency_csv(dependencies: &[super::wiki::Dependency]) -> String {
    let rows: String = dependencies.iter().map(|row| format!("{},{}\n", row.image, row.base)).collect();
    format!("image,dep\n{rows}")
}

/// `build_history.json`: `<image><plan>` to the tag that was built.
pub fn build_history(tags: &[(String, String, String)]) -> String {
    let map: serde_json::Map<String, Value> =
        tags.iter().map(|(image, plan, tag)| (format!("{image}{plan}"), json!(tag))).collect();
    pretty(&map.into())
}

/// JSON with an indent of 2 and no final newline.
fn pretty(value: &Value) -> String {
    format!("{value:#}")
}

/// Makes the folders, each with its file `.empty`.
///
/// Errors: a folder cannot be made.
pub fn prepare(root: &Path) -> Result<(), Diagnostic> {
    for folder in FOLDERS {
        let path = root.join(folder);
        let made = std::fs::create_dir_all(&path).and_then(|()| {
            let marker = path.join(".empty");
            if marker.exists() { Ok(()) } else { std::fs::write(marker, "") }
        });
        made.map_err(|error| Diagnostic::error(format!("failed to make folder `{folder}`")).cause(error))?;
    }
    Ok(())
}

/// Writes a file below `root`, whole or not at all, and its folder if need be.
///
/// Errors: it cannot be written.
pub fn store(root: &Path, file: &RepoPath, content: impl AsRef<[u8]>) -> Result<(), Diagnostic> {
    use std::os::unix::fs::PermissionsExt;
    let failed = |error: std::io::Error| Diagnostic::error(format!("failed to write file `{file}`")).cause(error);
    let path = root.join(file.as_path());
    let dir = path.parent().unwrap_or(root);
    std::fs::create_dir_all(dir).map_err(failed)?;
    let mode = std::fs::Permissions::from_mode(0o644);
    let mut temp = tempfile::Builder::new().permissions(mode).tempfile_in(dir).map_err(failed)?;
    temp.write_all(content.as_ref()).map_err(failed)?;
    temp.persist(&path).map_err(|error| failed(error.error))?;
    Ok(())
}

/// Reads a list from `artifacts/`; an absent file is an empty list.
///
/// Errors: it cannot be read.
pub fn read(root: &Path, artifact: Artifact) -> Result<Vec<String>, Diagnostic> {
    let file = artifact.path();
    match std::fs::read_to_string(root.join(file.as_path())) {
        Ok(content) => Ok(artifact.items(&content)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(Diagnostic::error(format!("failed to read file `{file}`")).cause(error)),
    }
}

#[cfg(test)]
#[path = "artifacts_tests.rs"]
mod tests;
