//! Environments by the program itself on the real engine: built, run in, recycled, cleaned. Knows nothing of its
//! insides.

#[path = "support/mod.rs"]
mod support;

#[path = "support/handbook.rs"]
mod page;

mod environments_live {
    mod alone;
    mod builds;
    mod cache;
    mod elsewhere;
    mod ends;
    mod files;
    mod handbook;
    mod kept;
    mod lab;
    mod live;
    mod python;
    mod scripts;
    mod terminal;
}
