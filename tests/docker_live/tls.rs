//! An engine behind TLS on the network: certificates of both sides are needed, and a build goes through.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use tokio::net::{TcpListener, UnixStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};
use xtask::docker::endpoint::{Tls, resolve};
use xtask::docker::{Builder, Docker, DockerError, Endpoint};

use crate::support::Lab;

/// An authority, and a certificate each for the server and the client, in the folder's files.
fn certificates(folder: &Path) {
    let script = r"
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=test-ca -keyout ca.key -out ca.pem
        for name in server client; do
            openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=$name -keyout $name.key -out $name.csr
            printf 'subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n' > $name.ext
            openssl x509 -req -in $name.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile $name.ext -out $name.pem
        done
        cp client.pem cert.pem; cp client.key key.pem";
    let made = Command::new("sh").args(["-ec", script]).current_dir(folder).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

/// Speaks TLS on a free port and hands everything on to the engine's socket, as long as the runtime lives.
fn serve(folder: &Path, socket: PathBuf) -> (tokio::runtime::Runtime, u16) {
    let provider = Arc::new(ring::default_provider());
    let chain = vec![CertificateDer::from_pem_file(folder.join("server.pem")).unwrap()];
    let key = PrivateKeyDer::from_pem_file(folder.join("server.key")).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(folder.join("ca.pem")).unwrap()).unwrap();
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build().unwrap();
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_client_cert_verifier(clients).with_single_cert(chain, key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let port = listener.local_addr().unwrap().port();
    runtime.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, socket) = (acceptor.clone(), socket.clone());
            tokio::spawn(async move {
                let mut stream = acceptor.accept(stream).await.ok()?;
                let mut engine = UnixStream::connect(socket).await.ok()?;
                tokio::io::copy_bidirectional(&mut stream, &mut engine).await.ok()
            });
        }
    });
    (runtime, port)
}

#[test]
fn an_engine_behind_tls_is_used_like_any_other() {
    let folder = tempfile::tempdir().unwrap();
    certificates(folder.path());
    let Ok(Endpoint::Unix(socket)) = resolve(&|name| std::env::var_os(name), None) else { panic!("a local engine") };
    let (_runtime, port) = serve(folder.path(), socket);

    let address = format!("tcp://127.0.0.1:{port}");
    let env = |name: &str| match name {
        "DOCKER_HOST" => Some(address.clone().into()),
        "DOCKER_TLS_VERIFY" => Some("1".into()),
        "DOCKER_CERT_PATH" => Some(folder.path().into()),
        _ => None,
    };
    let mut lab = Lab::new("tls", Builder::BuildKit);
    lab.docker = Docker::connect(&resolve(&env, None).unwrap()).unwrap();
    assert_eq!(lab.docker.endpoint(), address);
    lab.build("FROM scratch\nCOPY tool /tool\n").unwrap();

    let connect = |tls: Tls| {
        let endpoint = Endpoint::Tcp { host: "127.0.0.1".to_owned(), port, tls: Some(tls) };
        Docker::connect(&endpoint).and_then(|docker| docker.engine())
    };
    let file = |name: &str| folder.path().join(name);
    let client = Some((file("cert.pem"), file("key.pem")));
    assert!(connect(Tls { ca: None, client: client.clone(), insecure: true }).is_ok());
    let stranger = connect(Tls { ca: None, client: client.clone(), insecure: false }).unwrap_err();
    assert!(stranger.to_string().contains("UnknownIssuer"), "{stranger}");
    let nobody = connect(Tls { ca: Some(file("ca.pem")), client: None, insecure: false }).unwrap_err();
    assert!(matches!(nobody, DockerError::Unreachable { .. }), "{nobody:?}");
    let missing = connect(Tls { ca: Some(file("nowhere.pem")), client, insecure: false }).unwrap_err();
    assert!(missing.to_string().contains("nowhere.pem"), "{missing}");
}
