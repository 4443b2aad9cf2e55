//! Credentials for registries. Knows nothing of what they are used for.

use crate::model::Secret;

/// Who somebody is to a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credentials {
    Password {
        user: String,
        password: Secret,
    },
    /// An OAuth refresh token, as some helpers keep it.
    IdentityToken(Secret),
}
