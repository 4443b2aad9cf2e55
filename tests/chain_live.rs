//! The chain from templates to stable tags, by the program itself on a small stack. Knows nothing of its insides.

#[path = "support/faults/counts.rs"]
#[allow(dead_code, reason = "a part of it is used")]
mod counts;
mod support;

mod chain_live {
    mod bases;
    mod begins;
    mod brought;
    mod builder;
    mod changes;
    mod datahub;
    mod ends;
    mod engine_cut;
    mod engine_faults;
    mod errors;
    mod handbook;
    mod handover;
    mod hostile;
    mod jupyter;
    mod outputs;
    mod partial;
    mod platforms;
    mod program;
    mod publish;
    mod pushing;
    mod replaced;
    mod secrets;
    mod space;
    mod stable;
    mod taggers;
    mod tags;
    mod testing;
    mod watching;
}
