//! One client per registry, and which of them an image's name means. Knows nothing of requests.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::client::Client;
use super::credentials::CredentialsSource;
use super::error::RegistryError;
use super::options::Options;
use super::repository::Repository;
use crate::model::ImageRef;

/// One client per registry, made when it is first needed.
#[derive(Clone)]
pub struct Registries {
    credentials: CredentialsSource,
    options: Options,
    clients: Arc<Mutex<HashMap<String, Client>>>,
}

impl Registries {
    pub fn new(credentials: CredentialsSource, options: Options) -> Self {
        Self { credentials, options, clients: Arc::default() }
    }

    /// The repository that an image's name means; one without a host lies at `docker.io`.
    pub fn open(&self, image: &ImageRef) -> Result<Repository, RegistryError> {
        let host = image.host().unwrap_or("docker.io");
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let client = match clients.get(host) {
            Some(client) => client.clone(),
            None => {
                let client = Client::new(host, self.credentials.clone(), self.options.clone())?;
                clients.insert(host.to_owned(), client.clone());
                client
            }
        };
        let name = image.repository();
        let official = host == "docker.io" && !name.contains('/');
        Ok(if official { client.repository(&format!("library/{name}")) } else { client.repository(name) })
    }
}
