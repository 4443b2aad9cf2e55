//! The frame of every HTML page: one file, nothing loaded, light and dark. Knows nothing of what a page shows.

/// Text for an element or a quoted attribute.
pub fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in super::clean::text(text, false).chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
    }
    safe
}

/// The class that gives an outcome or status its colour.
pub fn class(status: &str) -> &'static str {
    match status {
        "ran" | "run" => "ran",
        "up-to-date" => "fresh",
        "failed" | "error" => "bad",
        "interrupted" => "warn",
        "unmet" => "unmet",
        _ => "rest",
    }
}

/// A whole page. `body` is HTML; rows with `data-name` are filtered by the search field if `search` is set.
pub fn page(title: &str, search: bool, body: &str) -> String {
    let title = escape(title);
    let field = if search {
        "<input id=\"find\" type=\"search\" placeholder=\"Find by name\" aria-label=\"Find by name\">"
    } else {
        ""
    };
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; \
         script-src 'unsafe-inline'; img-src data:\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<header><h1>{title}</h1>{field}</header>\n\
         {body}\n<script>\n{SCRIPT}</script>\n</body>\n</html>\n"
    )
}

const STYLE: &str = "\
:root { color-scheme: light dark; --bg: #ffffff; --fg: #1c2330; --soft: #5b6678; --line: #dfe3ea; --card: #f6f8fb;
  --ran: #1f7a4d; --fresh: #9aa6b8; --bad: #c62f3b; --warn: #b7791f; --unmet: #8a6d9e; --rest: #7b8798; --path: #2456c9; }
@media (prefers-color-scheme: dark) { :root { --bg: #12161d; --fg: #e3e8f0; --soft: #94a0b4; --line: #2a3240;
  --card: #1a202a; --ran: #3fb27f; --fresh: #566277; --bad: #f0616d; --warn: #e0a63f; --unmet: #b08fc9;
  --rest: #7f8ba0; --path: #7aa2ff; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem; max-width: 82rem; background: var(--bg); color: var(--fg);
  font: 15px/1.5 system-ui, -apple-system, 'Segoe UI', 'Noto Sans', sans-serif; }
header { display: flex; flex-wrap: wrap; gap: 1rem; align-items: baseline; justify-content: space-between; }
h1 { font-size: 1.4rem; margin: 0; } h2 { font-size: 1.05rem; margin: 2rem 0 .6rem; }
input[type=search] { font: inherit; padding: .35rem .7rem; border: 1px solid var(--line); border-radius: .5rem;
  background: var(--card); color: inherit; min-width: 16rem; }
.facts { display: flex; flex-wrap: wrap; gap: .75rem; margin: 1.2rem 0; padding: 0; list-style: none; }
.facts li { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; padding: .5rem .9rem; }
.facts b { display: block; font-size: 1.15rem; font-variant-numeric: tabular-nums; }
.facts span:not(.tag), .soft { color: var(--soft); }
.wide { overflow-x: auto; border: 1px solid var(--line); border-radius: .6rem; background: var(--card); }
table { border-collapse: collapse; width: 100%; font-size: .92rem; }
th, td { text-align: left; padding: .38rem .8rem; border-bottom: 1px solid var(--line); vertical-align: top; }
th { color: var(--soft); font-weight: 600; } tr:last-child td { border-bottom: 0; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
td code { white-space: nowrap; } .tag + .soft { display: block; font-size: .85em; white-space: nowrap; }
code, .mono { font-family: ui-monospace, 'DejaVu Sans Mono', monospace; font-size: .88em; }
.tag { display: inline-block; padding: 0 .5rem; border-radius: 1rem; font-size: .85em; color: var(--bg); white-space: nowrap; }
.tag.ran { background: var(--ran); } .tag.bad { background: var(--bad); }
.tag.warn { background: var(--warn); } .tag.unmet { background: var(--unmet); }
.tag.fresh, .tag.rest { background: transparent; color: var(--soft); box-shadow: inset 0 0 0 1px var(--fresh); }
svg { display: block; max-width: 100%; height: auto; } svg text { font: 12px ui-monospace, 'DejaVu Sans Mono', monospace; fill: var(--fg); }
svg .soft { fill: var(--soft); } svg .grid { stroke: var(--line); }
svg .ran { fill: var(--ran); } svg .fresh { fill: var(--fresh); } svg .bad { fill: var(--bad); }
svg .warn { fill: var(--warn); } svg .unmet { fill: var(--unmet); } svg .rest { fill: var(--rest); }
svg .on-path { stroke: var(--path); stroke-width: 2.5; }
svg .edge { fill: none; stroke: var(--soft); stroke-width: 1.2; } svg .edge.order { stroke-dasharray: 4 3; }
svg .node rect { fill: var(--bg); stroke-width: 1.8; } svg .node.ran rect { stroke: var(--ran); }
svg .node.fresh rect { stroke: var(--fresh); } svg .node.bad rect { stroke: var(--bad); }
svg .node.warn rect { stroke: var(--warn); } svg .node.unmet rect { stroke: var(--unmet); }
svg .node.plain rect { stroke: var(--rest); } svg .node.rest rect { stroke: var(--rest); stroke-dasharray: 3 3; } svg .node text { fill: var(--fg); }
svg .node.ran rect { fill: color-mix(in srgb, var(--ran) 16%, var(--bg)); }
svg .node.bad rect { fill: color-mix(in srgb, var(--bad) 18%, var(--bg)); }
svg .node.warn rect { fill: color-mix(in srgb, var(--warn) 16%, var(--bg)); }
svg .node.unmet rect { fill: color-mix(in srgb, var(--unmet) 16%, var(--bg)); }
svg .node { cursor: pointer; outline: none; } svg .node:hover rect, svg .node:focus-visible rect { stroke-width: 3; }
svg .node.chosen rect { stroke: var(--path); stroke-width: 3; stroke-dasharray: none; } svg .edge.implied { opacity: .18; }
svg .edge.lit { stroke: var(--path); stroke-width: 1.8; opacity: 1; }
svg .inside { fill: var(--bg); }
pre.wide { padding: 1rem; white-space: pre-wrap; } summary { cursor: pointer; padding: .3rem 0; }
td.why { min-width: 15rem; } td.names code { display: inline-block; margin-right: .6em; }
@media (max-width: 45rem) { .facts { gap: .5rem; } body { padding: .8rem; } th, td { padding: .35rem .5rem; } .late { display: none; }
  td:first-child code { white-space: normal; overflow-wrap: anywhere; } td:first-child { min-width: 10rem; } input[type=search] { min-width: 0; width: 100%; } }
.dim, svg .edge.dim { opacity: .08; } p.soft { font-size: .9rem; margin: .5rem 0; } tr.gone { display: none; }
";

/// The part of the address after `#` is what is searched for at first, or the task that is chosen if it begins with `=`.
/// Dims what does not match in pictures, hides it in tables; a shared `data-name` lights up together.
const SCRIPT: &str = "\
const find = document.getElementById('find');
const named = [...document.querySelectorAll('[data-name]')];
function filter() {
  const words = find.value.toLowerCase().split(/\\s+/).filter(Boolean);
  for (const one of named) {
    const hit = words.every(word => one.dataset.name.toLowerCase().includes(word));
    one.classList.toggle(one.tagName === 'TR' ? 'gone' : 'dim', !hit);
  }
}
const nodes = [...document.querySelectorAll('[data-node]')];
const edges = [...document.querySelectorAll('[data-from]')];
function reach(start, from, to) {
  const seen = new Set([start]), open = [start];
  while (open.length) {
    const at = open.pop();
    for (const edge of edges) {
      const next = edge.dataset[to];
      if (edge.dataset[from] === at && !seen.has(next)) { seen.add(next); open.push(next); }
    }
  }
  return seen;
}
function choose(node) {
  const again = !node || node.classList.contains('chosen');
  const key = again ? '' : node.dataset.node;
  const below = again ? new Set() : reach(key, 'from', 'to');
  const above = again ? new Set() : reach(key, 'to', 'from');
  const near = new Set();
  for (const one of nodes) {
    const is = below.has(one.dataset.node) || above.has(one.dataset.node);
    one.classList.toggle('dim', !again && !is);
    one.classList.toggle('chosen', one.dataset.node === key);
    if (is) near.add(one.dataset.name);
  }
  for (const edge of edges) {
    const { from, to } = edge.dataset;
    const lit = (below.has(from) && below.has(to)) || (above.has(from) && above.has(to));
    edge.classList.toggle('lit', lit && !edge.classList.contains('implied'));
    edge.classList.toggle('dim', !again && !lit);
  }
  for (const row of document.querySelectorAll('tr[data-name]')) {
    row.classList.toggle('gone', !again && !near.has(row.dataset.name));
  }
}
for (const node of nodes) {
  node.addEventListener('click', () => choose(node));
  node.addEventListener('keydown', event => { if (event.key === 'Enter') choose(node); });
}
document.addEventListener('keydown', event => { if (event.key === 'Escape') choose(); });
if (find) {
  const hash = decodeURIComponent(location.hash.slice(1));
  find.addEventListener('input', () => { choose(); filter(); });
  find.value = hash.startsWith('=') ? '' : hash;
  filter();
  choose(nodes.find(node => '=' + node.dataset.name === hash));
  if (!hash.startsWith('=')) filter();
}
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_page_is_loaded_or_executed_by_its_data() {
        let page = page("</title><script>alert(1)</script>", true, &format!("<p>{}</p>", escape("<b a='\"&\x1b[2J")));
        assert!(page.contains("<title>&lt;/title&gt;&lt;script&gt;alert(1)"));
        assert!(page.contains("<p>&lt;b a=&#39;&quot;&amp;</p>"));
        assert!(page.contains("default-src 'none'"));
        assert_eq!((page.matches("<script").count(), page.matches("http").count()), (1, 1), "http-equiv only");
    }
}
