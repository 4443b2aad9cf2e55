//! The stack as a page: images with tags, digests, sizes and tests, their manifests, and what was promoted when.
//! Pure; knows nothing of engines and registries.

use super::graph::{GraphEdge, GraphNode, GraphView, Status};
use super::page::{class, escape, page};
use super::{graph, layout};

/// One image of one plan. Empty texts and `None` are shown as unknown.
#[derive(Clone, Debug, Default)]
pub struct StackImage {
    pub name: String,
    pub plan: String,
    /// Name of the image it is built on, or of the outside base.
    pub parent: String,
    pub tags: Vec<String>,
    /// `sha256:…` of its manifest or configuration.
    pub digest: String,
    pub key: String,
    pub bytes: Option<u64>,
    /// As people of this place write a time.
    pub built: String,
    /// Whether the engine holds an image with the wanted key.
    pub up_to_date: Option<bool>,
    pub tests_passed: usize,
    pub tests_failed: usize,
    /// Its description page, Markdown.
    pub manifest: String,
}

/// One move of a tag.
#[derive(Clone, Debug, Default)]
pub struct Promotion {
    pub time: String,
    pub image: String,
    pub tag: String,
    /// Digests before and after; before is empty for a new tag.
    pub from: String,
    pub to: String,
}

/// All that the page shows.
#[derive(Clone, Debug, Default)]
pub struct StackView {
    pub title: String,
    /// Images before those that are built on them.
    pub images: Vec<StackImage>,
    /// The newest first.
    pub promotions: Vec<Promotion>,
}

/// The page.
pub fn html(view: &StackView) -> String {
    let mut body = facts(view);
    body.push_str(&format!("<div class=\"wide\">{}</div>\n", graph::picture(&as_graph(view))));
    body.push_str(
        "<h2>Images</h2>\n<div class=\"wide\"><table><thead><tr><th>image</th><th>plan</th><th>built on</th>",
    );
    body.push_str(
        "<th>state</th><th class=\"n\">size</th><th>tests</th><th>tags</th><th>digest</th></tr></thead><tbody>\n",
    );
    body.extend(view.images.iter().map(row));
    body.push_str("</tbody></table></div>\n");
    if !view.promotions.is_empty() {
        body.push_str(
            "<h2>Promotions</h2>\n<div class=\"wide\"><table><thead><tr><th>when</th><th>image</th><th>tag</th>",
        );
        body.push_str("<th>from</th><th>to</th></tr></thead><tbody>\n");
        body.extend(view.promotions.iter().map(promotion));
        body.push_str("</tbody></table></div>\n");
    }
    let manifests: Vec<&StackImage> = view.images.iter().filter(|image| !image.manifest.is_empty()).collect();
    if !manifests.is_empty() {
        body.push_str("<h2>Manifests</h2>\n");
        body.extend(manifests.into_iter().map(manifest));
    }
    page(&view.title, true, &body)
}

fn facts(view: &StackView) -> String {
    let count = |test: fn(&StackImage) -> bool| view.images.iter().filter(|image| test(image)).count();
    let bytes: u64 = view.images.iter().filter_map(|image| image.bytes).sum();
    let facts = [
        ("images", view.images.len().to_string()),
        ("up to date", count(|image| image.up_to_date == Some(true)).to_string()),
        ("with failed tests", count(|image| image.tests_failed > 0).to_string()),
        ("size in all", layout::bytes(bytes)),
    ];
    let items: Vec<String> =
        facts.iter().map(|(name, value)| format!("<li><b>{value}</b><span>{name}</span></li>")).collect();
    format!("<ul class=\"facts\">{}</ul>\n", items.concat())
}

fn status(image: &StackImage) -> Status {
    match (image.tests_failed, image.up_to_date) {
        (1.., _) => Status::Failed,
        (0, Some(true)) => Status::UpToDate,
        (0, Some(false)) => Status::Stale,
        (0, None) => Status::Unknown,
    }
}

fn full_name(image: &StackImage) -> String {
    if image.plan.is_empty() { image.name.clone() } else { format!("{} ({})", image.name, image.plan) }
}

fn as_graph(view: &StackView) -> GraphView {
    let mut graph = GraphView::default();
    for image in &view.images {
        let name = full_name(image);
        let parent = StackImage { name: image.parent.clone(), plan: image.plan.clone(), ..StackImage::default() };
        graph.edges.push(GraphEdge {
            from: name.as_str().into(),
            to: full_name(&parent).into(),
            order_only: false,
            why: "FROM".into(),
        });
        let doc = image.tags.join(" ");
        graph.nodes.push(GraphNode { name: name.into(), status: status(image), group: None, doc });
    }
    graph
}

/// The first letters of a digest, the whole of it in the tooltip.
fn digest(text: &str) -> String {
    let hex = text.strip_prefix("sha256:").unwrap_or(text);
    let short: String = hex.chars().take(12).collect();
    format!("<code title=\"{}\">{}</code>", escape(text), escape(&short))
}

fn row(image: &StackImage) -> String {
    let (look, state) = match status(image) {
        Status::Failed => ("bad", "tests failed"),
        Status::UpToDate => (class("ran"), "up to date"),
        Status::Stale => ("warn", "to be built"),
        _ => ("rest", "unknown"),
    };
    let tests = match (image.tests_passed, image.tests_failed) {
        (0, 0) => String::new(),
        (passed, 0) => format!("{passed}\u{a0}passed"),
        (passed, failed) => format!("{passed}\u{a0}passed, {failed}\u{a0}failed"),
    };
    let tags: Vec<String> = image.tags.iter().map(|tag| format!("<code>{}</code>", escape(tag))).collect();
    let built = if image.built.is_empty() {
        String::new()
    } else {
        format!(" <span class=\"soft\">{}</span>", escape(&image.built))
    };
    format!(
        "<tr data-name=\"{name}\"><td><code>{}</code></td><td>{}</td><td><code>{}</code></td>\
         <td><span class=\"tag {look}\">{state}</span>{built}</td><td class=\"n\">{}</td><td>{tests}</td><td>{}</td>\
         <td>{}</td></tr>\n",
        escape(&image.name),
        escape(&image.plan),
        escape(&image.parent),
        image.bytes.map_or_else(String::new, layout::bytes),
        tags.join("<br>"),
        digest(&image.digest),
        name = escape(&full_name(image)),
    )
}

fn promotion(one: &Promotion) -> String {
    format!(
        "<tr data-name=\"{image}\"><td>{}</td><td><code>{image}</code></td><td><code>{}</code></td><td>{}</td><td>{}</td></tr>\n",
        escape(&one.time),
        escape(&one.tag),
        if one.from.is_empty() { "<span class=\"soft\">new</span>".to_owned() } else { digest(&one.from) },
        digest(&one.to),
        image = escape(&one.image),
    )
}

/// Markdown as it is: the page has no renderer, and a manifest reads well as text.
fn manifest(image: &StackImage) -> String {
    format!(
        "<details data-name=\"{name}\"><summary><code>{name}</code></summary><pre class=\"wide\">{}</pre></details>\n",
        escape(&image.manifest),
        name = escape(&full_name(image)),
    )
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn image(name: &str, parent: &str) -> StackImage {
        StackImage {
            name: name.into(),
            plan: "lab".into(),
            parent: parent.into(),
            tags: vec!["1.4.0".into(), "latest".into()],
            digest: "sha256:0123456789abcdef0123".into(),
            bytes: Some(12_100_000),
            up_to_date: Some(true),
            tests_passed: 3,
            manifest: "# A <page>\n".into(),
            ..StackImage::default()
        }
    }

    pub(crate) fn sample() -> StackView {
        let mut view = StackView { title: "The stack".into(), ..StackView::default() };
        view.images = vec![image("base", "debian:bookworm-slim"), image("sci", "base")];
        view.images[1].tests_failed = 1;
        view.promotions.push(Promotion {
            time: "2026-11-21".into(),
            image: "sci".into(),
            tag: "stable".into(),
            to: "sha256:ff".into(),
            ..Promotion::default()
        });
        view
    }

    #[test]
    fn the_page_shows_each_image_with_its_parent_and_state() {
        let page = html(&sample());
        assert_eq!(page.matches("<tr data-name=\"sci (lab)\">").count(), 1);
        assert!(
            page.contains("<span class=\"tag bad\">tests failed</span>")
                && page.contains("3\u{a0}passed, 1\u{a0}failed")
        );
        assert!(page.contains("<code title=\"sha256:0123456789abcdef0123\">0123456789ab</code>"));
        assert!(page.contains("data-name=\"sci (lab) needs base (lab)\"") && page.contains("24.2 MB"));
        assert!(
            page.contains("# A &lt;page&gt;")
                && page.contains("<td><code>stable</code></td><td><span class=\"soft\">new</span></td>")
        );
    }
}
