//! `soak`: the rows of `docs/reliability.md` that take longer than CI may, one after the other, as a table. Developers' chore;
//! needs the sources. Knows no row by itself: the page is the list.

use std::time::Instant;

use xshell::{Shell, cmd};

use super::args::SoakArgs;
use crate::model::{Diagnostic, Diagnostics};
use crate::world::World;

/// The list of rows, relative to the root.
const PAGE: &str = "docs/reliability.md";
/// Read by the tests: how many seconds a row may take that could go on for ever. It also makes the others long.
const SECONDS: &str = "XTASK_SOAK_SECONDS";

/// One row with a long form.
struct Row {
    ids: String,
    /// A test target, or `lib`.
    target: String,
    test: String,
}

pub(super) fn soak(args: &SoakArgs, world: &World) -> Result<u8, Diagnostics> {
    let place = super::project::find(&args.file, world)?;
    let page = std::fs::read_to_string(place.root.join(PAGE)).map_err(|error| {
        Diagnostic::error(format!("`{PAGE}` cannot be read"))
            .cause(error)
            .note("soak works in a checkout of this project alone")
    })?;
    let rows = chosen(rows(&page), &args.rows)?;
    let shell = Shell::new().map_err(|error| Diagnostic::error("no shell for the chores").cause(error))?;
    shell.change_dir(&place.root);
    super::ci::forget_cargo(&shell, world);
    shell.set_var(SECONDS, args.seconds.to_string());
    // Property tests of the library take their number of cases from it.
    shell.set_var("PROPTEST_CASES", "10000");
    let mut failed = 0;
    for row in &rows {
        let (fine, seconds, text) = run(&shell, row);
        failed += usize::from(!fine);
        let mark = if fine { "ok    " } else { "FAILED" };
        world.out.line(&format!("{:<10} {mark} {seconds:>7.1} s  {text}", row.ids));
    }
    let tests = crate::model::words::count(rows.len(), "test");
    world.err.line(&format!("==> {tests}, {failed} failed"));
    Ok(u8::from(failed > 0))
}

/// Runs one row to its end: whether it held, how long it took, and what it says of itself or how it failed.
fn run(shell: &Shell, row: &Row) -> (bool, f64, String) {
    let (target, test) = (row.target.as_str(), row.test.as_str());
    // Its own name finds it in whatever module of the target.
    let name = test.rsplit("::").next().unwrap_or(test);
    let begun = Instant::now();
    let command = if target == "lib" {
        cmd!(shell, "cargo test --quiet --locked --package xtask --lib -- {name} --nocapture")
    } else {
        cmd!(shell, "cargo test --quiet --locked --package xtask --test {target} -- {name} --nocapture")
    };
    let output = match command.quiet().ignore_status().output() {
        Ok(output) => output,
        Err(error) => return (false, 0.0, error.to_string()),
    };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    // A name that no test has would pass as "0 passed".
    let fine = output.status.success() && text.contains("ok. 1 passed");
    let said: Vec<&str> =
        text.lines().filter_map(|line| line.split_once("soak-result ")).map(|(_, said)| said).collect();
    let text = if fine {
        if said.is_empty() { test.to_owned() } else { said.join("; ") }
    } else if output.status.success() {
        format!("{target} {test}\n    not one test of this name was run")
    } else {
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        let all: Vec<&str> = errors.lines().filter(|line| !line.trim().is_empty()).take(12).collect();
        format!("{test}\n    {}", all.join("\n    "))
    };
    (fine, begun.elapsed().as_secs_f64(), text)
}

/// The rows of the page whose last cell says what is more under soak. A cell of tests holds `target test`, by commas.
fn rows(page: &str) -> Vec<Row> {
    let mut found = Vec::new();
    for line in page.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [ids, _, tests, _, long] = cells[..] else { continue };
        if long.is_empty() || long == "soak" || long.starts_with('-') {
            continue;
        }
        let named = tests.split(", ").filter_map(|test| test.trim_matches('`').split_once(' '));
        found.extend(named.map(|(target, test)| Row { ids: ids.to_owned(), target: target.into(), test: test.into() }));
    }
    found
}

/// Those that were asked for.
fn chosen(rows: Vec<Row>, wanted: &[String]) -> Result<Vec<Row>, Diagnostics> {
    let is = |row: &Row, id: &String| row.ids.split(' ').any(|own| own.eq_ignore_ascii_case(id));
    if let Some(unknown) = wanted.iter().find(|id| !rows.iter().any(|row| is(row, id))) {
        let known: Vec<&str> = rows.iter().map(|row| row.ids.as_str()).collect();
        return Err(Diagnostic::error(format!("row `{unknown}` has no long form"))
            .note(format!("rows with one: {}", known.join(", ")))
            .into());
    }
    Ok(rows.into_iter().filter(|row| wanted.is_empty() || wanted.iter().any(|id| is(row, id))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: &str = "| row | holds | tests | CI | soak |\n|---|---|---|---|---|\n\
        | U1 | x | `reliability kills::u1_x` | 200 | 1,000 |\n| U4 | x | `lib a::b`, `lib a::c` | 200 | |\n\
        | D2 D3 | x | `lib a::b`, `terminal c` | 200 | more |\n";

    #[test]
    fn only_rows_with_a_long_form_are_run() {
        let ids = |wanted: &[&str]| {
            let wanted: Vec<String> = wanted.iter().map(|id| (*id).to_owned()).collect();
            chosen(rows(LINES), &wanted)
                .map(|rows| rows.into_iter().map(|row| (row.ids, row.target, row.test)).collect())
        };
        let row = |ids: &str, target: &str, test: &str| (ids.to_owned(), target.to_owned(), test.to_owned());
        let all =
            vec![row("U1", "reliability", "kills::u1_x"), row("D2 D3", "lib", "a::b"), row("D2 D3", "terminal", "c")];
        assert_eq!(ids(&[]).unwrap(), all);
        assert_eq!(ids(&["d3"]).unwrap(), all[1..]);
        let problem: Result<Vec<(String, String, String)>, _> = ids(&["U4"]);
        assert!(problem.unwrap_err().to_string().contains("row `U4` has no long form"));
    }
}
