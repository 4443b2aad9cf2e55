//! The built-in actions and the trait that embedders implement for their own.
