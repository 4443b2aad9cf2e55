//! What a run leaves for people and other programs: `artifacts/`, `logs/`, `manifests/`, the wiki. Reads files and a bare
//! repository of git; knows nothing of how they are written.

use std::process::Command;

use serde_json::Value;
use xtask::registry::testing::RealRegistry;

use super::space::{IMAGES, Space};
use crate::support::proxy::{Proxy, Spoil};

/// Runs git in a folder, as nobody in particular.
fn git(dir: &std::path::Path, words: &[&str]) -> String {
    let identity = ["-c", "user.name=Test", "-c", "user.email=test@localhost"];
    let done = Command::new("git").args(identity).args(words).current_dir(dir).output().expect("git");
    assert!(done.status.success(), "git {words:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8_lossy(&done.stdout).trim_end().to_owned()
}

/// A stack under git, with an info command.
fn space(name: &str) -> (Space, String) {
    let space = Space::new(name);
    let spec = space.read("images/spec.yml").replace("side,", "side, info_cmds: [NOTE, BAD],");
    let note = "NOTE: { description: Its note, command: /tool cat /note/side.txt }";
    let spec = spec + &format!("all_info_cmds:\n  {note}\n  BAD: {{ description: Broken, command: /nowhere }}\n");
    space.write("images/spec.yml", &spec);
    git(space.root(), &["init", "--quiet", "-b", "main"]);
    git(space.root(), &["remote", "add", "origin", "https://git.example.org/lab/stack.git"]);
    space.write(".gitignore", "/.xtask\n/artifacts\n/logs\n/manifests\n/wiki\n");
    git(space.root(), &["add", "-A"]);
    git(space.root(), &["commit", "--quiet", "--message=Begin"]);
    let commit = git(space.root(), &["rev-parse", "HEAD"])[..7].to_owned();
    (space, commit)
}

/// The same with a registry and a wiki, which is a bare repository; what its pages say is asked for by name.
struct Wiki {
    registry: RealRegistry,
    space: Space,
    commit: String,
    dir: tempfile::TempDir,
}

impl Wiki {
    fn new(name: &str) -> Self {
        let registry = RealRegistry::start().expect("a registry");
        let (mut space, commit) = space(name);
        let dir = tempfile::tempdir().unwrap();
        git(dir.path(), &["init", "--quiet", "--bare", "-b", "master"]);
        space.env.insert("STACK_REGISTRY".to_owned(), registry.host().to_owned());
        space.env.insert("STACK_WIKI".to_owned(), dir.path().to_str().unwrap().to_owned());
        Self { registry, space, commit, dir }
    }

    fn git(&self, words: &[&str]) -> String {
        git(self.dir.path(), words)
    }

    fn page(&self, name: &str) -> String {
        self.git(&["show", &format!("HEAD:{name}")])
    }

    /// The host of the registry, as it stands in names of pages.
    fn host(&self) -> String {
        self.registry.host().replace([':', '.'], "-")
    }
}

impl Space {
    fn lines(&self, path: &str) -> Vec<String> {
        self.read(path).lines().map(str::to_owned).collect()
    }

    fn json(&self, path: &str) -> Value {
        serde_json::from_str(&self.read(path)).expect("JSON")
    }

    /// `artifacts/<full name>.yaml` of an image.
    fn result(&self, image: &str, tag: &str) -> String {
        self.read(&format!("artifacts/{}-{image}-t-{tag}.yaml", self.prefix))
    }

    fn reference(&self, image: &str, tag: &str) -> String {
        format!("{}/{image}:t-{tag}", self.prefix)
    }

    fn references(&self, tag: &str) -> Vec<String> {
        IMAGES.iter().map(|image| self.reference(image, tag)).collect()
    }
}

#[test]
fn a_build_leaves_lists_results_steps_and_logs() {
    let (space, commit) = space("artifacts");
    space.append("images/mid/test/test_mid.py", "    assert False, 'on purpose'");
    assert_eq!(space.run(&["build-stack"]).code, 1);
    let all = space.references(&commit);
    assert_eq!(space.lines("artifacts/IMAGES_BUILT"), all);
    let of = |images: &[&str]| -> Vec<String> { images.iter().map(|image| space.reference(image, &commit)).collect() };
    assert_eq!(space.lines("artifacts/IMAGES_TEST_PASSED"), of(&["base", "side"]));
    assert_eq!(space.lines("artifacts/IMAGES_TEST_ERROR"), of(&["mid", "leaf"]));
    let result = space.result("mid", &commit);
    for line in [
        "  image_built: true",
        &format!("full_image_name: {}", space.reference("mid", &commit)),
        "message: tests of image `mid` failed in plan `default`",
        "success: false",
        "  basic_tests: Failed basic tests",
        "  integration_tests: skipped",
    ] {
        assert!(result.lines().any(|one| one == line), "{line} in:\n{result}");
    }
    let steps = &space.json("artifacts/builder-metainfo.json")[space.reference("leaf", &commit)];
    assert_eq!(steps[1]["CMD"], "COPY note.txt /note/leaf.txt", "{steps}");
    assert!(steps[1]["FINISH_T"].as_f64() >= steps[1]["START_T"].as_f64(), "{steps}");
    assert_eq!(space.json("artifacts/build_history.json")["leafdefault"], format!("t-{commit}"));
    let needs = space.json("artifacts/image-dependency.json");
    assert_eq!(needs[space.reference("leaf", &commit)], space.reference("mid", &commit), "{needs}");
    assert!(space.read("logs/leaf.build.log").contains("COPY note.txt"));
    assert!(space.read("logs/mid.basic-tests.log").contains("on purpose"));
    let log = space.read("logs/run.log");
    assert!(log.contains("INFO:TIME: build:base (ran) took 0 mins "), "{log}");
    assert!(log.contains("ERROR:tests of image `mid` failed"), "{log}");
    for folder in ["artifacts", "logs", "manifests", "wiki"] {
        assert!(space.path(&format!("{folder}/.empty")).exists(), "{folder}");
    }

    // One image is repaired: the others are told as they are.
    space.replace("images/mid/test/test_mid.py", "    assert False, 'on purpose'\n", "");
    space.append("images/leaf/note.txt", "another line");
    space.build();
    assert_eq!(space.lines("artifacts/IMAGES_BUILT"), of(&["leaf"]));
    assert_eq!(space.lines("artifacts/IMAGES_TEST_PASSED"), all);
    assert_eq!(space.lines("artifacts/IMAGES_TEST_ERROR"), [""; 0]);
    let result = space.result("base", &commit);
    assert!(result.contains("image_built: false") && result.contains("success: true"), "{result}");
    assert!(result.contains("basic_tests: Passed basic tests"), "{result}");

    // A run in which nothing is done changes no file.
    let before = (space.result("leaf", &commit), space.lines("artifacts/IMAGES_BUILT"));
    space.build();
    assert_eq!((space.result("leaf", &commit), space.lines("artifacts/IMAGES_BUILT")), before);
}

#[test]
fn what_changed_is_written_before_anything_is_built() {
    let (space, _) = space("changes");
    let bad = "images/mid/a name with spaces.txt";
    space.write(bad, "new");
    space.append("images/mid/note.txt", "more");
    git(space.root(), &["add", "-A"]);
    git(space.root(), &["commit", "--quiet", "--message=Change the middle"]);
    let run = space.run(&["changes"]).fine();
    assert_eq!(run.started(), ["changes"]);
    assert_eq!(space.lines("artifacts/IMAGES_CHANGED"), ["mid", "leaf"]);
    assert_eq!(space.lines("artifacts/GIT_CHANGED_FILES"), [bad, "images/mid/note.txt"]);
    let hash = git(space.root(), &["rev-parse", "HEAD"]);
    assert_eq!(space.read("artifacts/GIT_HASH"), hash);
    assert_eq!(space.read("artifacts/GIT_HASH_SHORT"), hash[..7]);
    assert_eq!(space.read("artifacts/GIT_MESSAGE"), "Change the middle");
}

#[test]
fn a_push_and_a_promotion_are_told_in_the_wiki_and_committed_there() {
    let wiki = Wiki::new("wiki");
    let Wiki { registry, space, commit, .. } = &wiki;
    space.run(&["told", "--version", "1.0.0"]).fine();

    let page = |name: &str| wiki.page(name);
    let pushed = |image: &str| format!("{}/{image}:t-{commit}", registry.host());
    let host = wiki.host();
    let manifest = page(&format!("{host}-side-t-{commit}.md"));
    assert!(manifest.contains("## Its note\n"), "{manifest}");
    assert!(manifest.contains("note of side"), "{manifest}");
    assert!(manifest.contains("## Broken\n") && manifest.contains("Failed to execute cmd"), "{manifest}");
    assert_eq!(manifest, space.read(&format!("manifests/{}-side-t-{commit}.md", space.prefix)).trim_end());
    let home = page("Home.md");
    let row = home.lines().nth(2).unwrap();
    assert!(row.starts_with(&format!("|[`{commit}`](https://git.example.org/lab/stack/commit/{commit})|")), "{home}");
    let cell: Vec<String> = IMAGES.iter().map(|image| format!("`{}`", pushed(image))).collect();
    assert!(row.contains(&format!("|{}|", cell.join("<br>"))), "{home}");
    let needs = page("Image-Dependency.md");
    assert!(needs.contains(&format!("\n{},{}\n", pushed("leaf"), pushed("mid"))), "{needs}");
    assert_eq!(wiki.git(&["log", "--format=%s"]), format!("[ci skip] Automated publish for {commit}"));
    let names = space.lines("artifacts/IMAGES_PUSHED");
    assert!(names.contains(&pushed("leaf")) && names.iter().any(|name| name.ends_with("/leaf:1.0.0")), "{names:?}");
    assert!(space.result("leaf", commit).contains("push_success: true"));
    let layers = space.json(&format!("artifacts/layers-{}-side-t-{commit}.json", space.prefix));
    assert!(layers[0]["command"].as_str().unwrap().contains("COPY"), "{layers}");
    assert!(layers[0]["size"].as_u64().unwrap() > 0 && layers[0]["created"].is_i64(), "{layers}");

    assert_eq!(space.run(&["told", "--version", "1.0.0"]).fine().started(), [""; 0], "everything is told");

    space.run(&["told-stable"]).fine();
    let stable = |image: &str| format!("{}/{image}:t-stable", registry.host());
    assert_eq!(space.lines("artifacts/IMAGES_TAGGED"), IMAGES.map(stable));
    assert_eq!(space.lines("artifacts/IMAGES_ORIGINAL"), IMAGES.map(pushed));
    assert_eq!(page(&format!("{host}-side-t-stable.md")), manifest, "the page of what it was");
    assert_eq!(wiki.git(&["log", "--format=%s"]).lines().count(), 2);
}

#[test]
fn j07_j10_a_push_is_told_in_the_format_of_jupyter_if_asked_for() {
    let wiki = Wiki::new("months");
    let Wiki { space, commit, .. } = &wiki;
    space.replace("tasks.yaml", "image_manifest: { ", "image_manifest: { style: jupyter, ");
    space.replace("tasks.yaml", "image_wiki: { of: push, ", "image_wiki: { of: push, style: jupyter, keep: 3, ");
    let broken = space.run(&["told", "--version", "1.0.0"]);
    assert_eq!(broken.code, 1, "{}", broken.stdout);
    let problem = broken.problem("manifest:side");
    assert!(problem.contains("info command `/nowhere` of image `side` failed"), "{problem}");

    // A child tells what its parents tell, and what is not in it is left out.
    space.replace("images/spec.yml", "info_cmds: [NOTE, BAD]", "info_cmds: [NOTE]");
    space.replace("images/spec.yml", "/base, ", "/base, info_cmds: [BASE], ");
    space.replace(
        "images/spec.yml",
        "all_info_cmds:\n",
        "all_info_cmds:\n  BASE: { description: Base, command: /tool cat /note/base.txt }\n",
    );
    // What was pushed before the manifest failed is told now.
    space.run(&["told", "--version", "1.0.0"]).fine();
    let page = |name: &str| wiki.page(name);
    let host = wiki.host();
    let manifest = page(&format!("{host}-side-t-{commit}.md"));
    let hash = git(space.root(), &["rev-parse", "HEAD"]);
    for text in [
        format!("# Build manifest for image: {}/side:{}\n", space.prefix, &hash[..12]),
        format!("[{hash}](https://git.example.org/lab/stack/commit/{hash})"),
        "```text\nBegin\n```".to_owned(),
        "## Base\n\n`/tool cat /note/base.txt`:\n\n```text\nnote of base".to_owned(),
        "## Its note\n".to_owned(),
    ] {
        assert!(manifest.contains(&text), "{text} is in {manifest}");
    }
    let home = page("Home.md");
    let row = home.lines().find(|line| line.starts_with("| [")).expect("a month");
    let month = &row[3..10];
    assert_eq!(row, format!("| [{month}](./{month}) | 4 | 4 | 1 |"), "{home}");
    let rows = page(&format!("{month}.md"));
    assert_eq!(rows.lines().filter(|line| line.contains("[Build manifest](./")).count(), IMAGES.len(), "{rows}");
    assert!(
        rows.contains(&format!("[Dockerfile](https://git.example.org/lab/stack/blob/{hash}/images/side/")),
        "{rows}"
    );
    let pages = wiki.git(&["ls-tree", "--name-only", "HEAD"]);
    assert_eq!(pages.lines().filter(|name| name.starts_with(&host)).count(), 3, "the newest three: {pages}");
    assert_eq!(space.run(&["told", "--version", "1.0.0"]).fine().started(), [""; 0], "everything is told");
}

/// The push tells in the wiki what it did, as that of the root's tasks.yaml does.
fn telling(name: &str) -> Wiki {
    let wiki = Wiki::new(name);
    wiki.space.replace("tasks.yaml", "  push:\n", "  push:\n    task_dep: [\"test:*\", \"manifest:*\"]\n");
    let resume = "          resume: \"{{ resume }}\"\n";
    let told = format!("{resume}      - image_wiki: {{ of: push, repository: \"{{{{ vars.wiki }}}}\" }}\n");
    wiki.space.replace("tasks.yaml", resume, &told);
    wiki
}

impl Wiki {
    fn commits(&self) -> usize {
        self.git(&["rev-list", "--all", "--count"]).parse().expect("a number")
    }

    /// Home tells of one push, with all images, and each image has its page of the manifest.
    fn tells_of_the_push(&self) {
        let Self { registry, space, commit, .. } = self;
        let home = self.page("Home.md");
        let rows: Vec<&str> = home.lines().filter(|line| line.contains(&format!("[`{commit}`]"))).collect();
        let pushed = |image: &str| format!("`{}/{image}:t-{commit}`", registry.host());
        assert_eq!(rows.len(), 1, "{home}");
        assert!(rows[0].contains(&IMAGES.map(pushed).join("<br>")), "{home}");
        for image in IMAGES {
            let page = self.page(&format!("{}-{image}-t-{commit}.md", self.host()));
            assert_eq!(page, space.read(&format!("manifests/{}-{image}-t-{commit}.md", space.prefix)).trim_end());
        }
    }
}

#[test]
fn a_plan_is_told_in_the_wiki_when_it_is_applied_and_not_before() {
    let wiki = telling("wiki-apply");
    let space = &wiki.space;
    space.run(&["push", "--version", "1.0.0", "--plan", "out.json"]).fine();
    assert_eq!(wiki.commits(), 0, "nothing was pushed, so there is nothing to tell");
    assert_eq!(space.run(&["push", "--apply", "out.json"]).fine().started(), ["push"]);
    wiki.tells_of_the_push();
    assert_eq!(wiki.commits(), 1);
    // What was applied is told once, whoever asks again.
    space.run(&["push", "--apply", "out.json"]).fine();
    space.run(&["push", "--version", "1.0.0"]).fine();
    assert_eq!(wiki.commits(), 1);
    wiki.tells_of_the_push();
}

#[test]
fn a_push_that_was_cut_short_is_told_in_the_wiki_when_resume_has_finished_it() {
    let mut wiki = telling("wiki-resume");
    let proxy = Proxy::before(wiki.registry.host());
    wiki.space.env.insert("STACK_REGISTRY".to_owned(), proxy.host.clone());
    proxy.spoil_all(&["PUT ", "/mid/manifests/1.0.0"], Spoil::Status(403));
    assert_eq!(wiki.space.run(&["push", "--version", "1.0.0"]).code, 1);
    assert_eq!(wiki.commits(), 0, "half a push is not told");
    proxy.behave();
    assert_eq!(wiki.space.run(&["push", "--resume"]).fine().started(), ["push"]);
    let home = wiki.page("Home.md");
    let pushed = |image: &str| format!("`{}/{image}:t-{}`", proxy.host, wiki.commit);
    assert!(home.contains(&IMAGES.map(pushed).join("<br>")), "{home}");
    assert_eq!(wiki.commits(), 1);
    wiki.space.run(&["push", "--resume"]).fine();
    assert_eq!(wiki.commits(), 1, "nothing was left to finish, and nothing to tell");
}

#[test]
fn the_first_run_of_a_branch_concerns_every_image_if_the_policy_says_so() {
    let (space, _) = space("branch");
    let spec = space.read("images/spec.yml");
    space.write("images/spec.yml", &format!("{spec}change_policy: {{ full_rebuild_on_first_run: true }}\n"));
    git(space.root(), &["commit", "--quiet", "--all", "--message=Policy"]);
    git(space.root(), &["checkout", "--quiet", "-b", "a branch/with@signs".replace(' ', "-").as_str()]);
    space.append("images/side/note.txt", "more");
    git(space.root(), &["commit", "--quiet", "--all", "--message=Change a leaf"]);
    let affected = || space.say(&["affected"]).fine().stdout;
    assert_eq!(affected(), "base\nmid\nleaf\nside\n");
    space.run(&["build:base"]).fine();
    assert_eq!(affected(), "side\n", "something was built on it");
    git(space.root(), &["checkout", "--quiet", "-b", "another"]);
    assert_eq!(affected(), "base\nmid\nleaf\nside\n");
}
