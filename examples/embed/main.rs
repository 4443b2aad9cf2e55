//! How another repository adopts the library: its own `xtask` crate with one action written in Rust.

use std::process::ExitCode;

use xtask::{ActionType, Call, Done, Failure};

/// `greet: {who: file, to: file}` writes a greeting to the name that stands in a file.
struct Greet;

impl ActionType for Greet {
    fn name(&self) -> &'static str {
        "greet"
    }

    fn run(&self, call: &Call<'_>) -> Result<Done, Failure> {
        let (who, to) =
            (xtask::action::text("greet", call.args, "who")?, xtask::action::text("greet", call.args, "to")?);
        let failed = |error: std::io::Error| xtask::model::Diagnostic::error("`greet` failed").cause(error);
        let name = std::fs::read_to_string(call.root.join(who)).map_err(failed)?;
        std::fs::write(call.root.join(to), format!("hello, {}\n", name.trim())).map_err(failed)?;
        Ok(Done::default())
    }
}

fn main() -> ExitCode {
    xtask::App::new().action(Greet).main()
}
