//! Text of HCL or JSON to the blocks of a bake file, as they are written. Evaluates nothing.

use std::sync::Arc;

use hcl::edit::Span;
use hcl::edit::expr::Expression;
use hcl::edit::structure::{Block as HclBlock, Body, Structure};

use super::inline::Function;
use super::{Bake, Block, Field, File, Group, Target, Variable, Written, by_bake};
use crate::model::{Diagnostic, Diagnostics, Place, words};
use crate::taskfile::{Node, yaml};

const BLOCKS: [&str; 4] = ["variable", "function", "target", "group"];

/// Reads HCL.
pub(in super::super) fn from_hcl(
    name: &str,
    bytes: &[u8],
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Bake, Diagnostics> {
    let file: Arc<str> = name.into();
    let text = yaml::decode(&file, bytes)?;
    let body = hcl::edit::parser::parse_body(text).map_err(|error| {
        let at = error.location();
        Diagnostic::error(format!("`{name}` is not valid HCL: {}", error.message())).at(Place::new(
            name,
            at.line() as u32,
            at.column() as u32,
        ))
    })?;
    let mut reader = Reader { text, file: File::new(name), errors: Vec::new() };
    for structure in &body {
        match structure {
            // A field outside of blocks is a value that others may use.
            Structure::Attribute(attribute) => reader.file.variables.push(Variable {
                name: attribute.key.to_string(),
                place: reader.place(attribute.key.span()),
                expression: attribute.value.clone(),
                is_open: false,
            }),
            Structure::Block(block) => reader.block(block),
        }
    }
    if !reader.errors.is_empty() {
        return Err(Diagnostics(reader.errors));
    }
    reader.file.resolve(environment)
}

struct Reader<'a> {
    text: &'a str,
    file: File,
    errors: Vec<Diagnostic>,
}

impl Reader<'_> {
    fn place(&self, span: Option<std::ops::Range<usize>>) -> Place {
        yaml::place_of(&self.file.name, self.text.as_bytes(), span.map_or(0, |span| span.start))
    }

    fn block(&mut self, block: &HclBlock) {
        let kind = block.ident.as_str();
        let place = self.place(block.ident.span());
        if !BLOCKS.contains(&kind) {
            let error = Diagnostic::error(format!("block `{kind}` is unknown in a bake file")).at(place);
            self.errors.push(error.maybe_help(words::suggest("block", kind, &BLOCKS)));
            return;
        }
        let [label] = block.labels.as_slice() else {
            self.errors.push(Diagnostic::error(format!("block `{kind}` needs one name")).at(place));
            return;
        };
        let name = label.as_str().to_owned();
        match kind {
            "variable" => self.variable(name, place, &block.body),
            "function" => self.function(name, place, &block.body),
            _ => {
                let fields = self.fields(&format!("{kind} `{name}`"), &block.body);
                let block = Block { name, place, fields };
                if kind == "target" { self.file.targets.push(block) } else { self.file.groups.push(block) }
            }
        }
    }

    fn fields(&mut self, owner: &str, body: &Body) -> Vec<Written> {
        let mut fields = Vec::new();
        for structure in body {
            match structure {
                Structure::Attribute(attribute) => fields.push(Written {
                    name: attribute.key.to_string(),
                    place: self.place(attribute.key.span()),
                    expression: attribute.value.clone(),
                }),
                Structure::Block(block) => {
                    let message = format!("{owner} has a block `{}`, expected fields only", block.ident.as_str());
                    self.errors.push(
                        Diagnostic::error(message)
                            .at(self.place(block.ident.span()))
                            .help(format!("write `{} = {{ … }}`", block.ident.as_str())),
                    );
                }
            }
        }
        fields
    }

    fn variable(&mut self, name: String, place: Place, body: &Body) {
        for block in body.blocks() {
            let what = block.ident.as_str();
            let message = format!("`{what}` of variable `{name}` was left out");
            self.file.open.push(Diagnostic::warning(message).at(self.place(block.ident.span())));
        }
        let default = body.get_attribute("default").map(|attribute| attribute.value.clone());
        let expression = default.unwrap_or_else(Expression::null);
        self.file.variables.push(Variable { name, place, expression, is_open: true });
    }

    fn function(&mut self, name: String, place: Place, body: &Body) {
        let names = |field: &str| -> Vec<String> {
            let value = body.get_attribute(field).map(|attribute| &attribute.value);
            let one = value.and_then(Expression::as_variable).map(ToString::to_string);
            let list = value.and_then(Expression::as_array).into_iter().flatten();
            one.into_iter().chain(list.filter_map(|item| item.as_variable().map(ToString::to_string))).collect()
        };
        match body.get_attribute("result") {
            Some(result) => self.file.functions.push(Function {
                name,
                params: names("params"),
                rest: names("variadic_params").pop(),
                result: result.value.clone(),
            }),
            None => self.errors.push(Diagnostic::error(format!("function `{name}` has no `result`")).at(place)),
        }
    }
}

/// Reads JSON: what bake prints, or a file that a person wrote, in which texts are templates.
pub(in super::super) fn from_json(
    file: &Node,
    name: &str,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Bake, Diagnostics> {
    let targets = file.get("target").and_then(Node::map).unwrap_or_default();
    let is_open = |(_, target): &(Node, Node)| {
        ["inherits", "matrix", "name"].iter().any(|field| target.get(field).is_some_and(|node| !node.is_null()))
    };
    if file.get("function").is_some() {
        return Err(Diagnostic::error(format!("`{name}` defines functions in JSON, which are not read here"))
            .help(by_bake(name))
            .into());
    }
    if file.get("variable").is_some() || targets.iter().any(is_open) {
        return written(file, name)?.resolve(environment);
    }
    let mut bake = Bake::default();
    for (key, target) in targets {
        let fields = target.map().unwrap_or_default().iter().filter(|(_, node)| !node.is_null());
        let fields = fields
            .map(|(field, node)| (field.key().to_owned(), Field { value: node.json(), place: field.place.clone() }))
            .collect();
        bake.targets.push(Target { name: key.key().to_owned(), place: key.place.clone(), fields });
    }
    for (key, group) in file.get("group").and_then(Node::map).unwrap_or_default() {
        let members = group.get("targets").and_then(Node::list).unwrap_or_default();
        let members = members.iter().map(|node| node.key().to_owned()).collect();
        bake.groups.push(Group { name: key.key().to_owned(), place: key.place.clone(), members });
    }
    Ok(bake)
}

fn written(file: &Node, name: &str) -> Result<File, Diagnostics> {
    let mut read = File::new(name);
    let mut errors = Vec::new();
    for (key, node) in file.get("variable").and_then(Node::map).unwrap_or_default() {
        let expression = match node.get("default") {
            Some(node) => expression(node, &mut errors),
            None => Expression::null(),
        };
        let place = key.place.clone();
        read.variables.push(Variable { name: key.key().to_owned(), place, expression, is_open: true });
    }
    for (kind, blocks) in [("target", &mut read.targets), ("group", &mut read.groups)] {
        for (key, node) in file.get(kind).and_then(Node::map).unwrap_or_default() {
            let fields = node.map().unwrap_or_default().iter();
            let fields = fields.map(|(field, node)| Written {
                name: field.key().to_owned(),
                place: field.place.clone(),
                expression: expression(node, &mut errors),
            });
            blocks.push(Block { name: key.key().to_owned(), place: key.place.clone(), fields: fields.collect() });
        }
    }
    if errors.is_empty() { Ok(read) } else { Err(Diagnostics(errors)) }
}

/// A value of JSON as an expression: every text is a template.
fn expression(node: &Node, errors: &mut Vec<Diagnostic>) -> Expression {
    if let Some(items) = node.list() {
        return items.iter().map(|item| expression(item, errors)).collect::<hcl::edit::expr::Array>().into();
    }
    if let Some(entries) = node.map() {
        let entries = entries.iter().map(|(key, value)| {
            let key = hcl::edit::expr::ObjectKey::from(Expression::from(key.key()));
            (key, hcl::edit::expr::ObjectValue::from(expression(value, errors)))
        });
        return entries.collect::<hcl::edit::expr::Object>().into();
    }
    let Some(text) = node.text() else { return Expression::null() };
    if let Some(truth) = node.boolean() {
        return Expression::from(truth);
    }
    if let Some(number) = node.plain().and_then(|text| text.parse::<i64>().ok()) {
        return Expression::from(number);
    }
    if !text.contains("${") && !text.contains("%{") {
        return Expression::from(&**text);
    }
    match hcl::edit::parser::parse_template(text) {
        Ok(template) => Expression::StringTemplate(template.into_iter().collect()),
        Err(error) => {
            let message = format!("`{text}` is no template: {}", error.message());
            errors.push(Diagnostic::error(message).at(node.place.clone()));
            Expression::null()
        }
    }
}
