//! What the engine promises under faults: laws on random graphs, kills, damaged state. Knows the program only from
//! outside: its library entry and its binary. `docs/reliability.md` lists the rows; `cargo xtask soak` runs them long.

#[path = "support/faults/mod.rs"]
mod faults;

#[path = "reliability/fuzz.rs"]
mod fuzz;
#[path = "reliability/inputs.rs"]
mod inputs;
#[path = "reliability/kills.rs"]
mod kills;
#[path = "reliability/laws.rs"]
mod laws;
#[path = "reliability/model.rs"]
mod model;
#[path = "reliability/page.rs"]
mod page;
#[path = "reliability/plans.rs"]
mod plans;
#[path = "reliability/processes.rs"]
mod processes;
#[path = "reliability/state.rs"]
mod state;
#[path = "reliability/supply.rs"]
mod supply;
#[path = "reliability/truth.rs"]
mod truth;
