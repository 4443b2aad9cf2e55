//! Environments are found, checked and built by content key, through the graph and without it.

use super::lab::{Lab, docker};

/// The keys of the images that the engine holds for an environment.
fn images(name: &str) -> Vec<String> {
    let filter = format!("label=dev.xtask.environment={name}");
    let listed = docker(&["images", "--no-trunc", "--quiet", "--filter", &filter]);
    let mut ids: Vec<String> = listed.lines().map(str::to_owned).collect();
    ids.sort();
    ids.dedup();
    ids
}

fn state(lab: &Lab) -> serde_json::Value {
    let listed = lab.say(&["env", "list", "--json"]).fine();
    serde_json::from_slice(&listed.out).expect("JSON")
}

#[test]
fn an_environment_is_built_once_per_content() {
    let lab = Lab::new("builds");
    let name = lab.name();
    let before = state(&lab);
    assert_eq!((before[0]["name"].as_str(), before[0]["built"].as_bool()), (Some(&*name), Some(false)));
    assert_eq!(before[0]["key"], "TESTE");
    lab.say(&["env", "build"]).fine();
    let after = state(&lab);
    assert_eq!(after[0]["built"], true);
    assert_eq!(after[0]["content_key"], before[0]["content_key"]);
    let first = images(&name);
    assert_eq!(first.len(), 1);
    // The same through the graph: nothing to do.
    let again = lab.say(&["run", &format!("build-env:{name}"), "--reporter", "json"]).fine().text();
    assert!(again.contains("\"up-to-date\"") && !again.contains("building "), "{again}");
    lab.write(&format!("environments/{name}/note.txt"), "another note\n");
    assert_eq!(state(&lab)[0]["built"], false);
    lab.say(&[&format!("build-env:{name}")]).fine();
    assert_eq!(images(&name).len(), 2);
}

#[test]
fn without_a_task_it_is_built_directly() {
    let lab = Lab::new("direct");
    lab.write("tasks.yaml", "version: 1\ntasks: {}\n");
    let name = lab.name();
    let said = lab.say(&["env", "build", &name]).fine();
    assert!(said.err.contains(&format!("building environments/{name}:")), "{}", said.err);
    assert_eq!(images(&name).len(), 1);
}

#[test]
fn a_family_is_built_for_each_cell_with_its_build_arg() {
    let lab = Lab::new("family");
    let name = format!("{}_many_environment", lab.word);
    lab.add(&name, "MANYE", "matrix: { WORD: [\"3.9\", \"3.13\"] }\n");
    let file = format!("environments/{name}/Dockerfile_{name}");
    let text = std::fs::read_to_string(lab.path(&file)).expect("a Dockerfile");
    lab.write(&file, format!("{text}ARG WORD\nRUN echo \"$WORD\" > /word.txt\n"));
    let newest = format!("{name}-3.13");
    lab.say(&["env", "build", &newest]).fine();
    let [image] = &images(&newest)[..] else { panic!("one image") };
    assert_eq!(docker(&["run", "--rm", "--network=none", image, "cat", "/word.txt"]), "3.13");
    assert!(images(&format!("{name}-3.9")).is_empty());
    let family = lab.say(&["env", "build", &name]);
    assert_eq!(family.code, 3);
    assert!(family.err.contains("is a family, expected one of"), "{}", family.err);
}

#[test]
fn everything_that_is_wrong_is_told_before_anything_runs() {
    let lab = Lab::new("wrong");
    let name = lab.name();
    let path = format!("environments/{name}/metadata.yml");
    let text = std::fs::read_to_string(lab.path(&path)).expect("metadata");
    lab.write(&path, text.replace("key: TESTE", "key: low").replace("tag_list: [shell]\n", "tags: []\n"));
    std::fs::rename(
        lab.path(&format!("environments/{name}/Dockerfile_{name}")),
        lab.path(&format!("environments/{name}/Dockerfile")),
    )
    .expect("a rename");
    let said = lab.say(&["env", "build"]);
    assert_eq!(said.code, 3);
    for wanted in [
        format!("`key` of environment `{name}` is `low`, expected five capital letters or digits"),
        format!("--> {path}:1:6"),
        format!("environment `{name}` has no `tag_list`"),
        format!("environment `{name}` has unknown field `tags`"),
        format!("help: git mv environments/{name}/Dockerfile environments/{name}/Dockerfile_{name}"),
    ] {
        assert!(said.err.contains(&wanted), "{wanted}\n--\n{}", said.err);
    }
    let unknown = lab.say(&["env", "build", "nothing"]);
    assert_eq!(unknown.code, 3);
}
