//! The graph as a picture and as a page. Knows nothing of where nodes stand best.

use super::super::layout::width;
use super::super::page::{class, escape, page};
use super::place::places;
use super::{Indexed, Status};

/// Pixels.
const LETTER: f64 = 7.4;
const HIGH: f64 = 30.0;
const ROW: f64 = 44.0;
const GAP: f64 = 70.0;
const EDGE: f64 = 20.0;

/// Longer names lose their middle, for members of a group differ at the end; the whole is in the tooltip.
const LONGEST: usize = 34;

/// In larger graphs it is not looked for edges that others imply.
const MOST_NODES: usize = 4_000;

/// Left, top and width of a box.
type Boxed = (f64, f64, f64);

pub(super) fn svg_file(graph: &Indexed<'_>) -> String {
    // On its own a picture has no page to take its style from.
    let style = "svg{background:#fff;font:12px ui-monospace,monospace}text{fill:#1c2330}\
        .edge{fill:none;stroke:#8a95a8;stroke-width:1.2}.edge.order{stroke-dasharray:4 3}.edge.implied{opacity:.18}\
        .node rect{fill:#fff;stroke-width:1.8;stroke:#7b8798}.node.ran rect{stroke:#1f7a4d;fill:#e8f6ee}\
        .node.fresh rect{stroke:#9aa6b8;fill:#f2f4f8}.node.bad rect{stroke:#c62f3b;fill:#fdecee}\
        .node.unmet rect{stroke:#8a6d9e;fill:#f5eefa}";
    format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{}\n", svg(graph, &format!("<style>{style}</style>\n")))
}

pub(super) fn svg(graph: &Indexed<'_>, extra: &str) -> String {
    let (boxes, wide, high) = boxes(graph);
    // A page may shrink it a little; a wider one scrolls.
    let least = wide * 0.7;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {wide:.0} {high:.0}\" width=\"{wide:.0}\" \
         height=\"{high:.0}\" style=\"min-width:{least:.0}px\" role=\"img\" aria-label=\"The graph of tasks\">\n{extra}\
         <defs><marker id=\"tip\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"7\" markerHeight=\"7\" \
         orient=\"auto\"><path d=\"M0 0L8 4L0 8z\" fill=\"#8a95a8\"/></marker></defs>\n"
    );
    for ((from, to, edge), implied) in graph.edges.iter().zip(implied(graph)) {
        let order = if edge.order_only { " order" } else { "" };
        let implied = if implied { " implied" } else { "" };
        let names = format!("{} needs {}", graph.nodes[*from].name, graph.nodes[*to].name);
        let why = if edge.why.is_empty() { names.clone() } else { format!("{names}: {}", edge.why) };
        svg.push_str(&format!(
            "<path class=\"edge{order}{implied}\" data-name=\"{}\" data-from=\"{from}\" data-to=\"{to}\" \
             marker-end=\"url(#tip)\" d=\"{}\"><title>{}</title></path>\n",
            escape(&names),
            curve(boxes[*to], boxes[*from]),
            escape(&why)
        ));
    }
    for (number, (node, (left, top, wide))) in graph.nodes.iter().zip(&boxes).enumerate() {
        let doc = if node.doc.is_empty() { String::new() } else { format!(": {}", node.doc) };
        svg.push_str(&format!(
            "<g class=\"node {}\" data-name=\"{name}\" data-node=\"{number}\" tabindex=\"0\"><title>{name}{}{}</title>\
             <rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"{wide:.1}\" height=\"{HIGH}\" rx=\"7\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\">{}</text></g>\n",
            look(node.status),
            if node.status == Status::Unknown { String::new() } else { format!(" ({})", node.status.name()) },
            escape(&doc),
            left + 10.0,
            top + 19.5,
            escape(&without_middle(&node.name, LONGEST)),
            name = escape(&node.name),
        ));
    }
    svg.push_str("</svg>");
    svg
}

/// `build:python_base_environment-3.12` in twenty letters: `build:pyt…nment-3.12`.
fn without_middle(name: &str, longest: usize) -> String {
    if width(name) <= longest {
        return name.to_owned();
    }
    let letters: Vec<char> = name.chars().collect();
    let tail = longest / 2;
    let head = longest.saturating_sub(tail + 1).min(letters.len());
    let (head, tail) = (&letters[..head], &letters[letters.len().saturating_sub(tail)..]);
    head.iter().chain(&['…']).chain(tail).collect()
}

/// For each edge whether a longer way says the same: then it is drawn faintly, so that the order of work stands out.
fn implied(graph: &Indexed<'_>) -> Vec<bool> {
    let nodes = graph.nodes.len();
    if nodes > MOST_NODES {
        return vec![false; graph.edges.len()];
    }
    // What each node reaches, as bits; needed ones first.
    let words = nodes.div_ceil(64);
    let mut reach: Vec<Vec<u64>> = vec![Vec::new(); nodes];
    let has = |bits: &[u64], node: usize| bits.get(node / 64).is_some_and(|word| word >> (node % 64) & 1 == 1);
    let mut found = vec![false; graph.edges.len()];
    for node in places(graph).order() {
        let needs: Vec<usize> = graph.needs(node).collect();
        let mut bits = vec![0_u64; words];
        for need in &needs {
            for (own, other) in bits.iter_mut().zip(&reach[*need]) {
                *own |= other;
            }
        }
        let start = graph.edges.partition_point(|(from, ..)| *from < node);
        for (at, need) in needs.iter().enumerate() {
            found[start + at] = has(&bits, *need);
        }
        for need in needs {
            bits[need / 64] |= 1 << (need % 64);
        }
        reach[node] = bits;
    }
    found
}

/// What is needed stands left of what needs it, so edges run from left to right in the order of work.
fn curve((left, top, wide): Boxed, (to_left, to_top, _): Boxed) -> String {
    let (x, y) = (left + wide, top + HIGH / 2.0);
    let (to_x, to_y) = (to_left - 2.0, to_top + HIGH / 2.0);
    let bend = ((to_x - x) / 2.0).max(24.0);
    format!("M{x:.1} {y:.1}C{:.1} {y:.1} {:.1} {to_y:.1} {to_x:.1} {to_y:.1}", x + bend, to_x - bend)
}

fn boxes(graph: &Indexed<'_>) -> (Vec<Boxed>, f64, f64) {
    let places = places(graph);
    let mut boxes = vec![(0.0, 0.0, 0.0); graph.nodes.len()];
    let tallest = places.columns.iter().map(Vec::len).max().unwrap_or(0) as f64 * ROW;
    let mut left = EDGE;
    for column in &places.columns {
        let letters = column.iter().map(|node| width(&graph.nodes[*node].name).min(LONGEST)).max().unwrap_or(0);
        let wide = letters as f64 * LETTER + 20.0;
        let top = EDGE + (tallest - column.len() as f64 * ROW) / 2.0;
        for (row, node) in column.iter().enumerate() {
            boxes[*node] = (left, top + row as f64 * ROW, wide);
        }
        left += wide + GAP;
    }
    (boxes, (left - GAP + EDGE).max(2.0 * EDGE), tallest + 2.0 * EDGE)
}

fn look(status: Status) -> &'static str {
    match status {
        Status::Unknown => "plain",
        Status::Asks | Status::Ignored => "rest",
        Status::Stale => "warn",
        other => class(other.name()),
    }
}

pub(super) fn html(graph: &Indexed<'_>, title: &str) -> String {
    let mut body = String::from("<ul class=\"facts\">");
    let decided = graph.nodes.iter().filter(|node| node.status != Status::Unknown).count();
    body.push_str(&format!("<li><b>{}</b><span>tasks</span></li>", graph.nodes.len()));
    use Status::{Asks, Failed, Ignored, Run, Unmet, UpToDate};
    for status in [Run, UpToDate, Failed, Unmet, Asks, Ignored] {
        let number = graph.nodes.iter().filter(|node| node.status == status).count();
        if number > 0 {
            let (look, name) = (look(status), status.name());
            body.push_str(&format!("<li><b>{number}</b><span class=\"tag {look}\">{name}</span></li>"));
        }
    }
    body.push_str(&format!(
        "</ul>\n<div class=\"wide\">{}</div>\n\
         <p class=\"soft\">What is needed stands left. Dashed: only the order counts. Click a task, or press Enter on it, to see \
         what it needs and what needs it.</p>\n<h2>Tasks</h2>\n<div class=\"wide\"><table><thead><tr>",
        svg(graph, "")
    ));
    let status = if decided > 0 { "<th>status</th>" } else { "" };
    body.push_str(&format!("<th>task</th>{status}<th>needs</th><th>doc</th></tr></thead><tbody>\n"));
    for (number, node) in graph.nodes.iter().enumerate() {
        let needs: Vec<String> =
            graph.needs(number).map(|need| format!("<code>{}</code>", escape(&graph.nodes[need].name))).collect();
        let (look, name) = (look(node.status), node.status.name());
        let status = match (decided, node.status) {
            (0, _) => String::new(),
            (_, Status::Unknown) => "<td></td>".to_owned(),
            _ => format!("<td><span class=\"tag {look}\">{name}</span></td>"),
        };
        body.push_str(&format!(
            "<tr data-name=\"{0}\"><td><code>{0}</code></td>{status}<td class=\"names\">{1}</td><td class=\"why\">{2}</td></tr>\n",
            escape(&node.name),
            needs.join(" "),
            escape(&node.doc)
        ));
    }
    body.push_str("</tbody></table></div>\n");
    page(title, true, &body)
}
