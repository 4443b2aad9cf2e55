//! The HTML pages as a browser shows them, by light and by dark. Knows nothing of what stands on them.

use std::path::Path;
use std::process::Command;

use super::scene::Studio;

/// Name of the picture, what makes the page, and the page.
const PAGES: &[(&str, &str, &str)] = &[
    ("timings", "xtask build-stack --timings", ".xtask/timings.html"),
    (
        "graph",
        "sed -i s/Collecting/Fetching/ images/notebook/Dockerfile.j2 && xtask graph --status --format html build-stack > graph.html",
        "graph.html",
    ),
    ("report", "xtask report --output report.html", "report.html"),
];

const SIZE: &str = "--window-size=1000,620";

/// Writes the pictures whose name is wanted to a folder.
pub fn shoot(studio: &Studio, folder: &Path, is_wanted: &dyn Fn(&str) -> bool) {
    studio.renew();
    for (name, make, page) in PAGES.iter().filter(|(name, ..)| is_wanted(name)) {
        studio.sh(make);
        for (mode, scheme) in [("light", "1"), ("dark", "0")] {
            let file = folder.join(format!("{name}-{mode}.png"));
            browse(&studio.path(page), &file, scheme, &studio.path(".profile"));
        }
    }
}

fn browse(page: &Path, file: &Path, scheme: &str, profile: &Path) {
    let output = Command::new("chromium")
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", SIZE])
        .arg(format!("--blink-settings=preferredColorScheme={scheme}"))
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg(format!("--screenshot={}", file.display()))
        .arg(format!("file://{}", page.display()))
        .output()
        .expect("chromium is needed: apt-get install chromium");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // Sixteen colours are enough, and a fifth of the bytes.
    let status = Command::new("pngquant").args(["--force", "--strip", "--ext", ".png", "16"]).arg(file).status();
    assert!(status.expect("pngquant is needed: apt-get install pngquant").success(), "{}", file.display());
}
