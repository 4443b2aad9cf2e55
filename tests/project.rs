//! Tests of the project as a whole: conformance cases, layers, the README, an embedding. Knows the program only from
//! outside: its library entry and its binary.

#[path = "project/cases.rs"]
mod cases;
#[path = "project/completion.rs"]
mod completion;
#[path = "project/embed.rs"]
mod embed;
#[path = "project/expect.rs"]
mod expect;
#[path = "project/init.rs"]
mod init;
#[path = "project/play.rs"]
mod play;
#[path = "project/process.rs"]
mod process;
#[path = "project/readme.rs"]
mod readme;
#[path = "project/space.rs"]
mod space;
#[path = "project/tidy.rs"]
mod tidy;
