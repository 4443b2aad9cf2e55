//! What lies on disk: file digests with their stat cache, the state database, logs.
