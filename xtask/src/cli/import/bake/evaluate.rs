//! Values of a bake file's expressions: its variables in an order in which each finds what it needs.

use hcl::edit::expr::Expression;
use hcl::eval::{Context, ErrorKind, Evaluate};
use hcl::{Identifier, Value};

use super::inline::{Function, inline};
use super::{File, Variable, by_bake, functions};
use crate::model::{Diagnostic, Diagnostics, Place, words};

/// What expressions may use.
pub(super) struct Scope {
    file: String,
    context: Context<'static>,
    names: Vec<String>,
    functions: Vec<Function>,
}

/// Why an expression has no value.
enum Problem {
    Undefined(String),
    Other(Diagnostic),
}

/// The scope of a whole file, and what has to be looked at.
pub(super) fn scope(
    file: &File,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<(Scope, Vec<Diagnostic>), Diagnostics> {
    let mut context = Context::new();
    functions::declare(&mut context);
    let mut scope =
        Scope { file: file.name.to_string(), context, names: Vec::new(), functions: file.functions.clone() };
    scope.declare("BAKE_CMD_CONTEXT", Value::from("cwd://"));
    let platform = if cfg!(target_arch = "aarch64") { "linux/arm64" } else { "linux/amd64" };
    scope.declare("BAKE_LOCAL_PLATFORM", Value::from(platform));
    let (mut open, mut errors) = (Vec::new(), Vec::new());
    let mut left: Vec<&Variable> = file.variables.iter().collect();
    while !left.is_empty() {
        let before = left.len();
        let names: Vec<String> = left.iter().map(|variable| variable.name.clone()).collect();
        left.retain(|variable| match scope.try_value(&what(variable), &variable.expression, &variable.place, &[]) {
            Ok(value) => {
                let given = variable.is_open.then(|| environment(&variable.name)).flatten();
                match given.map(|text| from_environment(variable, &value, &text)) {
                    Some(Ok((value, said))) => {
                        open.push(said);
                        scope.declare(&variable.name, value);
                    }
                    Some(Err(error)) => errors.push(error),
                    None => scope.declare(&variable.name, value),
                }
                false
            }
            Err(Problem::Undefined(name)) if names.contains(&name) => true,
            Err(problem) => {
                errors.push(scope.told(&what(variable), problem, &variable.place));
                scope.declare(&variable.name, Value::Null);
                false
            }
        });
        if left.len() == before {
            errors.push(cycle(&left));
            break;
        }
    }
    if errors.is_empty() { Ok((scope, open)) } else { Err(Diagnostics(errors)) }
}

fn what(variable: &Variable) -> String {
    format!("variable `{}`", variable.name)
}

fn cycle(left: &[&Variable]) -> Diagnostic {
    let names = words::list(left.iter().map(|variable| &variable.name));
    let error = Diagnostic::error(format!("variables need each other in a cycle: {names}"));
    left.iter().fold(error, |error, variable| error.at(variable.place.clone()))
}

/// The environment's text has the type of the default.
fn from_environment(variable: &Variable, default: &Value, text: &str) -> Result<(Value, Diagnostic), Diagnostic> {
    let name = &variable.name;
    let value = match default {
        Value::Null | Value::String(_) => Some(Value::from(text)),
        Value::Bool(_) => text.parse::<bool>().ok().map(Value::from),
        Value::Number(_) => {
            let whole = text.parse::<i64>().ok().map(Value::from);
            whole.or_else(|| text.parse::<f64>().ok().map(Value::from))
        }
        Value::Array(_) | Value::Object(_) => None,
    };
    let message = format!("variable `{name}` has its value from the environment");
    match value {
        Some(value) => Ok((value, Diagnostic::warning(message).at(variable.place.clone()))),
        None => Err(Diagnostic::error(format!("{message}, which is no value like its default"))
            .at(variable.place.clone())
            .help(format!("unset {name}"))),
    }
}

impl Scope {
    fn declare(&mut self, name: &str, value: Value) {
        self.names.push(name.to_owned());
        self.context.declare_var(Identifier::unchecked(name), value);
    }

    /// The value of an expression in which `more` is known, too. `what` names it in the error.
    pub(super) fn value(
        &self,
        what: &str,
        expression: &Expression,
        place: &Place,
        more: &[(String, Value)],
    ) -> Result<Value, Diagnostic> {
        self.try_value(what, expression, place, more).map_err(|problem| self.told(what, problem, place))
    }

    fn try_value(
        &self,
        what: &str,
        expression: &Expression,
        place: &Place,
        more: &[(String, Value)],
    ) -> Result<Value, Problem> {
        let cannot = |cause: String| {
            let error = Diagnostic::error(format!("{what} cannot be evaluated")).at(place.clone());
            Problem::Other(error.cause(cause))
        };
        let mut expression = expression.clone();
        inline(&mut expression, &self.functions).map_err(cannot)?;
        let mut context = self.context.clone();
        for (name, value) in more {
            context.declare_var(Identifier::unchecked(name.as_str()), value.clone());
        }
        hcl::Expression::from(expression).evaluate(&context).map_err(|error| match error.into_kind() {
            ErrorKind::UndefinedVar(name) => Problem::Undefined(name.to_string()),
            ErrorKind::UndefinedFunc(name) => Problem::Other(self.unknown_function(what, &name.to_string(), place)),
            other => cannot(other.to_string()),
        })
    }

    fn told(&self, what: &str, problem: Problem, place: &Place) -> Diagnostic {
        let name = match problem {
            Problem::Other(error) => return error,
            Problem::Undefined(name) => name,
        };
        let error = Diagnostic::error(format!("{what} uses undefined `{name}`")).at(place.clone());
        if ["target", "group", "variable"].contains(&name.as_str()) {
            return error.note("fields of other blocks are not looked up here").help(by_bake(&self.file));
        }
        let known: Vec<&str> = self.names.iter().map(String::as_str).collect();
        error.maybe_help(words::suggest("variable", &name, &known))
    }

    fn unknown_function(&self, what: &str, name: &str, place: &Place) -> Diagnostic {
        let error =
            Diagnostic::error(format!("{what} calls function `{name}`, which is not known here")).at(place.clone());
        let mut known: Vec<&str> = self.functions.iter().map(|function| function.name.as_str()).collect();
        for name in functions::names() {
            known.push(name);
        }
        match words::closest(name, known) {
            Some(close) => error.help(format!("a function with a similar name exists: `{close}`")),
            None => error.help(by_bake(&self.file)),
        }
    }
}
