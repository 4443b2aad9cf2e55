//! Names and encodings, in temporary folders.

use super::*;

#[test]
fn lists_of_none_and_one_are_lists() {
    let root = tempfile::tempdir().unwrap();
    prepare(root.path()).unwrap();
    prepare(root.path()).unwrap();
    assert!(FOLDERS.iter().all(|folder| root.path().join(folder).join(".empty").exists()));
    assert_eq!(read(root.path(), Artifact::ImagesBuilt).unwrap(), Vec::<String>::new());
    for items in [vec![], vec!["a:1"], vec!["a:1", "b:1"]] {
        store(root.path(), &Artifact::ImagesBuilt.path(), Artifact::list(&items)).unwrap();
        assert_eq!(read(root.path(), Artifact::ImagesBuilt).unwrap(), items);
    }
    assert_eq!(Artifact::list([" a:1 ", "b\nc"]), "a:1\nb c\n");
    store(root.path(), &Artifact::GitMessage.path(), "two\nlines\n").unwrap();
    assert_eq!(read(root.path(), Artifact::GitMessage).unwrap(), ["two\nlines\n"]);
    assert_eq!(std::fs::read_dir(root.path().join("artifacts")).unwrap().count(), 3, "no temporary file is left");
}

#[test]
fn names_are_those_of_the_originals() {
    let names: Vec<&str> = Artifact::ALL.iter().map(|artifact| artifact.name()).collect();
    assert_eq!(
        names.join(" "),
        "GIT_HASH GIT_HASH_SHORT GIT_MESSAGE GIT_CHANGED_FILES IMAGES_CHANGED IMAGES_BUILT IMAGES_TEST_PASSED \
         IMAGES_TEST_ERROR IMAGES_PUSHED IMAGES_UNTESTED_PUSHED IMAGES_TAGGED IMAGES_ORIGINAL \
         IMAGES_GLOBAL_STABLE IMAGES_ORIGINAL_STABLE"
    );
    assert_eq!(log("base", Log::Build).lossy(), "logs/base.build.log");
    assert_eq!(log("h.io/lab/base:1", Log::BasicTests).lossy(), "logs/h.io-lab-base-1.basic-tests.log");
    assert_eq!(log("base", Log::IntegrationTests).lossy(), "logs/base.integration-tests.log");
}

#[test]
fn a_result_is_clean_yaml_with_sorted_keys() {
    let result = ImageResult {
        full_image_name: "h.io/lab/base:2026.3-main".to_owned(),
        success: true,
        message: "built, tested and pushed".to_owned(),
        image_built: true,
        push_success: Some(true),
        push_log: "The push refers to repository [h.io/lab/base]\n2026.3-main: digest: sha256:1 size: 2".to_owned(),
        basic_tests: TestResult::Passed,
        integration_tests: TestResult::Skipped,
    };
    assert_eq!(result.path().lossy(), "artifacts/h.io-lab-base-2026.3-main.yaml");
    insta::assert_snapshot!(result.yaml(), @r"
    container_details:
      image_built: true
      push_log: |-
        The push refers to repository [h.io/lab/base]
        2026.3-main: digest: sha256:1 size: 2
      push_success: true
    full_image_name: h.io/lab/base:2026.3-main
    message: built, tested and pushed
    success: true
    test_results:
      basic_tests: Passed basic tests
      integration_tests: skipped
    ");
}

#[test]
fn json_files_have_an_indent_of_two() {
    let layer = |created, id: &str| Layer {
        created,
        id: id.to_owned(),
        created_by: "RUN x".to_owned(),
        size: 7,
        tags: Vec::new(),
    };
    insta::assert_snapshot!(layers_json(&[layer(15, "sha256:1"), layer(10, "<missing>")]), @r#"
    [
      {
        "command": "RUN x",
        "created": 10,
        "size": 7,
        "duration": null,
        "id": null
      },
      {
        "command": "RUN x",
        "created": 15,
        "size": 7,
        "duration": 5,
        "id": "sha256:1"
      }
    ]
    "#);
    let rows = [super::super::wiki::Dependency { image: "a:1".to_owned(), base: "b:1".to_owned() }];
    assert_eq!(dependency_json(&rows), "{\n  \"a:1\": \"b:1\"\n}");
    assert_eq!(dependency_csv(&rows), "image,dep\na:1,b:1\n");
    let tag = ["lab/a", "next", "next-1"].map(str::to_owned);
    assert_eq!(build_history(&[tag.into()]), "{\n  \"lab/anext\": \"next-1\"\n}");
    let step = BuildStep {
        command: "RUN x".to_owned(),
        started: 1.5,
        finished: 2.0,
        logs: vec!["y".to_owned()],
        cached: false,
        id: None,
    };
    let text = builder_metainfo(&BTreeMap::from([("a:1".to_owned(), vec![step])]));
    let value: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["a:1"][0], json!({"CMD": "RUN x", "START_T": 1.5, "FINISH_T": 2.0, "LOGS": ["y"], "ID": null}));
}
