//! Calls of the template engine that end with an error where the engine gives up on itself. Knows nothing of what is
//! rendered.
//!
//! Two inputs are known (minijinja 3.0): `{% import … as X %}` with an expression for `X`, and an error behind column
//! 65,535 of a line in a build that checks for overflow. Found by the fuzzing of row Z2.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use minijinja::{Error, ErrorKind};

use super::depth::too_deep;

/// What is said of such a template.
pub(super) const BROKEN: &str = "the template engine cannot read it";

thread_local! {
    /// A panic on this thread is caught, and told in our own words.
    static IS_CAUGHT: Cell<bool> = const { Cell::new(false) };
}

static HOOK: Once = Once::new();

/// What is said of one whose expressions are too long for the engine.
pub(super) const DEEP: &str = "an expression or a row of `elif` has too many parts";

/// Calls the engine with a template.
pub(super) fn guarded<T>(text: &str, call: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    if too_deep(text).is_some() {
        return Err(Error::new(ErrorKind::SyntaxError, DEEP));
    }
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !IS_CAUGHT.get() {
                before(panic);
            }
        }));
    });
    let outer = IS_CAUGHT.replace(true);
    let result = catch_unwind(AssertUnwindSafe(call));
    IS_CAUGHT.set(outer);
    result.unwrap_or_else(|_| Err(Error::new(ErrorKind::SyntaxError, BROKEN)))
}

/// The line and column, from 1, of the first `import` whose name is none.
pub(super) fn wrong_import(text: &str) -> Option<(u32, u32)> {
    for (line, number) in text.lines().zip(1..) {
        for (at, _) in line.match_indices("{%") {
            let statement = line[at + 2..].split("%}").next().unwrap_or_default();
            let words = statement.trim_matches(['-', '+', ' ']);
            let name =
                words.strip_prefix("import ").and_then(|rest| rest.rsplit_once(" as ")).map(|(_, name)| name.trim());
            if name.is_some_and(|name| !name.chars().all(|c| c.is_alphanumeric() || c == '_')) {
                return Some((number, line[..at].chars().count() as u32 + 1));
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::*;
    use crate::render::task_text::{Quote, check_syntax, expand_text, names_used};

    #[test]
    fn what_the_engine_breaks_on_is_an_error_with_a_place() {
        let import = "FROM a\n{%- import \"m.j2\" as m -1 %}\n";
        assert!(check_syntax(import).unwrap_err().message.contains(BROKEN) && names_used(import).is_empty());
        let far = format!("{}{{{{ a b }}}}", " ".repeat(70_000));
        for quote in [Quote::Plain, Quote::Shell] {
            assert!(expand_text(&far, &json!({ "a": 1 }), quote).is_err());
        }
        let dir = tempfile::tempdir().unwrap();
        for (text, place) in [(import, "Dockerfile.j2:2:1"), (&far, "Dockerfile.j2")] {
            std::fs::write(dir.path().join("Dockerfile.j2"), text).unwrap();
            let error = crate::render::template::render(dir.path(), Path::new("Dockerfile.j2"), &[], &json!({}));
            let error = error.unwrap_err().to_string();
            assert!(error.contains(place), "{error}");
        }
    }

    #[test]
    fn names_of_imports_are_found() {
        assert_eq!(wrong_import("{% import 'a' as b %}{% from 'a' import b as c %}\n"), None);
        assert_eq!(wrong_import("x\n {%+ import 'a as b' as b.c -%}"), Some((2, 2)));
    }
}
