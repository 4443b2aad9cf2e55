//! `ci-plan`: the stack as jobs of a CI, parents first. Each job builds and tests one image and hands it on by digest.
//! Knows GitHub's words for it; nothing of what an image is.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::args::CiPlanArgs;
use super::stack as stacks;
use crate::action::image::KEY_LABEL;
use crate::model::Diagnostics;
use crate::stack::{Graph, Stack};
use crate::world::World;

/// One image to build in a machine of its own.
struct Job {
    image: String,
    /// Repository without tag.
    name: String,
    /// Every image that it is built on and that is built here, too; the nearest last.
    needs: Vec<String>,
    /// How it came to be affected.
    why: Vec<String>,
}

pub(super) fn ci_plan(args: &CiPlanArgs, world: &World) -> Result<u8, Diagnostics> {
    let found = stacks::find(&args.file, args.files.as_deref(), args.base.as_deref(), args.all, world)?;
    let jobs = jobs(&found.stack, &found.graph, &found.images);
    if args.format == "json" {
        world.out.line(&as_json(&jobs).to_string());
    } else {
        world.out.line(workflow(&jobs, args.all).trim_end());
    }
    Ok(0)
}

/// The affected images with their reasons, as jobs.
fn jobs(stack: &Stack, graph: &Graph, affected: &[(usize, Vec<String>)]) -> Vec<Job> {
    let chosen = |at: &usize| affected.iter().any(|(known, _)| known == at);
    affected
        .iter()
        .map(|(at, why)| {
            let mut above = graph.ancestors(*at);
            above.retain(chosen);
            above.sort_unstable();
            Job {
                image: stack.images[*at].key.to_string(),
                name: stack.images[*at].image_name.clone(),
                needs: above.into_iter().map(|at| stack.images[at].key.to_string()).collect(),
                why: why.clone(),
            }
        })
        .collect()
}

/// Takes the images of the jobs before, by digest: lines of `REFERENCE NAME` on stdin.
const FETCH: &str =
    "while read -r reference name; do docker pull --quiet \"$reference\" && docker tag \"$reference\" \"$name\"; done";

/// Puts what was built into the registry and says where: a line of `REFERENCE NAME` for each.
fn hand_on(job: &Job) -> String {
    format!(
        "for name in $(docker images --filter label={KEY_LABEL} --format '{{{{.Repository}}}}:{{{{.Tag}}}}' '{}:k-*'); do \
         docker tag \"$name\" \"$HANDOVER/$name\" && docker push --quiet \"$HANDOVER/$name\" >/dev/null && \
         echo \"$(docker inspect --format '{{{{index .RepoDigests 0}}}}' \"$HANDOVER/$name\") $name\"; done",
        job.name
    )
}

fn build(job: &Job) -> String {
    format!("cargo xtask --yes test:{}", job.image)
}

fn as_json(jobs: &[Job]) -> Value {
    let jobs: Vec<Value> = jobs
        .iter()
        .map(|job| {
            json!({
                "image": job.image, "needs": job.needs, "why": job.why,
                "fetch": FETCH, "build": build(job), "hand_on": hand_on(job),
            })
        })
        .collect();
    json!({ "v": 1, "jobs": jobs })
}

const HEAD: &str = "\
# Made by `cargo xtask ci-plan --format github@ALL@`: a job for each image of the stack, parents first.
# Images go from job to job through the registry HANDOVER, by digest.
name: stack
on:
  push:
    branches: [main]
  pull_request:
concurrency:
  group: stack-${{ github.ref }}
  cancel-in-progress: ${{ github.event_name == 'pull_request' }}
permissions:
  contents: read
env:
  HANDOVER: ghcr.io/${{ github.repository }}/ci
jobs:
";

const PLAN: &str = "  plan:
    runs-on: ubuntu-latest
    outputs:
      images: ${{ steps.plan.outputs.images }}
    steps:
      - uses: actions/checkout@v4
        with:
          persist-credentials: false
          fetch-depth: 0 # which images changed is asked of the history
      - id: plan
        run: echo \"images=$(cargo xtask ci-plan --format json | jq --compact-output '[.jobs[].image]')\" >> \"$GITHUB_OUTPUT\"
";

/// How the job of an image begins: it alone may push. What people write comes to a shell as variables only.
const JOB: &str = "    runs-on: ubuntu-latest
    permissions:
      contents: read
      packages: write
    outputs:
      images: ${{ steps.hand-on.outputs.images }}
    steps:
      - uses: actions/checkout@v4
        with:
          persist-credentials: false
      - name: Log in to the registry of the images
        env:
          ACTOR: ${{ github.actor }}
          TOKEN: ${{ github.token }}
        run: echo \"$TOKEN\" | docker login ghcr.io --username \"$ACTOR\" --password-stdin
";

/// A whole workflow. With `decides`, its first job says which of the others are needed.
fn workflow(jobs: &[Job], decides: bool) -> String {
    let mut text = HEAD.replace("@ALL@", if decides { " --all" } else { "" });
    if decides {
        text.push_str(PLAN);
    }
    if jobs.is_empty() {
        text.push_str("  nothing:\n    runs-on: ubuntu-latest\n    steps:\n      - run: echo no image is affected\n");
    }
    for job in jobs {
        let mut needs = job.needs.clone();
        if decides {
            needs.insert(0, "plan".to_owned());
        }
        let _ = writeln!(text, "  {}:", job.image);
        if !needs.is_empty() {
            let _ = writeln!(text, "    needs: [{}]", needs.join(", "));
        }
        if decides {
            // An image that is not affected is skipped, which is no reason to skip those that are built on it.
            let _ = writeln!(
                text,
                "    if: ${{{{ !cancelled() && !contains(needs.*.result, 'failure') && contains(fromJSON(needs.plan.outputs.images), '{}') }}}}",
                job.image
            );
        }
        text.push_str(JOB);
        if !job.needs.is_empty() {
            text.push_str(
                "      - name: Take the images that it is built on, by digest\n        env:\n          IMAGES: |\n",
            );
            for parent in &job.needs {
                let _ = writeln!(text, "            ${{{{ needs.{parent}.outputs.images }}}}");
            }
            let _ = writeln!(text, "        run: echo \"$IMAGES\" | grep . | {FETCH}");
        }
        let _ = writeln!(text, "      - run: {}", build(job));
        text.push_str("      - id: hand-on\n        run: |\n          {\n            echo 'images<<END'\n");
        let _ = writeln!(text, "            {}", hand_on(job));
        text.push_str("            echo END\n          } >> \"$GITHUB_OUTPUT\"\n");
    }
    text
}
