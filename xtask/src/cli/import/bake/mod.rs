//! A bake file as its targets, each with all of its fields: variables put in, functions called, `inherits` followed,
//! `matrix` spread out. Knows nothing of images and specs.

mod evaluate;
mod functions;
mod inline;
mod read;
mod targets;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use crate::model::{Diagnostic, Diagnostics, Place};

pub(super) use read::{from_hcl, from_json};

/// A value with the place where it stands.
#[derive(Clone, Debug)]
pub(super) struct Field {
    pub value: Value,
    pub place: Place,
}

/// What is built.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub name: String,
    pub place: Place,
    pub fields: BTreeMap<String, Field>,
}

/// Names under one name.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub name: String,
    pub place: Place,
    pub members: Vec<String>,
}

/// What a file says, in its order.
#[derive(Debug, Default)]
pub(super) struct Bake {
    pub targets: Vec<Target>,
    pub groups: Vec<Group>,
    /// What a person has to look at.
    pub open: Vec<Diagnostic>,
}

/// A field as it is written.
#[derive(Clone, Debug)]
struct Written {
    name: String,
    expression: hcl::edit::expr::Expression,
    place: Place,
}

/// A named block as it is written.
#[derive(Clone, Debug)]
struct Block {
    name: String,
    place: Place,
    fields: Vec<Written>,
}

/// A variable, or a field outside of all blocks.
#[derive(Clone, Debug)]
struct Variable {
    name: String,
    place: Place,
    expression: hcl::edit::expr::Expression,
    /// Whether the environment may give another value.
    is_open: bool,
}

/// A file as it is written.
#[derive(Debug)]
struct File {
    name: Arc<str>,
    variables: Vec<Variable>,
    functions: Vec<inline::Function>,
    targets: Vec<Block>,
    groups: Vec<Block>,
    open: Vec<Diagnostic>,
}

impl File {
    fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            variables: Vec::new(),
            functions: Vec::new(),
            targets: Vec::new(),
            groups: Vec::new(),
            open: Vec::new(),
        }
    }

    /// What it means. `environment` may replace the values of variables, as it does for bake.
    fn resolve(self, environment: &dyn Fn(&str) -> Option<String>) -> Result<Bake, Diagnostics> {
        let (scope, mut open) = evaluate::scope(&self, environment)?;
        let mut bake = targets::resolve(&self, &scope)?;
        open.splice(0..0, self.open);
        open.append(&mut bake.open);
        bake.open = open;
        Ok(bake)
    }
}

/// How to let bake itself evaluate what is not evaluated here.
fn by_bake(file: &str) -> String {
    format!("docker buildx bake --file {file} --print > bake.json && cargo xtask import bake.json")
}
