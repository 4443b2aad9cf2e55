//! The edges between the images: FROM lines reconciled with depend_on. Knows no Dockerfile syntax: the caller says
//! which images a Dockerfile mentions.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::model::task::At;
use crate::model::{Diagnostic, Diagnostics, ImageRef, Place, words};

use super::order;
use super::spec::{cycle_error, parent_indices};
use super::tags::full_name;
use super::types::{Form, Image, Plan, Stack};

/// A mention of an image in a Dockerfile: `FROM`, `COPY --from`, `RUN --mount=from=`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mention {
    /// With variables resolved for the plan.
    pub reference: String,
    pub place: Place,
}

/// A mention whose meaning is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Use {
    pub reference: String,
    pub place: Place,
    pub source: Source,
}

/// What a reference stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// An image of the stack, by its index in `Stack::images`.
    Image(usize),
    /// An image from outside.
    Outside,
}

/// The edges of a stack. Images are indices into `Stack::images`, in which parents come first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Graph {
    parents: Vec<Vec<usize>>,
    children: Vec<Vec<usize>>,
    /// By image and by place in `Stack::all_plans`.
    uses: BTreeMap<(usize, usize), Vec<Use>>,
}

/// Completes `depend_on` from the Dockerfiles, sorts the images again and gives the edges.
///
/// `registry` is the one under which the stack is published, `mentions` says which images a Dockerfile needs in a
/// plan (without `scratch` and its own stages).
///
/// Errors: those of `mentions`, each once; depend_on and FROM lines that do not agree; a FROM line with a name of the
/// stack that no image has; a parent that is not built for the plan; cycles.
pub fn resolve(
    mut stack: Stack,
    registry: Option<&str>,
    mut mentions: impl FnMut(&Image, &Plan) -> Result<Vec<Mention>, Diagnostics>,
) -> Result<(Stack, Graph), Diagnostics> {
    let mut errors = Vec::new();
    let mut uses: BTreeMap<(usize, usize), Vec<Use>> = BTreeMap::new();
    let mut unread = BTreeSet::new();
    let names = Names::new(&stack, registry);
    for (at, image) in stack.images.iter().enumerate() {
        for (plan_at, plan) in stack.all_plans().enumerate().filter(|(_, plan)| image.is_in(&plan.name)) {
            match mentions(image, plan) {
                Ok(found) => {
                    let known = |mention| use_of(&stack, &names, image, mention, &mut errors);
                    uses.insert((at, plan_at), found.into_iter().filter_map(known).collect());
                }
                Err(found) => {
                    unread.insert(at);
                    errors.extend(found.0);
                }
            }
        }
    }
    for (at, image) in stack.images.iter().enumerate().filter(|(at, _)| !unread.contains(at)) {
        let own: Vec<&Use> = uses.range((at, 0)..=(at, usize::MAX)).flat_map(|(_, uses)| uses).collect();
        agree(&stack, image, &own, &mut errors);
    }
    skipped_parents(&stack, &uses, &mut errors);
    complete(&mut stack, &uses);
    let parents = parent_indices(&stack);
    match order::topological(&parents) {
        Ok(order) if errors.is_empty() => Ok(sorted(stack, &order, &uses)),
        Ok(_) => Err(all(errors)),
        Err(cycles) => {
            errors.extend(cycles.iter().map(|cycle| cycle_error(&stack.images, cycle)));
            Err(all(errors))
        }
    }
}

/// Each error once: a Dockerfile is read for every plan.
fn all(errors: Vec<Diagnostic>) -> Diagnostics {
    let mut once: Vec<Diagnostic> = Vec::with_capacity(errors.len());
    for error in errors {
        if !once.contains(&error) {
            once.push(error);
        }
    }
    Diagnostics(once)
}

/// What a mention stands for; `None` where that is an error, which is reported.
fn use_of(
    stack: &Stack,
    names: &Names<'_>,
    image: &Image,
    mention: Mention,
    errors: &mut Vec<Diagnostic>,
) -> Option<Use> {
    let found = |source| Some(Use { reference: mention.reference.clone(), place: mention.place.clone(), source });
    let Some(parsed) = ImageRef::parse(&mention.reference) else {
        let message =
            format!("image `{}` is built from `{}`, which is no image reference", image.key, mention.reference);
        errors.push(Diagnostic::error(message).at(mention.place));
        return None;
    };
    // Whoever writes a digest means just that image.
    if parsed.digest.is_some() || stack.bases.iter().any(|base| base.reference == mention.reference) {
        return found(Source::Outside);
    }
    if let Some(at) = image_of(stack, names, image, &parsed) {
        return found(Source::Image(at));
    }
    if parsed.name.rsplit_once('/').is_some_and(|(space, _)| names.spaces.contains(space)) {
        errors.push(missing_parent(stack, image, &parsed.name, mention.place));
        return None;
    }
    found(Source::Outside)
}

/// Every name that an image of the stack may be mentioned by.
struct Names<'a> {
    /// Its image_name, its name in the registry, its key; several images where they are variants of one.
    images: HashMap<Cow<'a, str>, Vec<usize>>,
    /// What stands before the last `/` of the names that are ours.
    spaces: BTreeSet<&'a str>,
}

impl<'a> Names<'a> {
    fn new(stack: &'a Stack, registry: Option<&'a str>) -> Self {
        let mut images: HashMap<Cow<'a, str>, Vec<usize>> = HashMap::new();
        let mut add = |name: Cow<'a, str>, at: usize| {
            let known = images.entry(name).or_default();
            if !known.contains(&at) {
                known.push(at);
            }
        };
        for (at, image) in stack.images.iter().enumerate() {
            add(Cow::Borrowed(&image.image_name), at);
            if registry.is_some() {
                add(Cow::Owned(full_name(registry, image)), at);
            }
        }
        // A key is a name too, unless it is the name of something else.
        for (at, image) in stack.images.iter().enumerate() {
            images.entry(Cow::Borrowed(&image.key)).or_insert_with(|| vec![at]);
        }
        let own = stack.images.iter().filter_map(|image| Some(image.image_name.rsplit_once('/')?.0));
        Self { images, spaces: own.chain(registry).collect() }
    }
}

/// The image of the stack that a reference names.
fn image_of(stack: &Stack, names: &Names<'_>, image: &Image, reference: &ImageRef) -> Option<usize> {
    if let Some(named) = names.images.get(reference.name.as_str()) {
        return Some(variant_of(stack, named, reference.tag.as_deref().unwrap_or_default()));
    }
    // The older programs took the name from the key, whatever the file said.
    if !matches!(stack.form, Form::Tag | Form::Plans) {
        return None;
    }
    let last = |name: &'_ str| name.rsplit('/').next().unwrap_or_default().to_owned();
    let wanted = last(&reference.name);
    let fits = |other: &&Image| *other.key == *wanted || last(&other.image_name) == wanted;
    let parent = image.depend_on.iter().filter_map(|parent| stack.image(&parent.value)).find(fits)?;
    stack.images.iter().position(|other| other.key == parent.key)
}

/// Which of several images of one repository a tag means: the variant that leads it, else the one without.
fn variant_of(stack: &Stack, named: &[usize], tag: &str) -> usize {
    let leads = |at: &&usize| match &stack.images[**at].variant {
        Some(variant) => {
            tag.strip_prefix(variant.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
        }
        None => false,
    };
    let plain = |at: &&usize| stack.images[**at].variant.is_none();
    // A name is only known with an image, so there is a first one.
    named.iter().find(leads).or_else(|| named.iter().find(plain)).copied().unwrap_or(named[0])
}

fn missing_parent(stack: &Stack, image: &Image, name: &str, place: Place) -> Diagnostic {
    let names: Vec<&str> = stack.images.iter().map(|image| image.image_name.as_str()).collect();
    let error =
        Diagnostic::error(format!("image `{}` is built from `{name}`, which no image of the stack makes", image.key))
            .at(place);
    match words::suggest("image", name, &names) {
        Some(help) => error.help(help),
        None => error.help(format!("if it comes from outside, add `{name}` with its tag to `bases` of {}", stack.file)),
    }
}

/// An image whose depend_on is given must be built from just those images.
fn agree(stack: &Stack, image: &Image, uses: &[&Use], errors: &mut Vec<Diagnostic>) {
    let from =
        |key: &str| uses.iter().find(|used| matches!(used.source, Source::Image(at) if *stack.images[at].key == *key));
    for parent in &image.depend_on {
        if from(&parent.value).is_some() {
            continue;
        }
        let Some(named) = stack.image(&parent.value) else { continue };
        let mut error = Diagnostic::error(format!(
            "image `{}` has depend_on `{}`, but its Dockerfile is not built from `{}`",
            image.key, parent.value, named.image_name
        ))
        .at_because(parent.place.clone(), "depend_on");
        let mut shown = BTreeSet::new();
        for used in uses.iter().filter(|used| shown.insert(used.place.clone())) {
            error = error.at_because(used.place.clone(), format!("built from `{}`", used.reference));
        }
        errors.push(error);
    }
    let Some(first) = image.depend_on.first() else { return };
    for used in uses {
        let Source::Image(at) = used.source else { continue };
        let key = &stack.images[at].key;
        if image.depend_on.iter().all(|parent| parent.value != *key) {
            errors.push(
                Diagnostic::error(format!(
                    "image `{}` is built from `{key}`, which its depend_on does not name",
                    image.key
                ))
                .at_because(used.place.clone(), format!("built from `{}`", used.reference))
                .at_because(first.place.clone(), "depend_on")
                .help(format!("add `{key}` to depend_on of image `{}`", image.key)),
            );
        }
    }
}

fn skipped_parents(stack: &Stack, uses: &BTreeMap<(usize, usize), Vec<Use>>, errors: &mut Vec<Diagnostic>) {
    for ((child, plan), used) in uses.iter().flat_map(|(key, uses)| uses.iter().map(move |used| (*key, used))) {
        // Of what an image is for other platforms, its parents may be made for none: that is said where it is built.
        let (Source::Image(parent), Some(plan)) = (used.source, stack.plans.get(plan).map(|plan| &plan.name)) else {
            continue;
        };
        let (child, parent) = (&stack.images[child], &stack.images[parent]);
        if !parent.is_in(plan) {
            errors.push(
                Diagnostic::error(format!(
                    "image `{}` is built for plan `{plan}`, but its parent `{}` skips that plan",
                    child.key, parent.key
                ))
                .at(child.place.clone())
                .at_because(parent.place.clone(), format!("skip_plans has `{plan}`"))
                .help(format!("add `{plan}` to skip_plans of image `{}`", child.key)),
            );
        }
    }
}

/// Adds the edges that only the Dockerfiles know.
fn complete(stack: &mut Stack, uses: &BTreeMap<(usize, usize), Vec<Use>>) {
    for ((child, _), used) in uses.iter().flat_map(|(key, uses)| uses.iter().map(move |used| (*key, used))) {
        let Source::Image(parent) = used.source else { continue };
        let key = stack.images[parent].key.clone();
        let known = &mut stack.images[child].depend_on;
        if known.iter().all(|parent| parent.value != key) {
            known.push(At { value: key, place: used.place.clone() });
        }
    }
}

fn sorted(mut stack: Stack, order: &[usize], uses: &BTreeMap<(usize, usize), Vec<Use>>) -> (Stack, Graph) {
    let mut new_place = vec![0; order.len()];
    for (new, old) in order.iter().enumerate() {
        new_place[*old] = new;
    }
    let moved = |used: &Use| {
        let source = match used.source {
            Source::Image(at) => Source::Image(new_place[at]),
            Source::Outside => Source::Outside,
        };
        Use { source, ..used.clone() }
    };
    let uses = uses
        .iter()
        .map(|((image, plan), uses)| ((new_place[*image], *plan), uses.iter().map(moved).collect()))
        .collect();
    stack.images = order.iter().map(|at| stack.images[*at].clone()).collect();
    let parents = parent_indices(&stack);
    let mut children = vec![Vec::new(); parents.len()];
    for (child, needed) in parents.iter().enumerate() {
        for parent in needed {
            children[*parent].push(child);
        }
    }
    (stack, Graph { parents, children, uses })
}

impl Graph {
    /// Images that this one is built from, in the order of depend_on.
    pub fn parents(&self, image: usize) -> &[usize] {
        &self.parents[image]
    }

    pub fn children(&self, image: usize) -> &[usize] {
        &self.children[image]
    }

    /// What the Dockerfile of an image needs in a plan (its place in `Stack::all_plans`); empty if it skips the plan.
    pub fn uses(&self, image: usize, plan: usize) -> &[Use] {
        self.uses.get(&(image, plan)).map_or(&[], Vec::as_slice)
    }

    /// Every reference to an image from outside, each once, with the place of its first mention.
    pub fn outside(&self) -> Vec<&Use> {
        let mut seen = BTreeSet::new();
        let outside = |used: &&Use| used.source == Source::Outside && seen.insert(used.reference.clone());
        self.uses.values().flatten().filter(outside).collect()
    }

    /// All images above, the nearest first, each once, without itself.
    pub fn ancestors(&self, image: usize) -> Vec<usize> {
        Self::reach(&self.parents, &[image])
    }

    /// What an image has of its ancestors and of itself, those below first: each item with whether it is its own. The same
    /// name may come more than once.
    pub fn inherited<'s>(
        &self,
        stack: &'s Stack,
        image: &'s Image,
        names: fn(&Image) -> &[String],
    ) -> impl Iterator<Item = (&'s String, bool)> {
        let at = stack.images.iter().position(|one| one.key == image.key);
        let mut line = at.map(|at| self.ancestors(at)).unwrap_or_default();
        line.sort_unstable();
        let inherited = line.into_iter().flat_map(move |at| names(&stack.images[at])).map(|name| (name, false));
        inherited.chain(names(image).iter().map(|name| (name, true)))
    }

    /// All images below any of these, the nearest first, each once, without themselves.
    pub fn descendants(&self, images: &[usize]) -> Vec<usize> {
        Self::reach(&self.children, images)
    }

    fn reach(edges: &[Vec<usize>], from: &[usize]) -> Vec<usize> {
        let mut seen: BTreeSet<usize> = from.iter().copied().collect();
        let mut queue: Vec<usize> = from.to_vec();
        let mut at = 0;
        while at < queue.len() {
            let next = edges[queue[at]].iter().copied().filter(|next| seen.insert(*next)).collect::<Vec<_>>();
            queue.extend(next);
            at += 1;
        }
        queue.split_off(from.len())
    }

    /// Images that can be built side by side: those without a parent, those whose parents stand before, and so on.
    pub fn levels(&self) -> Vec<Vec<usize>> {
        let mut level = vec![0; self.parents.len()];
        let mut levels: Vec<Vec<usize>> = Vec::new();
        for image in 0..self.parents.len() {
            level[image] = self.parents[image].iter().map(|parent| level[*parent] + 1).max().unwrap_or(0);
            if level[image] == levels.len() {
                levels.push(Vec::new());
            }
            levels[level[image]].push(image);
        }
        levels
    }
}

#[cfg(test)]
#[path = "graph_tests.rs"]
mod tests;
