//! What goes into a build context: ignore rules, visible files, staging, tar.
