//! Which certificate authorities are trusted. Knows nothing of requests.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

/// Where systems keep their bundle: a company's own authority is found there, as by every other program.
const SYSTEM_BUNDLES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// Where Docker keeps what it trusts for single registries: `certs.d/HOST/*.crt`.
const DOCKER_CERTS: &str = "/etc/docker/certs.d";

/// The given bundle, else the system's, else the one compiled in; and in each case what Docker trusts for this host.
pub fn config(host: &str, bundle: Option<&Path>) -> Result<TlsConfig, String> {
    let mut certificates = match bundle {
        Some(path) => read(path)?,
        None => match SYSTEM_BUNDLES.iter().map(Path::new).find(|path| path.exists()) {
            Some(path) => read(path)?,
            None => Vec::new(),
        },
    };
    let builtin = certificates.is_empty();
    for path in docker_certificates(host) {
        certificates.extend(read(&path)?);
    }
    if builtin && certificates.is_empty() {
        return Ok(TlsConfig::builder().root_certs(RootCerts::WebPki).build());
    }
    Ok(TlsConfig::builder().root_certs(RootCerts::Specific(Arc::new(certificates))).build())
}

fn docker_certificates(host: &str) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(Path::new(DOCKER_CERTS).join(host)) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "crt"))
        .collect();
    paths.sort();
    paths
}

fn read(path: &Path) -> Result<Vec<Certificate<'static>>, String> {
    let shown = path.display();
    let pem = std::fs::read(path).map_err(|error| format!("the certificates in `{shown}` cannot be read: {error}"))?;
    parse_pem(&pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(Ok(certificate)),
            Ok(_) => None,
            Err(error) => Some(Err(format!("`{shown}` holds a broken certificate: {error}"))),
        })
        .collect()
}
