//! The one room that knows bollard and tokio: engine, builds, containers, as blocking verbs.
