//! Small stacks with FROM lines given by hand.

use super::*;
use crate::stack::spec::{Folder, Source as SpecSource, parse, tree};

/// Reads a spec whose images all have a folder, with the given FROM lines: `(image, plan or *, line, reference)`.
fn resolved(text: &str, from: &[(&str, &str, u32, &str)], registry: Option<&str>) -> Result<(Stack, Graph), String> {
    let folders = "abcdefghij".chars().map(|name| Folder { path: name.to_string(), has_dockerfile: true });
    let source = SpecSource { file: "images/spec.yml", text, folders: folders.collect(), change_ignore: None };
    let stack = parse(&source).map_err(|errors| errors.to_string())?;
    resolve(stack, registry, |image, plan| Ok(mentions(from, image, plan))).map_err(|errors| errors.to_string())
}

fn mentions(from: &[(&str, &str, u32, &str)], image: &Image, plan: &Plan) -> Vec<Mention> {
    let place = |line| Place::new(&format!("{}/Dockerfile", image.dir), line, 6);
    from.iter()
        .filter(|(key, of, ..)| **key == *image.key && (*of == "*" || **of == *plan.name))
        .map(|(_, _, line, reference)| Mention { reference: (*reference).to_owned(), place: place(*line) })
        .collect()
}

const DIAMOND: &str = "version: 1\nimages:\n  d: {image_name: lab/d}\n  a: {image_name: lab/a}\n  b: {image_name: lab/b, depend_on: a}\n  c: {image_name: lab/c}\n";
const DIAMOND_FROM: &[(&str, &str, u32, &str)] = &[
    ("a", "*", 1, "debian:bookworm-slim"),
    ("b", "*", 1, "127.0.0.1:5000/x/a:2026.4-abc"),
    ("c", "*", 1, "lab/a"),
    ("d", "*", 1, "lab/b"),
    ("d", "*", 4, "c:latest"),
    ("d", "*", 5, "lab/a@sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
];

#[test]
fn edges_come_from_the_dockerfiles() {
    let (stack, graph) = resolved(DIAMOND, DIAMOND_FROM, Some("127.0.0.1:5000/x")).unwrap();
    let keys: Vec<&str> = stack.images.iter().map(|image| &*image.key).collect();
    assert_eq!(keys, ["a", "b", "c", "d"]);
    assert_eq!((graph.parents(3), graph.children(0)), (&[1, 2][..], &[1, 2][..]));
    assert_eq!(graph.ancestors(3), [1, 2, 0]);
    assert_eq!(graph.descendants(&[0]), [1, 2, 3]);
    assert_eq!(graph.descendants(&[1, 2]), [3]);
    assert_eq!(graph.levels(), [vec![0], vec![1, 2], vec![3]]);
    let outside: Vec<&str> = graph.outside().iter().map(|used| used.reference.as_str()).collect();
    assert_eq!(outside.len(), 2, "a digest means just that image: {outside:?}");
    assert_eq!(graph.uses(3, 0)[1].source, Source::Image(2));
    assert_eq!(&*stack.images[3].depend_on[0].value, "b");
}

#[test]
fn disagreement_names_both_places() {
    let text = "version: 1\nimages:\n  a: {image_name: lab/a}\n  b: {image_name: lab/b}\n  c: {image_name: lab/c, depend_on: a}\n";
    let from = [("a", "*", 1, "debian"), ("b", "*", 1, "debian"), ("c", "*", 2, "lab/b")];
    insta::assert_snapshot!(resolved(text, &from, None).unwrap_err(), @r"
    error: image `c` has depend_on `a`, but its Dockerfile is not built from `lab/a`
      --> images/spec.yml:5:37    depend_on
      --> images/c/Dockerfile:2:6    built from `lab/b`
    error: image `c` is built from `b`, which its depend_on does not name
      --> images/c/Dockerfile:2:6    built from `lab/b`
      --> images/spec.yml:5:37    depend_on
      help: add `b` to depend_on of image `c`
    ");
}

#[test]
fn a_parent_that_nobody_makes_is_an_error() {
    let text =
        "version: 1\nbases: {\"lab/old:1\": {}}\nimages:\n  a: {image_name: lab/a}\n  b: {image_name: lab/bottom}\n";
    let from = [("a", "*", 1, "lab/old:1"), ("b", "*", 1, "lab/botom:2026.4"), ("b", "*", 7, "Lab X")];
    insta::assert_snapshot!(resolved(text, &from, None).unwrap_err(), @r"
    error: image `b` is built from `lab/botom`, which no image of the stack makes
      --> images/b/Dockerfile:1:6
      help: an image with a similar name exists: `lab/bottom`
    error: image `b` is built from `Lab X`, which is no image reference
      --> images/b/Dockerfile:7:6
    ");
}

#[test]
fn a_cycle_through_dockerfiles_is_an_error() {
    let text = "version: 1\nimages:\n  a: {image_name: lab/a}\n  b: {image_name: lab/b}\n";
    let from = [("a", "*", 3, "lab/b"), ("b", "*", 1, "lab/a")];
    insta::assert_snapshot!(resolved(text, &from, None).unwrap_err(), @r"
    error: images need each other in a cycle: a -> b -> a
      --> images/a/Dockerfile:3:6    `a` needs `b`
      --> images/b/Dockerfile:1:6    `b` needs `a`
      help: remove one of these edges
    ");
}

#[test]
fn plans_may_have_other_parents_but_not_skipped_ones() {
    let text = "version: 1\nplans: {p: {tag_prefix: p}, q: {tag_prefix: q}}\nimages:\n  a: {image_name: lab/a, skip_plans: [q]}\n  b: {image_name: lab/b}\n  c: {image_name: lab/c}\n";
    let from = [("a", "*", 1, "debian"), ("b", "*", 1, "debian"), ("c", "p", 1, "lab/a"), ("c", "q", 1, "lab/b")];
    let (_, graph) = resolved(text, &from, None).unwrap();
    assert_eq!((graph.parents(2), graph.uses(2, 0).len(), graph.uses(0, 1)), (&[0, 1][..], 1, &[][..]));
    let from = [("a", "*", 1, "debian"), ("b", "*", 1, "debian"), ("c", "*", 1, "lab/a")];
    insta::assert_snapshot!(resolved(text, &from, None).unwrap_err(), @r"
    error: image `c` is built for plan `q`, but its parent `a` skips that plan
      --> images/spec.yml:6:3
      --> images/spec.yml:4:3    skip_plans has `q`
      help: add `q` to skip_plans of image `c`
    ");
}

#[test]
fn older_specs_may_call_the_parent_by_another_repository() {
    let text = "images:\n  a: {image_name: old/a}\n  b: {image_name: old/b, depend_on: a}\ntag: {prefix: \"2026.3\"}\n";
    let from = [("a", "*", 1, "quay.example.org/x/y"), ("b", "*", 2, "registry.example.org/new/a:2026.3-main")];
    let (_, graph) = resolved(text, &from, None).unwrap();
    assert_eq!(graph.parents(1), [0]);
}

#[test]
fn errors_of_a_dockerfile_are_told_once() {
    let text = "version: 1\nplans: {p: {tag_prefix: p}, q: {tag_prefix: q}}\nimages:\n  a: {image_name: lab/a}\n  b: {image_name: lab/b, depend_on: a}\n";
    let folders = ["a", "b"].map(|name| Folder { path: name.to_owned(), has_dockerfile: true }).to_vec();
    let stack = parse(&SpecSource { file: "images/spec.yml", text, folders, change_ignore: None }).unwrap();
    let broken = |image: &Image, _: &Plan| match &*image.key {
        "a" => Ok(Vec::new()),
        _ => Err(Diagnostic::error("`FROM` has no image").at(Place::new("images/b/Dockerfile", 1, 1)).into()),
    };
    let errors = resolve(stack, None, broken).unwrap_err();
    assert_eq!(errors.to_string(), "error: `FROM` has no image\n  --> images/b/Dockerfile:1:1");
}

#[test]
fn a_tree_without_a_spec_is_a_stack() {
    let folder = |path: &str| Folder { path: path.to_owned(), has_dockerfile: true };
    let mut folders: Vec<Folder> =
        ["base-notebook", "docker-stacks-foundation", "pytorch-notebook", "pytorch-notebook/cuda12", "scipy-notebook"]
            .map(folder)
            .into();
    folders.push(folder("scipy-notebook/test"));
    folders.push(Folder { path: "docs".to_owned(), has_dockerfile: false });
    let from = |image: &Image| {
        let parent = match &*image.key {
            "docker-stacks-foundation" => "ubuntu:24.04",
            "base-notebook" => "registry.example.org/jupyter/docker-stacks-foundation",
            "scipy-notebook" => "registry.example.org/jupyter/base-notebook",
            _ => "registry.example.org/jupyter/scipy-notebook",
        };
        vec![Mention { reference: parent.to_owned(), place: Place::new(&format!("{}/Dockerfile", image.dir), 8, 6) }]
    };
    let dir = crate::model::RepoPath::from_root("images").unwrap();
    let stack = tree(&dir, &folders, |image| Ok(from(image))).unwrap();
    let (stack, graph) = resolve(stack, None, |image, _| Ok(from(image))).unwrap();
    let shown: Vec<String> = stack
        .images
        .iter()
        .map(|image| format!("{} {} {:?} {}", image.key, image.image_name, image.variant, image.dir))
        .collect();
    insta::assert_snapshot!(shown.join("\n"), @r#"
    docker-stacks-foundation registry.example.org/jupyter/docker-stacks-foundation None images/docker-stacks-foundation
    base-notebook registry.example.org/jupyter/base-notebook None images/base-notebook
    scipy-notebook registry.example.org/jupyter/scipy-notebook None images/scipy-notebook
    pytorch-notebook registry.example.org/jupyter/pytorch-notebook None images/pytorch-notebook
    pytorch-notebook-cuda12 registry.example.org/jupyter/pytorch-notebook Some("cuda12") images/pytorch-notebook/cuda12
    "#);
    assert_eq!(graph.levels(), [vec![0], vec![1], vec![2], vec![3, 4]]);
}

/// Some 45 ms without optimisation; the limit only catches a growth with the square of the images.
#[test]
fn five_hundred_images_are_read_fast() {
    let spec: String = (0..500).map(|at| format!("  i{at}: {{image_name: lab/i{at}}}\n")).collect();
    let text = format!("version: 1\nplans: {{p: {{tag_prefix: p}}, q: {{tag_prefix: q}}}}\nimages:\n{spec}");
    let folders: Vec<Folder> = (0..500).map(|at| Folder { path: format!("i{at}"), has_dockerfile: true }).collect();
    let started = std::time::Instant::now();
    let stack = parse(&SpecSource { file: "images/spec.yml", text: &text, folders, change_ignore: None }).unwrap();
    let parsed = started.elapsed();
    let place = Place::file("Dockerfile");
    let from = |image: &Image, _: &Plan| {
        let at: usize = image.key[1..].parse().unwrap();
        let parent = if at == 0 { "debian".to_owned() } else { format!("lab/i{}", at / 3) };
        Ok(vec![Mention { reference: parent, place: place.clone() }])
    };
    let (stack, graph) = resolve(stack, Some("127.0.0.1:5000/lab"), from).unwrap();
    let resolved = started.elapsed();
    assert_eq!((stack.images.len(), graph.descendants(&[0]).len()), (500, 499));
    assert!(resolved.as_secs() < 3, "spec {parsed:?}, with edges {resolved:?}");
}
