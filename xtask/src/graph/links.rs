//! What built-in actions add to their task: inputs, targets, and resources that tie tasks together.
//!
//! Knows nothing of what a resource is: `image:base` is a name to it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::RepoPath;

/// What the actions of one task take and give, known from their arguments alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Links {
    /// Names that other tasks may need, e.g. `image:base`.
    pub provides: Vec<Arc<str>>,
    pub needs: Vec<Need>,
    /// Files and directories (recursive) read beside the declared `file_dep`; absent ones count as absent.
    pub inputs: Vec<RepoPath>,
    /// Files written beside the declared `targets`.
    pub targets: Vec<RepoPath>,
    /// Directories whose changes may matter though they are read only in part: for the watch.
    pub watch: Vec<RepoPath>,
    /// The actions look at the outside world before the verdict.
    pub observes: bool,
}

/// One resource that is needed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Need {
    pub resource: Arc<str>,
    /// Another result of the provider makes the task run.
    pub dirties: bool,
}

impl Links {
    /// Adds the links of one more action of the same task.
    pub fn merge(&mut self, other: Self) {
        self.provides.extend(other.provides);
        self.needs.extend(other.needs);
        self.inputs.extend(other.inputs);
        self.targets.extend(other.targets);
        self.watch.extend(other.watch);
        self.observes |= other.observes;
    }
}
