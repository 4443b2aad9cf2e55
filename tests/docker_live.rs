//! The room `docker` against a real engine. Knows nothing of stacks.

mod support;

mod docker_live {
    mod builds;
    mod builds_end;
}
