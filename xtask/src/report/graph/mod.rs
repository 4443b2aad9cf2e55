//! The graph of tasks as text, DOT, Mermaid, JSON, SVG or a page. Pure: a small view of the graph in, text out.
//!
//! Knows nothing of how edges come about or how a status was decided.

mod draw;
mod place;
mod write;

use std::collections::BTreeMap;
use std::sync::Arc;

/// What is known of a task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Status {
    /// Not decided.
    #[default]
    Unknown,
    UpToDate,
    /// Would run, or ran.
    Run,
    Failed,
    /// Of an image: not as its files say.
    Stale,
    Unmet,
    /// Cannot be decided: it has a required option.
    Asks,
    Ignored,
}

impl Status {
    /// The stable name used in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::UpToDate => "up-to-date",
            Self::Run => "run",
            Self::Failed => "failed",
            Self::Stale => "stale",
            Self::Unmet => "unmet",
            Self::Asks => "needs-option",
            Self::Ignored => "ignored",
        }
    }
}

/// One task.
#[derive(Clone, Debug)]
pub struct GraphNode {
    pub name: Arc<str>,
    pub status: Status,
    /// The group whose member it is.
    pub group: Option<Arc<str>>,
    /// First line of its doc.
    pub doc: String,
}

/// `from` needs `to`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct GraphEdge {
    pub from: Arc<str>,
    pub to: Arc<str>,
    /// Only order: another result of `to` does not make `from` run.
    pub order_only: bool,
    /// Why there is an edge, e.g. `file_dep images/a/Dockerfile`; may be empty.
    pub why: String,
}

/// What is shown. Edges to names without a node are left out.
#[derive(Clone, Debug, Default)]
pub struct GraphView {
    pub nodes: Vec<GraphNode>,
    pub edges: Vec<GraphEdge>,
}

/// `--format`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GraphFormat {
    #[default]
    Text,
    Dot,
    Mermaid,
    Json,
    Svg,
    Html,
}

impl GraphFormat {
    /// Every name that `--format` takes.
    pub const NAMES: [(&'static str, Self); 6] = [
        ("text", Self::Text),
        ("dot", Self::Dot),
        ("mermaid", Self::Mermaid),
        ("json", Self::Json),
        ("svg", Self::Svg),
        ("html", Self::Html),
    ];

    pub fn from_name(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, format)| *format)
    }
}

/// The graph in this format, with a final newline.
pub fn graph(view: &GraphView, format: GraphFormat, title: &str) -> String {
    let indexed = Indexed::new(view);
    match format {
        GraphFormat::Text => write::text(&indexed),
        GraphFormat::Dot => write::dot(&indexed),
        GraphFormat::Mermaid => write::mermaid(&indexed),
        GraphFormat::Json => write::json(&indexed),
        GraphFormat::Svg => draw::svg_file(&indexed),
        GraphFormat::Html => draw::html(&indexed, title),
    }
}

/// Only the picture, for another page.
pub fn picture(view: &GraphView) -> String {
    draw::svg(&Indexed::new(view), "")
}

/// The view with numbers for names.
struct Indexed<'a> {
    nodes: &'a [GraphNode],
    /// From, to, the edge; sorted, without loops.
    edges: Vec<(usize, usize, &'a GraphEdge)>,
}

impl<'a> Indexed<'a> {
    fn new(view: &'a GraphView) -> Self {
        let numbers: BTreeMap<&str, usize> =
            view.nodes.iter().enumerate().map(|(number, node)| (&*node.name, number)).collect();
        let number = |name: &str| numbers.get(name).copied();
        let mut edges: Vec<_> =
            view.edges.iter().filter_map(|edge| Some((number(&edge.from)?, number(&edge.to)?, edge))).collect();
        edges.retain(|(from, to, _)| from != to);
        edges.sort();
        edges.dedup_by_key(|(from, to, _)| (*from, *to));
        Self { nodes: &view.nodes, edges }
    }

    /// What `node` needs.
    fn needs(&self, node: usize) -> impl Iterator<Item = usize> + '_ {
        let start = self.edges.partition_point(|(from, ..)| *from < node);
        self.edges[start..].iter().take_while(move |(from, ..)| *from == node).map(|(_, to, _)| *to)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A chain of three images, a lint task beside them, and a name that fights back.
    pub(in super::super) fn sample() -> GraphView {
        let node = |name: &str, status, group: Option<&str>| GraphNode {
            name: name.into(),
            status,
            group: group.map(Into::into),
            doc: String::new(),
        };
        let edge = |from: &str, to: &str, order_only| GraphEdge {
            from: from.into(),
            to: to.into(),
            order_only,
            why: if order_only { String::new() } else { "FROM".into() },
        };
        GraphView {
            nodes: vec![
                node("build-stack", Status::Run, None),
                node("build:base", Status::UpToDate, Some("build")),
                node("build:sci\"<b>\"", Status::Run, Some("build")),
                node("test:base", Status::Failed, None),
                node("lint", Status::Unknown, None),
            ],
            edges: vec![
                edge("build-stack", "test:base", true),
                edge("build-stack", "build:sci\"<b>\"", true),
                edge("build:sci\"<b>\"", "build:base", false),
                edge("test:base", "build:base", false),
                edge("lint", "gone", false),
            ],
        }
    }

    #[test]
    fn text_is_a_tree_in_which_each_task_is_opened_once() {
        let wanted = "\
build-stack  run
├── build:sci\"<b>\"  run
│   └── build:base  up-to-date
└── test:base  failed
    └── build:base  up-to-date
lint
";
        assert_eq!(graph(&sample(), GraphFormat::Text, ""), wanted);
        let mut view = sample();
        view.edges.push(GraphEdge {
            from: "build:base".into(),
            to: "lint".into(),
            order_only: true,
            why: String::new(),
        });
        let text = graph(&view, GraphFormat::Text, "");
        assert!(text.ends_with("└── test:base  failed\n    └── build:base  up-to-date  (see above)\n"), "{text}");
    }

    #[test]
    fn dot_and_mermaid_quote_names() {
        let dot = graph(&sample(), GraphFormat::Dot, "");
        let wanted = r##"digraph tasks {
  rankdir=LR;
  node [shape=box, style="rounded,filled", fontname="sans-serif"];
  subgraph "cluster_build" {
    label="build";
    n1 [label="build:base", fillcolor="#e3e8ef"];
    n2 [label="build:sci\"<b>\"", fillcolor="#bfe6cf"];
  }
  n0 [label="build-stack", fillcolor="#bfe6cf"];
  n3 [label="test:base", fillcolor="#f6c4c8"];
  n4 [label="lint", fillcolor="#ffffff"];
  n0 -> n2 [style=dashed];
  n0 -> n3 [style=dashed];
  n2 -> n1 [tooltip="FROM"];
  n3 -> n1 [tooltip="FROM"];
}
"##;
        assert_eq!(dot, wanted);
        let mermaid = graph(&sample(), GraphFormat::Mermaid, "");
        assert!(
            mermaid.starts_with("flowchart LR\n  subgraph g0 [\"build\"]\n    n1[\"build:base\"]:::fresh\n"),
            "{mermaid}"
        );
        assert!(mermaid.contains("n2[\"build:sci#quot;#lt;b#gt;#quot;\"]:::run\n"), "{mermaid}");
        assert!(mermaid.contains("  n0 -.-> n2\n") && mermaid.contains("  n2 --> n1\n"), "{mermaid}");
    }

    #[test]
    fn json_has_names_and_states() {
        let json: serde_json::Value = serde_json::from_str(&graph(&sample(), GraphFormat::Json, "")).unwrap();
        assert_eq!(json["v"], 1);
        assert_eq!(
            json["nodes"][1],
            serde_json::json!({ "name": "build:base", "status": "up-to-date", "group": "build" })
        );
        let wanted =
            serde_json::json!({ "from": "build:sci\"<b>\"", "to": "build:base", "kind": "result", "why": "FROM" });
        assert_eq!(json["edges"][2], wanted);
        assert_eq!(json["edges"].as_array().unwrap().len(), 4);
    }

    #[test]
    fn pictures_are_well_formed_and_searchable() {
        let svg = graph(&sample(), GraphFormat::Svg, "");
        let mut reader = quick_xml::Reader::from_str(&svg);
        while reader.read_event().unwrap() != quick_xml::events::Event::Eof {}
        assert_eq!((svg.matches("class=\"node ").count(), svg.matches("class=\"edge").count()), (5, 4));
        let html = graph(&sample(), GraphFormat::Html, "Tasks of <x>");
        assert!(html.contains("data-name=\"build:sci&quot;&lt;b&gt;&quot;\"") && !html.contains("<b>\""));
        assert!(html.contains("<title>Tasks of &lt;x&gt;</title>") && html.contains("id=\"find\""));
    }

    #[test]
    fn a_large_graph_and_a_cycle_are_drawn() {
        let node = |number: usize| GraphNode {
            name: format!("t{number}").into(),
            status: Status::Run,
            group: None,
            doc: String::new(),
        };
        let edge = |from: usize, to: usize| GraphEdge {
            from: format!("t{from}").into(),
            to: format!("t{to}").into(),
            order_only: false,
            why: String::new(),
        };
        let view = GraphView {
            nodes: (0..2_000).map(node).collect(),
            edges: (1..2_000)
                .flat_map(|number| [edge(number, number / 2), edge(number, number / 3)])
                .chain([edge(0, 1_999)])
                .collect(),
        };
        let start = std::time::Instant::now();
        let svg = graph(&view, GraphFormat::Svg, "");
        assert_eq!(svg.matches("class=\"node ").count(), 2_000);
        assert!(graph(&view, GraphFormat::Text, "").lines().count() >= 2_000);
        assert!(start.elapsed() < std::time::Duration::from_secs(5), "{:?}", start.elapsed());
    }
}
