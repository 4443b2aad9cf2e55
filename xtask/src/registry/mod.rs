//! Manifests and tags of a registry over HTTP, without a daemon.
