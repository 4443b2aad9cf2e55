//! Other machines, by the program itself: a real ssh server and two more engines stand for them. Knows nothing of its
//! insides.
#![allow(dead_code, reason = "the space and the runs of the chain are used in part")]

mod support;

mod hosts_live {
    mod lost;
    mod one;
    mod page;
    mod platforms;
    mod pool;
    #[path = "../chain_live/program.rs"]
    mod program;
    mod registry;
    #[path = "../chain_live/space.rs"]
    mod space;
    mod staged;
    mod sync;
}
