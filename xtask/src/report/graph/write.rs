//! The formats that are plain text. Knows nothing of places in a picture.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{GraphNode, Indexed, Status};

/// A tree per task that nothing needs. What a task needs is shown below its first appearance only.
pub(super) fn text(graph: &Indexed<'_>) -> String {
    let mut needed = vec![false; graph.nodes.len()];
    for (_, to, _) in &graph.edges {
        needed[*to] = true;
    }
    let mut opened = vec![false; graph.nodes.len()];
    let mut text = String::new();
    for root in (0..graph.nodes.len()).filter(|node| !needed[*node]) {
        tree(graph, root, &mut opened, &mut text);
    }
    // What is left lies on cycles.
    for root in 0..graph.nodes.len() {
        if !opened[root] {
            tree(graph, root, &mut opened, &mut text);
        }
    }
    text
}

/// Without recursion: a chain may be as long as the graph.
fn tree(graph: &Indexed<'_>, root: usize, opened: &mut [bool], text: &mut String) {
    let mut waiting = vec![(root, String::new(), String::new())];
    while let Some((node, before, below)) = waiting.pop() {
        let first = !std::mem::replace(&mut opened[node], true);
        let needs: Vec<usize> = graph.needs(node).collect();
        let again = if first || needs.is_empty() { "" } else { "  (see above)" };
        let GraphNode { name, status, .. } = &graph.nodes[node];
        let status = if *status == Status::Unknown { String::new() } else { format!("  {}", status.name()) };
        text.push_str(&format!("{before}{name}{status}{again}\n"));
        if !first {
            continue;
        }
        for (number, need) in needs.iter().enumerate().rev() {
            let last = number + 1 == needs.len();
            let (branch, trunk) = if last { ("└── ", "    ") } else { ("├── ", "│   ") };
            waiting.push((*need, format!("{below}{branch}"), format!("{below}{trunk}")));
        }
    }
}

/// Nodes by group, those without a group last.
fn by_group<'a>(graph: &Indexed<'a>) -> (BTreeMap<&'a str, Vec<usize>>, Vec<usize>) {
    let mut groups: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    let mut alone = Vec::new();
    for (number, node) in graph.nodes.iter().enumerate() {
        match &node.group {
            Some(group) => groups.entry(group).or_default().push(number),
            None => alone.push(number),
        }
    }
    (groups, alone)
}

fn fill(status: Status) -> &'static str {
    match status {
        Status::Unknown => "#ffffff",
        Status::UpToDate => "#e3e8ef",
        Status::Run => "#bfe6cf",
        Status::Failed => "#f6c4c8",
        Status::Stale => "#f5e2bd",
        Status::Unmet => "#e6d6f0",
        Status::Asks => "#e7ebf5",
        Status::Ignored => "#eeeeee",
    }
}

pub(super) fn dot(graph: &Indexed<'_>) -> String {
    let quote = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', " "));
    let mut text = String::from(
        "digraph tasks {\n  rankdir=LR;\n  node [shape=box, style=\"rounded,filled\", fontname=\"sans-serif\"];\n",
    );
    let node = |number: usize, indent: &str| {
        let GraphNode { name, status, .. } = &graph.nodes[number];
        format!("{indent}n{number} [label={}, fillcolor=\"{}\"];\n", quote(name), fill(*status))
    };
    let (groups, alone) = by_group(graph);
    for (group, members) in groups {
        text.push_str(&format!("  subgraph {} {{\n    label={};\n", quote(&format!("cluster_{group}")), quote(group)));
        text.extend(members.into_iter().map(|member| node(member, "    ")));
        text.push_str("  }\n");
    }
    text.extend(alone.into_iter().map(|one| node(one, "  ")));
    for (from, to, edge) in &graph.edges {
        let mut facts = Vec::new();
        if edge.order_only {
            facts.push("style=dashed".to_owned());
        }
        if !edge.why.is_empty() {
            facts.push(format!("tooltip={}", quote(&edge.why)));
        }
        let facts = if facts.is_empty() { String::new() } else { format!(" [{}]", facts.join(", ")) };
        text.push_str(&format!("  n{from} -> n{to}{facts};\n"));
    }
    text.push_str("}\n");
    text
}

pub(super) fn mermaid(graph: &Indexed<'_>) -> String {
    // Mermaid has its own form of entities; anything else in quotes is text.
    let quote = |text: &str| {
        let text = text.replace('#', "#35;").replace('"', "#quot;").replace('<', "#lt;").replace('>', "#gt;");
        format!("\"{}\"", text.replace('\n', " "))
    };
    let node = |number: usize, indent: &str| {
        let GraphNode { name, status, .. } = &graph.nodes[number];
        format!("{indent}n{number}[{}]:::{}\n", quote(name), mermaid_class(*status))
    };
    let mut text = String::from("flowchart LR\n");
    let (groups, alone) = by_group(graph);
    for (number, (group, members)) in groups.into_iter().enumerate() {
        text.push_str(&format!("  subgraph g{number} [{}]\n", quote(group)));
        text.extend(members.into_iter().map(|member| node(member, "    ")));
        text.push_str("  end\n");
    }
    text.extend(alone.into_iter().map(|one| node(one, "  ")));
    for (from, to, edge) in &graph.edges {
        let arrow = if edge.order_only { "-.->" } else { "-->" };
        text.push_str(&format!("  n{from} {arrow} n{to}\n"));
    }
    use Status::{Asks, Failed, Ignored, Run, Unknown, Unmet, UpToDate};
    for status in [Unknown, UpToDate, Run, Failed, Unmet, Asks, Ignored] {
        text.push_str(&format!("  classDef {} fill:{},color:#1c2330\n", mermaid_class(status), fill(status)));
    }
    text
}

fn mermaid_class(status: Status) -> &'static str {
    match status {
        Status::UpToDate => "fresh",
        Status::Asks => "asks",
        other => other.name(),
    }
}

pub(super) fn json(graph: &Indexed<'_>) -> String {
    let nodes: Vec<Value> = graph
        .nodes
        .iter()
        .map(|node| {
            let mut object = serde_json::Map::new();
            object.insert("name".into(), (*node.name).into());
            object.insert("status".into(), node.status.name().into());
            if let Some(group) = &node.group {
                object.insert("group".into(), (**group).into());
            }
            if !node.doc.is_empty() {
                object.insert("doc".into(), node.doc.as_str().into());
            }
            Value::Object(object)
        })
        .collect();
    let edges: Vec<Value> = graph
        .edges
        .iter()
        .map(|(_, _, edge)| {
            let kind = if edge.order_only { "order" } else { "result" };
            json!({ "from": *edge.from, "to": *edge.to, "kind": kind, "why": edge.why })
        })
        .collect();
    format!("{:#}\n", json!({ "v": 1, "nodes": nodes, "edges": edges }))
}
