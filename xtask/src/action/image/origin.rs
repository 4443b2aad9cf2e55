//! Turns places in rendered Dockerfiles into those of the templates that they were rendered from: a person mends those.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::identity::{self, rendered_path, source_path};
use super::services::Services;
use crate::action::Failure;
use crate::model::{Diagnostic, Diagnostics, Place};
use crate::render::template::{self, Trace};
use crate::stack::{Image, Stack};

/// The same errors with the places of templates and macros; where nothing is known of a place it stays.
pub(super) fn at_source(services: &Services, stack: &Stack, mut problems: Diagnostics) -> Diagnostics {
    let mut traces = HashMap::new();
    for problem in &mut problems.0 {
        one(services, stack, problem, &mut traces);
    }
    problems
}

pub(super) fn failure(services: &Services, stack: &Stack, mut failure: Failure) -> Failure {
    one(services, stack, &mut failure.diagnostic, &mut HashMap::new());
    failure
}

fn one<'s>(
    services: &Services,
    stack: &'s Stack,
    problem: &mut Diagnostic,
    traces: &mut HashMap<&'s str, Option<Trace>>,
) {
    let mut rendered = Vec::new();
    let mut places = Vec::new();
    for (place, why) in std::mem::take(&mut problem.places) {
        let image = stack.images.iter().find(|image| place.line > 0 && *rendered_path(image).lossy() == *place.file);
        let trace =
            image.and_then(|image| traces.entry(&*image.key).or_insert_with(|| trace(services, stack, image)).as_ref());
        let Some((trace, found)) = trace.and_then(|trace| Some((trace, trace.source(place.line, place.column)?)))
        else {
            places.push((place, why));
            continue;
        };
        rendered.push(format!("rendered as `{place}`"));
        for (number, source) in found.into_iter().enumerate() {
            let why = if number == 0 { why.clone() } else { "used from here".to_owned() };
            places.push((with_column(&services.root, source, trace.line(place.line), place.column), why));
        }
    }
    problem.places = places;
    problem.notes.extend(rendered);
}

fn trace(services: &Services, stack: &Stack, image: &Image) -> Option<Trace> {
    let source = source_path(&services.root, image);
    let search = [PathBuf::from(stack.dir.as_path())];
    template::trace(&services.root, source.as_path(), &search, identity::template_values(services, stack, image))
}

/// The column of the rendered line where the template's line begins alike, else that of its first word.
fn with_column(root: &Path, place: Place, rendered: Option<&str>, column: u32) -> Place {
    let text = std::fs::read_to_string(root.join(&*place.file)).unwrap_or_default();
    let line = text.lines().nth(place.line.saturating_sub(1) as usize).unwrap_or_default();
    let before = |line: &str| line.chars().take(column.saturating_sub(1) as usize).collect::<String>();
    let is_alike = rendered.is_some_and(|rendered| before(rendered) == before(line));
    let first = line.chars().take_while(|c| c.is_whitespace()).count() as u32 + 1;
    Place::new(&place.file, place.line, if is_alike { column } else { first })
}
