//! A thousand random edits of a stack of thirty images on a real disk, one or two between plans: the images whose
//! content key changed are exactly those that an independent look at the file lists names. None stale, none needless.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::context::{FileFacts, Ignore, visible};
use crate::model::{Digest, RepoPath};
use crate::render::dockerfile::{BuildOptions, Dockerfile};
use crate::stack::graph::{Mention, Source, resolve};
use crate::stack::{Args, Graph, Image, KeyParts, Stack, content_key, spec};

const IMAGES: usize = 30;
const EDITS: usize = 1000;

/// Numbers that look random and are the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % limit
    }
}

/// What an image is made of, as this test wrote it: nothing is read back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Wanted {
    dockerfile: String,
    /// Visible files only: content and whether they can be run.
    files: BTreeMap<String, (String, bool)>,
    used_arg: usize,
}

struct Lab {
    root: tempfile::TempDir,
    wanted: Vec<Wanted>,
    parents: Vec<Vec<usize>>,
    unused_args: Vec<usize>,
}

fn key(image: usize) -> String {
    format!("image{image:02}")
}

impl Lab {
    fn new(random: &mut Random) -> Self {
        let parents: Vec<Vec<usize>> = (0..IMAGES)
            .map(|image| match image {
                0 | 1 => Vec::new(),
                // Every fifth has two parents.
                _ if image % 5 == 0 => BTreeSet::from([random.below(image), random.below(image)]).into_iter().collect(),
                _ => vec![random.below(image)],
            })
            .collect();
        let lab = Self {
            root: tempfile::tempdir().unwrap(),
            wanted: vec![Wanted::default(); IMAGES],
            parents,
            unused_args: vec![0; IMAGES],
        };
        let mut lab = lab;
        for image in 0..IMAGES {
            lab.write_dockerfile(image, 0);
            for name in ["data/a", "data/deep/b", "main.txt"] {
                lab.write_visible(image, name, &format!("{name} of {image}"), false);
            }
            for name in ["README.md", "test/test_a.py", "main.txt.orig", "database/x", ".git/HEAD"] {
                lab.write(image, name, "not seen");
            }
        }
        lab.write_spec();
        lab
    }

    fn path(&self, image: usize, name: &str) -> PathBuf {
        self.root.path().join("images").join(key(image)).join(name)
    }

    fn write(&self, image: usize, name: &str, text: &str) {
        let path = self.path(image, name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn write_visible(&mut self, image: usize, name: &str, text: &str, executable: bool) {
        self.write(image, name, text);
        let mode = if executable { 0o755 } else { 0o644 };
        std::fs::set_permissions(self.path(image, name), std::fs::Permissions::from_mode(mode)).unwrap();
        self.wanted[image].files.insert(name.to_owned(), (text.to_owned(), executable));
    }

    fn write_dockerfile(&mut self, image: usize, number: usize) {
        let (first, rest) = match self.parents[image].split_first() {
            Some((first, rest)) => (format!("lab/{}", key(*first)), rest),
            None => ("debian:bookworm-slim".to_owned(), &[][..]),
        };
        let copies: String = rest.iter().map(|parent| format!("COPY --from=lab/{} /x /y\n", key(*parent))).collect();
        let text = format!(
            "FROM {first}\n{copies}ARG USED\nRUN echo {number} $USED\nCOPY main.txt /srv/\nCOPY data /srv/data\n"
        );
        self.write(image, "Dockerfile", &text);
        self.wanted[image].dockerfile = text;
    }

    fn write_spec(&self) {
        let images: String = (0..IMAGES)
            .map(|image| {
                let (used, unused) = (self.wanted[image].used_arg, self.unused_args[image]);
                format!(
                    "  {0}: {{image_name: lab/{0}, build_args: {{USED: \"{used}\", UNUSED: \"{unused}\"}}}}\n",
                    key(image)
                )
            })
            .collect();
        std::fs::write(self.root.path().join("images/spec.yml"), format!("version: 1\nimages:\n{images}")).unwrap();
    }

    /// One edit, with what it was.
    fn edit(&mut self, random: &mut Random, number: usize) -> &'static str {
        let image = random.below(IMAGES);
        match random.below(12) {
            0 | 1 => self.edit_visible(image, "data/a", number),
            2 => self.edit_visible(image, "main.txt", number),
            3 => self.same_size_same_time(image, number),
            4 => {
                self.write_visible(image, &format!("data/new{}", random.below(3)), &number.to_string(), false);
                "file added or changed"
            }
            5 => {
                let name = format!("data/new{}", random.below(3));
                let _ = std::fs::remove_file(self.path(image, &name));
                self.wanted[image].files.remove(&name);
                "file removed, if it was there"
            }
            6 => {
                let (text, executable) = self.wanted[image].files["main.txt"].clone();
                self.write_visible(image, "main.txt", &text, !executable);
                "mode changed"
            }
            7 => {
                self.write_dockerfile(image, random.below(4));
                "Dockerfile written, perhaps as it was"
            }
            8 => {
                self.wanted[image].used_arg = random.below(3);
                self.write_spec();
                "used build arg"
            }
            9 => {
                self.unused_args[image] = number;
                self.write_spec();
                "unused build arg"
            }
            10 => {
                let names = ["README.md", "test/test_a.py", "main.txt.orig", "database/x", "test/new"];
                self.write(image, names[random.below(names.len())], &number.to_string());
                "file that no COPY reaches"
            }
            _ => {
                let (text, executable) = self.wanted[image].files["data/deep/b"].clone();
                let _ = std::fs::remove_file(self.path(image, "data/deep/b"));
                self.write_visible(image, "data/deep/b", &text, executable);
                "same content, new file"
            }
        }
    }

    fn edit_visible(&mut self, image: usize, name: &str, number: usize) -> &'static str {
        let executable = self.wanted[image].files[name].1;
        self.write_visible(image, name, &format!("edit {number}"), executable);
        "visible file"
    }

    fn same_size_same_time(&mut self, image: usize, number: usize) -> &'static str {
        let path = self.path(image, "data/a");
        let (old, executable) = self.wanted[image].files["data/a"].clone();
        let time = std::fs::metadata(&path).unwrap().modified().unwrap();
        let text: String = format!("{number:0>width$}", width = old.len()).chars().take(old.len()).collect();
        self.write_visible(image, "data/a", &text, executable);
        std::fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
        "same size, same time"
    }

    /// The oracle: an image is to be built if it or any image above differs from what was built.
    fn expected(&self, built: &[Wanted]) -> BTreeSet<usize> {
        let mut dirty = BTreeSet::new();
        for (image, built) in built.iter().enumerate() {
            if self.wanted[image] != *built || self.parents[image].iter().any(|parent| dirty.contains(parent)) {
                dirty.insert(image);
            }
        }
        dirty
    }

    /// The keys of all images, by the number in their name.
    fn keys(&self) -> BTreeMap<usize, Digest> {
        let root = self.root.path();
        let spec = RepoPath::from_root("images/spec.yml").unwrap();
        let stack = spec::load(root, &spec).unwrap();
        // Each is read once, whatever the order in which the images are looked at.
        let dockerfiles: BTreeMap<Arc<str>, Dockerfile> =
            stack.images.iter().map(|image| (image.key.clone(), read(root, &stack, image))).collect();
        let mentions = |image: &Image, _: &crate::stack::Plan| Ok(mentions(&dockerfiles[&image.key]));
        let (stack, graph) = resolve(stack, None, mentions).unwrap();
        keys(root, &stack, &graph, &dockerfiles)
    }
}

fn read(root: &Path, stack: &Stack, image: &Image) -> Dockerfile {
    let text = std::fs::read_to_string(root.join(image.dir.as_path()).join("Dockerfile")).unwrap();
    let args = stack.build_args(image, &stack.plans[0], &Args::new());
    Dockerfile::read("Dockerfile", &text, &BuildOptions { args, ..BuildOptions::default() }).unwrap()
}

fn mentions(dockerfile: &Dockerfile) -> Vec<Mention> {
    let mention = |used: &&crate::render::dockerfile::ImageUse| Mention {
        reference: used.resolved.clone(),
        place: used.place("Dockerfile"),
    };
    dockerfile.needed_images().iter().map(mention).collect()
}

fn keys(
    root: &Path,
    stack: &Stack,
    graph: &Graph,
    dockerfiles: &BTreeMap<Arc<str>, Dockerfile>,
) -> BTreeMap<usize, Digest> {
    let mut found: Vec<Digest> = Vec::new();
    for (at, image) in stack.images.iter().enumerate() {
        let dockerfile = &dockerfiles[&image.key];
        let dir = root.join(image.dir.as_path());
        let facts = |path: &Path| {
            let bytes = std::fs::read(path)?;
            let executable = std::fs::metadata(path)?.permissions().mode() & 0o100 != 0;
            Ok(FileFacts { digest: Digest::of(&bytes), size: bytes.len() as u64, executable })
        };
        let context = visible(dockerfile, &dir, &Ignore::nothing(), facts).unwrap();
        let base = |used: &crate::stack::graph::Use| match used.source {
            Source::Image(parent) => found[parent],
            Source::Outside => Digest::of(used.reference.as_bytes()),
        };
        let bases = graph.uses(at, 0).iter().map(|used| (used.reference.clone(), base(used))).collect();
        let args = stack.build_args(image, &stack.plans[0], &Args::new());
        let parts = KeyParts {
            dockerfile,
            context: &context,
            args: &args,
            platform: None,
            options: &BTreeMap::new(),
            bases: &bases,
        };
        found.push(content_key(&parts).digest);
    }
    let number = |image: &Image| image.key.trim_start_matches("image").parse().unwrap();
    stack.images.iter().map(number).zip(found).collect()
}

#[test]
fn a_thousand_random_edits_are_planned_as_an_oracle_says() {
    let mut random = Random(20_261_121);
    let mut lab = Lab::new(&mut random);
    let (mut built, mut recorded) = (lab.wanted.clone(), lab.keys());
    let (mut planned, mut unchanged) = (0, 0);
    let mut number = 0;
    while number < EDITS {
        let edits: Vec<&str> = (0..=random.below(2)).map(|more| lab.edit(&mut random, number + more)).collect();
        number += edits.len();
        let keys = lab.keys();
        let plan: BTreeSet<usize> =
            keys.iter().filter(|(image, key)| recorded[image] != **key).map(|(image, _)| *image).collect();
        assert_eq!(plan, lab.expected(&built), "edit {number}: {edits:?}");
        planned += plan.len();
        unchanged += usize::from(plan.is_empty());
        // Now and then everything is built, so that several edits meet in one plan and some are undone before it.
        if random.below(2) == 0 {
            (built, recorded) = (lab.wanted.clone(), keys);
        }
    }
    assert!(planned > EDITS && unchanged > EDITS / 40, "the edits are worth something: {planned} and {unchanged}");
}
