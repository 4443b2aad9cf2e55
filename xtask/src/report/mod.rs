//! Events in, text out: the only room that prints.
