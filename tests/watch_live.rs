//! `watch` by the program itself, on real files, without an engine: the rows W of the reliability table, random edits
//! against an oracle, tasks that are restarted, keys on a terminal. Under `cargo xtask
//! soak`, or with `XTASK_SOAK=FACTOR`, the counts are higher.

#[path = "watch_live/churn.rs"]
mod churn;
#[path = "watch_live/keys.rs"]
mod keys;
#[path = "watch_live/oracle.rs"]
mod oracle;
#[path = "watch_live/restart.rs"]
mod restart;
#[path = "watch_live/rounds.rs"]
mod rounds;
#[path = "watch_live/space.rs"]
mod space;
