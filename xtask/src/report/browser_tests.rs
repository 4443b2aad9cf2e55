//! The pages in a real browser, headless Chromium. Only tests.

use std::process::Command;

use super::graph::{GraphFormat, graph};
use super::{stack_page, timings};

/// The page as the browser has it after its script ran, and what the browser complained about.
fn in_browser(page: &str, fragment: &str) -> (String, String) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("page.html");
    std::fs::write(&file, page).unwrap();
    let output = Command::new("chromium")
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--virtual-time-budget=2000"])
        .arg(format!("--user-data-dir={}", dir.path().join("profile").display()))
        .arg("--dump-dom")
        .arg(format!("file://{}#{fragment}", file.display()))
        .output()
        .unwrap();
    assert!(output.status.success());
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let complaints: Vec<String> =
        text(&output.stderr).lines().filter(|line| line.contains("CONSOLE")).map(str::to_owned).collect();
    (text(&output.stdout), complaints.join("\n"))
}

#[test]
fn pages_work_offline_and_find_names() {
    let (events, needs) = timings::tests::sample();
    let (dom, complaints) = in_browser(&timings::html("t", &events, &needs), "a");
    assert_eq!(complaints, "");
    assert!(dom.contains("<tr data-name=\"b\" class=\"gone\">") && dom.contains("<tr data-name=\"a\">"), "{dom}");
    let (dom, complaints) =
        in_browser(&graph(&super::graph::tests::sample(), GraphFormat::Html, "g"), "sci%22%20build");
    assert_eq!(complaints, "");
    assert_eq!(dom.matches("class=\"gone\"").count(), 4, "{dom}");
    assert!(dom.contains("<g class=\"node bad dim\" data-name=\"test:base\""), "{dom}");
    let (dom, complaints) = in_browser(&graph(&super::graph::tests::sample(), GraphFormat::Html, "g"), "=test:base");
    assert_eq!(complaints, "");
    // What it needs and what needs it stay; the rest goes.
    assert!(dom.contains("<g class=\"node bad chosen\" data-name=\"test:base\""), "{dom}");
    assert!(dom.contains("<g class=\"node plain dim\" data-name=\"lint\""), "{dom}");
    assert_eq!((dom.matches("edge lit\"").count(), dom.matches("class=\"gone\"").count()), (1, 2), "{dom}");
    let (dom, complaints) = in_browser(&stack_page::html(&stack_page::tests::sample()), "base");
    assert_eq!(complaints, "");
    assert!(dom.contains("<tr data-name=\"sci (lab)\" class=\"gone\">"), "{dom}");
    assert!(
        dom.contains("<tr data-name=\"base (lab)\">") || dom.contains("<tr data-name=\"base (lab)\" class=\"\">"),
        "{dom}"
    );
}
