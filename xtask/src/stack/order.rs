//! Parents before children, and the cycles where that cannot be. Pure; knows indices only.

use std::collections::BTreeSet;

/// Sorts `0..parents.len()` so that every index stands after its parents and otherwise in its own order.
///
/// Errors: the cycles, one per knot, each as a path of indices that need the next one (the last needs the first).
pub fn topological(parents: &[Vec<usize>]) -> Result<Vec<usize>, Vec<Vec<usize>>> {
    let mut children = vec![Vec::new(); parents.len()];
    let mut missing: Vec<usize> = parents.iter().map(Vec::len).collect();
    for (child, needed) in parents.iter().enumerate() {
        for parent in needed {
            children[*parent].push(child);
        }
    }
    let mut ready: BTreeSet<usize> = (0..parents.len()).filter(|at| missing[*at] == 0).collect();
    let mut sorted = Vec::with_capacity(parents.len());
    while let Some(next) = ready.pop_first() {
        sorted.push(next);
        for child in &children[next] {
            missing[*child] -= 1;
            if missing[*child] == 0 {
                ready.insert(*child);
            }
        }
    }
    if sorted.len() == parents.len() { Ok(sorted) } else { Err(cycles(parents, &missing)) }
}

/// One cycle from each knot: from every index left over, follow its first parent that is left over too.
fn cycles(parents: &[Vec<usize>], missing: &[usize]) -> Vec<Vec<usize>> {
    let mut found: Vec<Vec<usize>> = Vec::new();
    let mut done = vec![false; parents.len()];
    for start in (0..parents.len()).filter(|at| missing[*at] > 0) {
        let mut path = vec![start];
        while let Some(next) = parents[path[path.len() - 1]].iter().copied().find(|parent| missing[*parent] > 0) {
            if done[next] {
                break;
            }
            if let Some(at) = path.iter().position(|seen| *seen == next) {
                let mut cycle = path[at..].to_vec();
                let first = (0..cycle.len()).min_by_key(|at| cycle[*at]).unwrap_or(0);
                cycle.rotate_left(first);
                found.push(cycle);
                break;
            }
            path.push(next);
        }
        for seen in path {
            done[seen] = true;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parents_come_first_and_the_rest_keeps_its_order() {
        assert_eq!(topological(&[vec![], vec![3], vec![], vec![0]]), Ok(vec![0, 2, 3, 1]));
        assert_eq!(topological(&[]), Ok(vec![]));
    }

    #[test]
    fn each_knot_gives_one_cycle() {
        let parents = [vec![1], vec![0], vec![0], vec![3], vec![5], vec![6], vec![4]];
        assert_eq!(topological(&parents), Err(vec![vec![0, 1], vec![3], vec![4, 5, 6]]));
    }
}
