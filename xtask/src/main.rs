//! The thin binary: real world in, exit code out.

use std::process::ExitCode;

fn main() -> ExitCode {
    xtask::App::new().main()
}
