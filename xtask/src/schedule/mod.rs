//! Which task may start next: states and pools, without IO.
