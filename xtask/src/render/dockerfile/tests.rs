//! What whole Dockerfiles give. Knows nothing of how they are read.

use super::*;

fn options(args: &[(&str, &str)]) -> BuildOptions {
    let args = args.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    BuildOptions { args, ..BuildOptions::default() }
}

fn read(text: &str) -> Dockerfile {
    read_with(text, &options(&[]))
}

fn read_with(text: &str, options: &BuildOptions) -> Dockerfile {
    Dockerfile::read("Dockerfile", text, options).unwrap_or_else(|errors| panic!("{errors}"))
}

fn errors(text: &str) -> String {
    Dockerfile::read("Dockerfile", text, &options(&[])).map(|_| ()).unwrap_err().to_string()
}

fn patterns(dockerfile: &Dockerfile) -> Vec<&str> {
    dockerfile.context.iter().map(|one| one.pattern.as_str()).collect()
}

fn names(set: &BTreeSet<String>) -> Vec<&str> {
    set.iter().map(String::as_str).collect()
}

const MULTI: &str = "\
ARG REG=quay.io
ARG OWNER=jupyter
ARG BASE=${REG}/${OWNER}/base:1
FROM --platform=$BUILDPLATFORM golang:1.22 AS Build
ARG VERSION=1
COPY go.mod go.sum /src/
RUN --mount=type=bind,source=cmd,target=/cmd --mount=type=secret,id=token make $VERSION
FROM busybox AS unused
ARG LOST
COPY never /
RUN true
FROM $BASE
COPY --from=build /out /bin/
COPY --from=docker.io/lib/tool:2 /tool /bin/
RUN --mount=from=helper:3,target=/h --mount=type=cache,target=/root/.cache true
ADD https://example.org/x.tar rootfs.tar /
";

#[test]
fn only_what_the_target_needs_counts() {
    let file = read(MULTI);
    assert_eq!((file.target, file.needed.as_slice()), (2, [0, 2].as_slice()));
    assert_eq!(patterns(&file), ["go.mod", "go.sum", "cmd", "rootfs.tar"]);
    let images: Vec<(&str, bool)> = file.images.iter().map(|image| (&*image.resolved, image.needed)).collect();
    assert_eq!(
        images,
        [
            ("golang:1.22", true),
            ("busybox", false),
            ("quay.io/jupyter/base:1", true),
            ("docker.io/lib/tool:2", true),
            ("helper:3", true)
        ]
    );
    assert_eq!(names(&file.args_used), ["BASE", "OWNER", "REG", "VERSION"]);
    assert_eq!(names(&file.args_beyond_from), ["VERSION"]);
    assert!(file.args_declared.contains("LOST"));
    assert_eq!(names(&file.secrets), ["token"]);
    assert!(file.uses_mount && !file.uses_heredoc);
    let file = read_with(MULTI, &BuildOptions { target: Some("UNUSED".into()), ..options(&[]) });
    assert_eq!((patterns(&file), names(&file.args_used)), (vec!["never"], vec!["LOST"]));
    let file = read_with(MULTI, &BuildOptions { every_stage: true, ..options(&[]) });
    assert_eq!(file.needed, [0, 1, 2]);
}

#[test]
fn build_args_reach_from_and_hide_defaults() {
    let file = read_with(MULTI, &options(&[("REG", "r:5000")]));
    assert_eq!(file.images[2].resolved, "r:5000/jupyter/base:1");
    let file = read_with(MULTI, &options(&[("BASE", "x:1"), ("REG", "r:5000")]));
    assert_eq!(file.images[2].resolved, "x:1");
    assert_eq!(names(&file.args_used), ["BASE", "VERSION"]);
}

#[test]
fn pin_changes_exactly_the_tokens() {
    let file = read(MULTI);
    let pins = ["golang:1.22", "quay.io/jupyter/base:1", "docker.io/lib/tool:2", "helper:3"]
        .map(|name| (name.to_owned(), format!("{}@sha256:0", name.replace("quay.io/", ""))))
        .into();
    let wanted = MULTI
        .replace("golang:1.22", "golang:1.22@sha256:0")
        .replace("FROM $BASE", "FROM jupyter/base:1@sha256:0")
        .replace("=docker.io/lib/tool:2", "=docker.io/lib/tool:2@sha256:0")
        .replace("=helper:3", "=helper:3@sha256:0");
    assert_eq!(file.pin(&pins), wanted);
    assert_eq!(read(&file.pin(&pins)).images.len(), 5);
}

#[test]
fn a_token_over_two_lines_is_pinned_whole() {
    let file = read("FROM \\\n  deb\\\nian AS \\\n x\n");
    assert_eq!((file.images[0].line, file.images[0].column), (2, 3));
    let pins = HashMap::from([("debian".to_owned(), "debian@sha256:1".to_owned())]);
    assert_eq!(file.pin(&pins), "FROM \\\n  debian@sha256:1 AS \\\n x\n");
}

#[test]
fn args_count_only_where_they_can_be_seen() {
    let used = |text: &str| names(&read(text).args_used).join(" ");
    assert_eq!(used("FROM a\nARG X=1\n"), "");
    assert_eq!(used("FROM a\nARG X=1\nCMD $X\n"), "");
    assert_eq!(used("FROM a\nRUN a\nARG X=1\n"), "");
    assert_eq!(used("FROM a\nARG X=1\nRUN a\n"), "X");
    assert_eq!(used("FROM a\nARG X=1\nARG Y=2\nLABEL a=$Y\n"), "Y");
    assert_eq!(used("FROM a\nARG X=1\nARG Y=$X\nLABEL a=$Y\n"), "X Y");
    assert_eq!(used("FROM a\nARG X=1\nENV X=2\nRUN a\n"), "");
    assert_eq!(used("ARG X=1\nFROM a\nRUN a\n"), "");
    assert_eq!(used("ARG Z=1\nARG X=$Z\nFROM a\nARG X\nUSER $X\n"), "X Z");
    assert_eq!(used("FROM a AS b\nARG X=1\nFROM b\nRUN a\n"), "X");
    assert_eq!(
        names(&read_with("FROM a", &options(&[("BUILDKIT_INLINE_CACHE", "1"), ("X", "1")])).args_used),
        ["BUILDKIT_INLINE_CACHE"]
    );
}

#[test]
fn sources_are_expanded_cleaned_and_placed() {
    let text = "FROM scratch\nARG D=data\nENV E=$D/x\nCOPY $E/*.txt ../../y/ ./ /dst/\nCOPY [\"a b\", \"/c\"]\n";
    let file = read(text);
    assert_eq!(patterns(&file), ["data/x/*.txt", "y", "", "a b"]);
    assert_eq!((file.context[1].line, file.context[1].column), (4, 15));
    let file = read("FROM base\nCOPY $HOME/x /y\n");
    assert_eq!((file.context[0].role, patterns(&file)), (ContextRole::Unknown, vec![""]));
    let file = read("FROM base\nENV A=$HOME/x\nARG B=$A\nCOPY $B /y\n");
    assert_eq!(file.context[0].role, ContextRole::Unknown);
    let env = HashMap::from([("base".to_owned(), BTreeMap::from([("HOME".to_owned(), "root".to_owned())]))]);
    let file = read_with("FROM base\nCOPY $HOME/x /y\n", &BuildOptions { base_env: env, ..options(&[]) });
    assert_eq!(patterns(&file), ["root/x"]);
}

#[test]
fn platform_args_are_known() {
    let options = BuildOptions { platform: Some("linux/arm64/v8".into()), ..options(&[]) };
    let file = read_with("FROM a:$TARGETARCH\nARG TARGETVARIANT\nCOPY x-$TARGETVARIANT /\n", &options);
    assert_eq!((&*file.images[0].resolved, patterns(&file)), ("a:arm64", vec!["x-v8"]));
}

#[test]
fn heredocs_are_text_not_instructions() {
    let file = read("FROM a\nARG X=1\nRUN <<EOF\nFROM nothing\nEOF\nCOPY <<one other /etc/\n$X\none\n");
    assert!(file.uses_heredoc);
    assert_eq!((file.images.len(), patterns(&file)), (1, vec!["other"]));
}

#[test]
fn triggers_run_in_the_child() {
    let parent = read("FROM a AS p\nONBUILD COPY reqs.txt /\nONBUILD RUN --mount=type=bind,source=s true\n");
    assert_eq!(parent.onbuild().len(), 2);
    assert_eq!(patterns(&parent), Vec::<&str>::new());
    let onbuild = HashMap::from([("p".to_owned(), parent.onbuild().to_vec())]);
    let child = read_with("FROM p\nCOPY own /\n", &BuildOptions { onbuild, ..options(&[]) });
    assert_eq!(patterns(&child), ["reqs.txt", "s", "own"]);
    assert_eq!(child.context[0].line, 1);
    assert!(child.onbuild().is_empty());
    assert_eq!(patterns(&read("FROM a AS p\nONBUILD COPY x /\nFROM p\n")), ["x"]);
}

#[test]
fn stages_are_found_by_name_and_number() {
    let file = read("FROM a AS One\nFROM one AS two\nFROM c\nCOPY --from=0 /x /\nRUN --mount=from=TWO,target=/t x\n");
    assert_eq!(file.stages[1].base, Base::Stage(0));
    assert_eq!(file.needed, [0, 1, 2]);
    assert_eq!(file.images.len(), 2);
}

#[test]
fn what_means_the_same_has_one_canonical_text() {
    let one = read("# syntax=x\n# about\nFROM a\n\nRUN b \\\n  # why\n  c\nRUN <<E\n# kept\nE\n");
    assert_eq!(one.canonical, "# syntax=x\nFROM a\nRUN b   c\nRUN <<E\n# kept\nE\n");
    assert_eq!(read(&one.canonical).canonical, one.canonical);
    let choice = "ARG V=x\nFROM a AS s-x\nFROM a AS s-y\nFROM s-$V\n";
    assert_eq!(names(&read(choice).args_beyond_from), ["V"]);
}

#[test]
fn errors_have_place_and_fix_and_come_all_at_once() {
    insta::assert_snapshot!(errors(
        "RUN x\nFROM $NO\nFRM y\nCOPY one\nCOPY --from=3 a b\nCOPY --from=$X a b\nRUN --mount=type=secret x\nRUN \
         --mount=type=cach x\nENV A=1 B\nWORKDIR \"x\nFROM a b\nFROM a AS 1x\nFROM Bad:Tag:x AS z\nFROM z AS Z\n"
    ));
    // What follows from the first fault is not told.
    let first = "error: `FRON` is not an instruction\n  --> Dockerfile:1:1\n  help: an instruction with a similar name exists: `FROM`";
    assert_eq!(errors("FRON a\nRUN x\nRUN y\n"), first);
    assert_eq!(
        errors("# nothing\n"),
        "error: `Dockerfile` has no `FROM`\n  --> Dockerfile\n  help: begin with `FROM image`"
    );
    let options = BuildOptions { target: Some("biuld".into()), ..options(&[]) };
    let error = Dockerfile::read("Dockerfile", "FROM a AS build\n", &options).map(|_| ()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "error: `Dockerfile` has no stage `biuld`\n  --> Dockerfile\n  help: a stage with a similar name exists: `build`"
    );
}
