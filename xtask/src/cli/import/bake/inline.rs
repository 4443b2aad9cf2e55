//! Functions that a bake file defines: each call becomes the function's result with its params put in. Evaluates
//! nothing.

use hcl::edit::expr::{Array, Expression, ForExpr, ForIntro, FuncCall, Traversal, TraversalOperator};
use hcl::edit::visit::{Visit, visit_expr};
use hcl::edit::visit_mut::{VisitMut, visit_expr_mut, visit_for_expr_mut};
use hcl::edit::{Decorated, Ident};

/// Calls within calls; a function that calls itself never ends.
const MAX_DEPTH: usize = 32;
/// Calls in one expression, with those within the functions.
const MAX_CALLS: usize = 10_000;
/// Holds the arguments while they are taken apart.
const ARGUMENTS: &str = "__arguments";

#[derive(Clone, Debug)]
pub(super) struct Function {
    pub name: String,
    pub params: Vec<String>,
    /// Takes all arguments behind those of `params`, as a list.
    pub rest: Option<String>,
    pub result: Expression,
}

/// Replaces all calls of these functions.
pub(super) fn inline(expression: &mut Expression, functions: &[Function]) -> Result<(), String> {
    let mut inliner = Inliner { functions, depth: 0, calls: 0, loops: Vec::new(), problem: None };
    inliner.visit_expr_mut(expression);
    inliner.problem.map_or(Ok(()), Err)
}

struct Inliner<'a> {
    functions: &'a [Function],
    depth: usize,
    calls: usize,
    /// Names that the loops around give.
    loops: Vec<String>,
    problem: Option<String>,
}

impl VisitMut for Inliner<'_> {
    fn visit_for_expr_mut(&mut self, node: &mut ForExpr) {
        let before = self.loops.len();
        self.loops.extend(node.intro.key_var.as_ref().map(ToString::to_string));
        self.loops.push(node.intro.value_var.to_string());
        visit_for_expr_mut(self, node);
        self.loops.truncate(before);
    }

    fn visit_expr_mut(&mut self, node: &mut Expression) {
        if self.problem.is_some() {
            return;
        }
        visit_expr_mut(self, node);
        let Expression::FuncCall(call) = &*node else { return };
        let name = call.name.name.as_str();
        let Some(function) = self.functions.iter().find(|function| !call.name.is_namespaced() && function.name == name)
        else {
            return;
        };
        self.calls += 1;
        if self.depth == MAX_DEPTH || self.calls > MAX_CALLS {
            self.problem = Some(format!("function `{name}` calls itself"));
            return;
        }
        // Where the call stands, such a name means something else than where the function stands.
        if let Some(name) = free(function).into_iter().find(|name| self.loops.contains(name)) {
            self.problem = Some(format!("function `{}` uses `{name}`, as a loop around its call does", function.name));
            return;
        }
        match called(function, call) {
            Ok(mut result) => {
                self.depth += 1;
                self.visit_expr_mut(&mut result);
                self.depth -= 1;
                *node = result;
            }
            Err(problem) => self.problem = Some(problem),
        }
    }
}

/// Names that a function's result takes from outside.
fn free(function: &Function) -> Vec<String> {
    struct Names(Vec<String>);
    impl Visit for Names {
        fn visit_expr(&mut self, node: &Expression) {
            self.0.extend(node.as_variable().map(ToString::to_string));
            visit_expr(self, node);
        }
    }
    let mut names = Names(Vec::new());
    names.visit_expr(&function.result);
    names.0.retain(|name| !function.params.contains(name) && function.rest.as_ref() != Some(name));
    names.0
}

/// A call as an expression without a call: a loop over one value gives that value a name.
fn called(function: &Function, call: &FuncCall) -> Result<Expression, String> {
    let (name, wanted, given) = (&function.name, function.params.len(), call.args.len());
    if call.args.expand_final() {
        return Err(format!("the call of function `{name}` expands its last argument with `...`"));
    }
    if given < wanted || (function.rest.is_none() && given > wanted) {
        return Err(format!("function `{name}` has {given} arguments, expected {wanted}"));
    }
    let arguments = || call.args.iter().cloned();
    let mut all: Array = arguments().take(wanted).collect();
    all.push(arguments().skip(wanted).collect::<Array>());
    let mut result = function.result.clone();
    let names = function.params.iter().map(Some).chain([function.rest.as_ref()]).enumerate();
    for (at, param) in names.filter_map(|(at, name)| Some((at, name?))) {
        result = named(param, index(variable(ARGUMENTS), at), result);
    }
    Ok(named(ARGUMENTS, all.into(), result))
}

/// `[for NAME in [VALUE] : BODY][0]`
fn named(name: &str, value: Expression, body: Expression) -> Expression {
    let intro = ForIntro::new(Ident::new(name), Array::from_iter([value]));
    index(Expression::ForExpr(Box::new(ForExpr::new(intro, body))), 0)
}

fn index(list: Expression, at: usize) -> Expression {
    let operator = TraversalOperator::Index(Expression::from(at as u64));
    Expression::Traversal(Box::new(Traversal::new(list, vec![Decorated::new(operator)])))
}

fn variable(name: &str) -> Expression {
    Expression::Variable(Decorated::new(Ident::new(name)))
}
