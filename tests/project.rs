//! Tests of the project as a whole: conformance cases, layers, the README, an embedding. Knows the program only from
//! outside: its library entry and its binary.

#[path = "project/cargo.rs"]
mod cargo;
#[path = "project/cases.rs"]
mod cases;
#[path = "project/ci_plan.rs"]
mod ci_plan;
#[path = "project/completion.rs"]
mod completion;
#[path = "project/contract.rs"]
mod contract;
#[path = "project/definitions.rs"]
mod definitions;
#[path = "project/doit.rs"]
mod doit;
#[path = "project/editors.rs"]
mod editors;
#[path = "project/embed.rs"]
mod embed;
#[path = "project/errors_page.rs"]
mod errors_page;
#[path = "project/expect.rs"]
mod expect;
#[path = "support/handbook.rs"]
mod handbook;
#[path = "project/hooks.rs"]
mod hooks;
#[path = "project/init.rs"]
mod init;
#[path = "project/narrow.rs"]
mod narrow;
#[path = "project/pages.rs"]
mod pages;
#[path = "project/play.rs"]
mod play;
#[path = "project/process.rs"]
mod process;
#[path = "project/resize.rs"]
mod resize;
#[path = "project/seeds.rs"]
mod seeds;
#[path = "project/space.rs"]
mod space;
#[path = "project/stand_in.rs"]
mod stand_in;
#[path = "project/standstill.rs"]
mod standstill;
#[path = "project/tidy.rs"]
mod tidy;
