//! Manifests and tags of a registry over HTTP, without a daemon.
//!
//! Knows nothing of engines, tasks, the stack or the screen: names go in, digests and errors as data come out.
//! Every verb blocks. A [`Client`] speaks to one registry and may be shared by threads; a [`Repository`] is one
//! repository of it; [`Registries`] opens the right one for an [`ImageRef`](crate::model::ImageRef).

mod auth;
mod blobs;
mod client;
mod clock;
mod copy;
mod credentials;
mod digest_text;
mod error;
mod join;
mod manifest;
mod options;
mod registries;
mod relabel;
mod repository;
mod retry;
mod scrub;
mod side_by_side;
mod tested;
mod tidy_up;
mod tls;
mod upload;
mod wire;

pub mod promote;
pub mod publish;

#[doc(hidden)]
pub mod testing;

pub use blobs::{BlobSource, RemoteBlob};
pub use client::Client;
pub use clock::{Clock, SystemClock};
pub use copy::copy_image;
pub use credentials::{CredentialsSource, from_config_json};
pub use error::{ErrorKind, RegistryError, Stage};
pub use join::{PlatformManifest, join_index, join_platforms, platform_manifests};
pub use manifest::{Descriptor, ImageConfig, Kind, Manifest, media};
pub use options::Options;
pub use registries::Registries;
pub use relabel::{Relabelled, relabelled};
pub use repository::{PointedBy, Repository};
pub use retry::Policy;
pub use tested::{has_record, put_record};
pub use tidy_up::{Deletion, TagInfo, delete_tags, list_tags, plan_deletion};
