//! A tree of images as Jupyter's, without any spec: what the FROM lines say is the stack. Rows J01 and J13.

use super::space::{Space, docker};

/// Seven folders, one of them a variant in a sub-folder, with the chain of build args that Jupyter's have.
fn tree(space: &Space) {
    std::fs::remove_dir_all(space.path("images")).expect("the stack of other tests");
    space.replace("tasks.yaml", "stack: images/spec.yml", "stack: images");
    let chain = |base: &str| {
        let args =
            format!("ARG REGISTRY=quay.example\nARG OWNER={}\nARG BASE_IMAGE=$REGISTRY/$OWNER/{base}", space.prefix);
        format!("{args}\nFROM $BASE_IMAGE\n")
    };
    let image = |folder: &str, from: &str| {
        space.write(&format!("images/{folder}/note.txt"), &format!("note of {folder} in {}\n", space.prefix));
        let name = folder.replace('/', "-");
        space.write(&format!("images/{folder}/Dockerfile"), &format!("{from}COPY note.txt /note/{name}.txt\n"));
    };
    let label = format!("LABEL {}={}\n", crate::support::LABEL, space.prefix);
    image("docker-stacks-foundation", &format!("ARG ROOT_IMAGE=scratch\nFROM $ROOT_IMAGE\n{label}COPY tool /tool\n"));
    std::fs::copy(crate::support::tool(), space.path("images/docker-stacks-foundation/tool")).expect("the tool");
    image("base-notebook", &chain("docker-stacks-foundation"));
    image("minimal-notebook", &chain("base-notebook"));
    image("scipy-notebook", &chain("minimal-notebook"));
    image("r-notebook", &chain("minimal-notebook"));
    image("tensorflow-notebook", &chain("scipy-notebook"));
    image("tensorflow-notebook/cuda", &chain("scipy-notebook"));
}

#[test]
fn a_tree_without_a_spec_is_built_by_its_from_lines_variants_too() {
    let space = Space::new("jupyter");
    tree(&space);
    let build = |images: &[&str]| images.iter().map(|image| format!("build:{image}")).collect::<Vec<_>>();
    let all = [
        "base-notebook",
        "docker-stacks-foundation",
        "minimal-notebook",
        "r-notebook",
        "scipy-notebook",
        "tensorflow-notebook",
        "tensorflow-notebook-cuda",
    ];
    let run = space.run(&["build"]).fine();
    let built: Vec<&str> = run.started().into_iter().filter(|task| task.starts_with("build:")).collect();
    assert_eq!(built, build(&all));
    let name = |image: &str| format!("quay.example/{}/{image}", space.prefix);
    let cat = |image: &str, path: &str| docker(&["run", "--rm", "--network=none", image, "/tool", "cat", path]);
    assert!(cat(&format!("{}:latest", name("tensorflow-notebook")), "/note/scipy-notebook.txt").starts_with("note of"));
    let cuda = format!("{}:cuda-latest", name("tensorflow-notebook"));
    assert!(cat(&cuda, "/note/tensorflow-notebook-cuda.txt").starts_with("note of tensorflow-notebook/cuda"));

    space.append("images/scipy-notebook/note.txt", "changed");
    let run = space.run(&["build"]).fine();
    let built: Vec<&str> = run.started().into_iter().filter(|task| task.starts_with("build:")).collect();
    assert_eq!(built, build(&["scipy-notebook", "tensorflow-notebook", "tensorflow-notebook-cuda"]));
    let affected = space.say(&["affected", "--files", "images/minimal-notebook/note.txt"]).fine();
    for image in ["minimal-notebook", "r-notebook", "scipy-notebook", "tensorflow-notebook-cuda"] {
        assert!(affected.stdout.contains(image), "{}", affected.stdout);
    }
    assert!(!affected.stdout.contains("base-notebook"), "{}", affected.stdout);
    // Whoever builds under another owner says so once, in a spec: a tree is what its files say.
    space.replace("images/base-notebook/Dockerfile", "docker-stacks-foundation", "docker-stacks-fundation");
    let run = space.say(&["list"]);
    assert_eq!(run.code, 3);
    assert!(run.stderr.contains("docker-stacks-fundation`, which no image of the stack makes"), "{}", run.stderr);
    assert!(run.stderr.contains("images/base-notebook/Dockerfile:4:6"), "{}", run.stderr);
}
