//! The room `docker` against a real engine. Knows nothing of stacks.

mod support;

mod docker_live {
    mod archives;
    mod builds;
    mod builds_end;
    mod containers;
    mod memory;
    mod registries;
    mod tls;
}
