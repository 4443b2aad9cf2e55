//! The graph as a picture and as a page. Knows nothing of where nodes stand best.

use super::super::layout::{cut, width};
use super::super::page::{class, escape, page};
use super::place::places;
use super::{Indexed, Status};

/// Pixels.
const LETTER: f64 = 7.4;
const HIGH: f64 = 30.0;
const ROW: f64 = 44.0;
const GAP: f64 = 70.0;
const EDGE: f64 = 20.0;

/// Longer names are cut; the whole is in the tooltip.
const LONGEST: usize = 34;

/// Left, top and width of a box.
type Boxed = (f64, f64, f64);

pub(super) fn svg_file(graph: &Indexed<'_>) -> String {
    // On its own a picture has no page to take its style from.
    let style = "svg{background:#fff;font:12px ui-monospace,monospace}text{fill:#1c2330}\
        .edge{fill:none;stroke:#8a95a8;stroke-width:1.2}.edge.order{stroke-dasharray:4 3}\
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
    for (from, to, edge) in &graph.edges {
        let order = if edge.order_only { " order" } else { "" };
        let names = format!("{} needs {}", graph.nodes[*from].name, graph.nodes[*to].name);
        let why = if edge.why.is_empty() { names.clone() } else { format!("{names}: {}", edge.why) };
        svg.push_str(&format!(
            "<path class=\"edge{order}\" data-name=\"{}\" marker-end=\"url(#tip)\" d=\"{}\"><title>{}</title></path>\n",
            escape(&names),
            curve(boxes[*to], boxes[*from]),
            escape(&why)
        ));
    }
    for (node, (left, top, wide)) in graph.nodes.iter().zip(&boxes) {
        let doc = if node.doc.is_empty() { String::new() } else { format!(": {}", node.doc) };
        svg.push_str(&format!(
            "<g class=\"node {}\" data-name=\"{name}\"><title>{name} ({}){}</title>\
             <rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"{wide:.1}\" height=\"{HIGH}\" rx=\"7\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\">{}</text></g>\n",
            look(node.status),
            node.status.name(),
            escape(&doc),
            left + 10.0,
            top + 19.5,
            escape(&cut(&node.name, LONGEST)),
            name = escape(&node.name),
        ));
    }
    svg.push_str("</svg>");
    svg
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
        Status::Ignored | Status::Unknown => "rest",
        other => class(other.name()),
    }
}

pub(super) fn html(graph: &Indexed<'_>, title: &str) -> String {
    let mut body = String::from("<ul class=\"facts\">");
    let all = [Status::Run, Status::UpToDate, Status::Failed, Status::Unmet, Status::Ignored, Status::Unknown];
    for status in all {
        let number = graph.nodes.iter().filter(|node| node.status == status).count();
        if number > 0 {
            let (look, name) = (look(status), status.name());
            body.push_str(&format!("<li><b>{number}</b><span class=\"tag {look}\">{name}</span></li>"));
        }
    }
    body.push_str(&format!(
        "</ul>\n<div class=\"wide\">{}</div>\n<h2>Tasks</h2>\n<div class=\"wide\"><table><thead><tr>",
        svg(graph, "")
    ));
    body.push_str("<th>task</th><th>status</th><th>needs</th><th>doc</th></tr></thead><tbody>\n");
    for (number, node) in graph.nodes.iter().enumerate() {
        let needs: Vec<String> =
            graph.needs(number).map(|need| format!("<code>{}</code>", escape(&graph.nodes[need].name))).collect();
        body.push_str(&format!(
            "<tr data-name=\"{0}\"><td><code>{0}</code></td><td><span class=\"tag {1}\">{2}</span></td>\
             <td>{3}</td><td>{4}</td></tr>\n",
            escape(&node.name),
            look(node.status),
            node.status.name(),
            needs.join(" "),
            escape(&node.doc)
        ));
    }
    body.push_str("</tbody></table></div>\n");
    page(title, true, &body)
}
