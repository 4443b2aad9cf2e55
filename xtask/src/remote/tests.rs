//! Copies and connections against a real ssh server and the real rsync: rows R of the reliability table.

mod connection;
mod cuts;
mod faults;
mod pace;
mod trees;
