//! The chain from templates to stable tags, by the program itself on a small stack. Knows nothing of its insides.

mod support;

mod chain_live {
    mod begins;
    mod brought;
    mod changes;
    mod ends;
    mod errors;
    mod hostile;
    mod program;
    mod publish;
    mod replaced;
    mod secrets;
    mod space;
    mod watching;
}
