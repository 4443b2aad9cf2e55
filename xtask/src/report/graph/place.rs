//! Where each task stands in a picture: columns by what must be before what, rows so that few edges cross. Knows
//! nothing of pixels.

use super::Indexed;

/// Sweeps over the columns; more change little.
const SWEEPS: usize = 6;

/// Which nodes stand in which column, from top to bottom.
pub(super) struct Places {
    /// Column 0 needs nothing.
    pub columns: Vec<Vec<usize>>,
}

impl Places {
    /// All nodes, each after what it needs (where no cycle forbids it).
    pub(super) fn order(&self) -> impl Iterator<Item = usize> + '_ {
        self.columns.iter().flatten().copied()
    }
}

/// Each node one column after the last thing it needs. Edges that close a cycle are ignored.
fn ranks(graph: &Indexed<'_>) -> Vec<usize> {
    let count = graph.nodes.len();
    let mut rank = vec![0; count];
    // 0 not seen, 1 open, 2 done.
    let mut state = vec![0_u8; count];
    for root in 0..count {
        let mut stack = vec![(root, false)];
        while let Some((node, leave)) = stack.pop() {
            if leave {
                state[node] = 2;
                let before = graph.needs(node).filter(|need| state[*need] == 2).map(|need| rank[need] + 1).max();
                rank[node] = before.unwrap_or(0);
            } else if state[node] == 0 {
                state[node] = 1;
                stack.push((node, true));
                stack.extend(graph.needs(node).filter(|need| state[*need] == 0).map(|need| (need, false)));
            }
        }
    }
    rank
}

/// Moves each node right up to what needs it first, if what it needs itself can follow: so edges are short.
fn late(graph: &Indexed<'_>, rank: &mut [usize]) {
    let mut users = vec![0; rank.len()];
    for (_, to, _) in &graph.edges {
        users[*to] += 1;
    }
    let mut first: Vec<Option<usize>> = vec![None; rank.len()];
    let mut order: Vec<usize> = (0..rank.len()).collect();
    order.sort_by_key(|node| std::cmp::Reverse(rank[*node]));
    for node in order {
        if let Some(first) = first[node].filter(|_| graph.needs(node).all(|need| users[need] == 1)) {
            rank[node] = rank[node].max(first.saturating_sub(1));
        }
        for need in graph.needs(node) {
            first[need] = Some(first[need].map_or(rank[node], |known| known.min(rank[node])));
        }
    }
}

pub(super) fn places(graph: &Indexed<'_>) -> Places {
    let mut rank = ranks(graph);
    late(graph, &mut rank);
    let depth = rank.iter().max().map_or(0, |deepest| deepest + 1);
    let mut columns: Vec<Vec<usize>> = vec![Vec::new(); depth];
    for (node, rank) in rank.iter().enumerate() {
        columns[*rank].push(node);
    }
    let mut neighbours: Vec<Vec<usize>> = vec![Vec::new(); graph.nodes.len()];
    for (from, to, _) in &graph.edges {
        neighbours[*from].push(*to);
        neighbours[*to].push(*from);
    }
    let mut row = vec![0.0_f64; graph.nodes.len()];
    let number = |column: &[usize], row: &mut [f64]| {
        // Centred, so that columns of different length meet in the middle.
        let middle = column.len() as f64 / 2.0;
        for (at, node) in column.iter().enumerate() {
            row[*node] = at as f64 - middle;
        }
    };
    for column in &columns {
        number(column, &mut row);
    }
    for sweep in 0..SWEEPS {
        let forward = sweep % 2 == 0;
        for at in 0..depth {
            let column = &mut columns[if forward { at } else { depth - 1 - at }];
            let mean = |node: &usize| {
                let near = &neighbours[*node];
                if near.is_empty() {
                    row[*node]
                } else {
                    near.iter().map(|one| row[*one]).sum::<f64>() / near.len() as f64
                }
            };
            let mut keyed: Vec<(f64, usize)> = column.iter().map(|node| (mean(node), *node)).collect();
            keyed.sort_by(|one, two| one.0.total_cmp(&two.0));
            *column = keyed.into_iter().map(|(_, node)| node).collect();
            number(column, &mut row);
        }
    }
    Places { columns }
}
