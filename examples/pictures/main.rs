//! Makes the pictures of the docs: runs the program on a terminal of a given size, and writes what it shows as SVG; and
//! shows its pages in a browser. Knows nothing of what the program says, but for the words at which it takes a picture.
//!
//!     cargo build -p xtask && cargo run -p xtask --example pictures [NAME…]
//!
//! It takes three minutes, an engine, git, script(1), Chromium and pngquant. Without names all pictures are made. They lie
//! in docs/pictures; docs/screen.md shows them.

mod pages;
mod scene;
mod svg;

use std::path::Path;

use scene::{Moment, Scene, Studio};

/// What tells the program that it works in a job of GitHub.
const GITHUB: &[(&str, &str)] = &[("CI", "true"), ("GITHUB_ACTIONS", "true")];

/// A step that the engine cannot do: the package has a typo.
const BREAK: &str = "sed -i 's/^RUN echo .*/RUN apt-get install --yes pandocc/' images/notebook/Dockerfile.j2";

/// What changes while `watch` waits.
const EDIT: &str = "text=$(sed 's/Collecting/Fetching/' images/notebook/Dockerfile.j2) && \
                    echo \"$text\" > images/notebook/Dockerfile.j2";

/// The first run to its end gives the others the times from which they tell what is left.
const SCENES: &[Scene] = &[
    Scene { name: "done", when: Moment::End, ..Scene::STACK },
    Scene { name: "done-narrow", columns: 60, when: Moment::End, ..Scene::STACK },
    Scene { name: "again", is_new: false, when: Moment::End, ..Scene::STACK },
    Scene { name: "ci", is_new: false, before: BREAK, env: GITHUB, when: Moment::End, ..Scene::STACK },
    Scene { name: "running", when: Moment::Shows("Collecting tornado"), ..Scene::STACK },
    Scene { name: "running-narrow", columns: 60, when: Moment::Shows("Collecting tornado"), ..Scene::STACK },
    Scene { name: "failed", before: BREAK, when: Moment::End, ..Scene::STACK },
    Scene { name: "failed-narrow", columns: 60, before: BREAK, when: Moment::End, ..Scene::STACK },
    Scene { name: "watch", words: "watch", when: Moment::AfterEdit(EDIT), ..Scene::STACK },
];

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let (folder, names) = (root.join("docs/pictures"), std::env::args().skip(1).collect::<Vec<_>>());
    let is_wanted = |name: &str| names.is_empty() || names.iter().any(|wanted| wanted == name);
    let studio = Studio::open(&root);
    for scene in SCENES.iter().filter(|scene| is_wanted(scene.name)) {
        let screen = studio.shoot(scene);
        let text = svg::picture(&format!("cargo xtask {}", scene.words), &screen);
        let file = folder.join(format!("{}.svg", scene.name));
        std::fs::write(&file, text).expect("the picture can be written");
    }
    pages::shoot(&studio, &folder, &is_wanted);
}
