//! Real TLS servers, nginx and `openssl s_server`, and the certificates that they need.
#![allow(dead_code, clippy::allow_attributes, reason = "each test and bench uses its part")]

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use millpond::net::Stream;
use millpond::net::tls::{TlsConfig, TlsConnector, TlsError, TlsRoots, TlsStream};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType, IsCa,
    KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber, date_time_ymd,
};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

/// A test that waits this long has failed, even on a slow machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The name that certificates are for, unless a test says otherwise.
pub(crate) const NAME: &str = "pond.example";

const MISSING: &str =
    "is missing, and this test needs it: run tests/run, or apt-get install nginx-light openssl";

/// A certificate authority.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its private key, as PEM.
pub(crate) struct Issued {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Authority {
    /// A root.
    pub(crate) fn new(name: &str) -> Self {
        Self(CertifiedIssuer::self_signed(Self::params(name), KeyPair::generate().unwrap()).unwrap())
    }

    /// An authority below this one.
    pub(crate) fn authority(&self, name: &str) -> Self {
        Self(CertifiedIssuer::signed_by(Self::params(name), KeyPair::generate().unwrap(), &self.0).unwrap())
    }

    fn params(name: &str) -> CertificateParams {
        let mut params = CertificateParams::new([]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for [`NAME`], with what `change` does to it.
    pub(crate) fn issue(&self, change: impl FnOnce(&mut CertificateParams)) -> Issued {
        let mut params = CertificateParams::new([NAME.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, "leaf");
        change(&mut params);
        self.sign(&params, &KeyPair::generate().unwrap())
    }

    /// A certificate for [`NAME`] with this key.
    pub(crate) fn issue_for(&self, key: &KeyPair) -> Issued {
        self.sign(&CertificateParams::new([NAME.to_owned()]).unwrap(), key)
    }

    fn sign(&self, params: &CertificateParams, key: &KeyPair) -> Issued {
        let certificate = params.signed_by(key, &self.0).unwrap().pem();
        Issued { certificate, key: key.serialize_pem() }
    }

    /// A revocation list with this serial number on it.
    pub(crate) fn revoke(&self, serial: u64) -> String {
        self.revocation_list(serial, 2999)
    }

    /// A revocation list that is renewed in this year.
    pub(crate) fn revocation_list(&self, serial: u64, renewed: i32) -> String {
        let revoked = RevokedCertParams {
            serial_number: SerialNumber::from(serial),
            revocation_time: date_time_ymd(2024, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2024, 1, 1),
            next_update: date_time_ymd(renewed, 1, 1),
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: vec![revoked],
            key_identifier_method: rcgen::KeyIdMethod::Sha256,
        };
        list.signed_by(&self.0).unwrap().pem().unwrap()
    }

    /// A configuration that trusts this authority alone.
    pub(crate) fn trusted(&self) -> TlsConfig {
        TlsConfig::new().roots(TlsRoots::OnlyAdded).add_root_pem(self.pem())
    }
}

/// A server for one test.
pub(crate) struct Server {
    child: Child,
    pub(crate) endpoint: String,
    /// Its files.
    folder: TempDir,
    lines: Receiver<String>,
}

impl Server {
    /// `openssl s_server` with this certificate, on a free port.
    pub(crate) fn openssl(issued: &Issued, arguments: &[&str]) -> Self {
        Self::openssl_in(folder_with(issued), arguments)
    }

    /// `openssl s_server` in a folder with its files.
    pub(crate) fn openssl_in(folder: TempDir, arguments: &[&str]) -> Self {
        let mut child = Command::new("openssl")
            .args(["s_server", "-accept", "127.0.0.1:0", "-cert", "chain.pem", "-key", "key.pem"])
            .args(arguments)
            .current_dir(&folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("openssl {MISSING} ({error})"));
        let lines = lines(child.stdout.take().unwrap());
        let accepts = wait_for(&lines, "ACCEPT ");
        let address = accepts.trim_start_matches("ACCEPT ").trim();
        Self { child, endpoint: format!("tcp://{address}"), folder, lines }
    }

    /// nginx with this certificate, on a Unix socket. Every request is answered with what the server knows of its
    /// connection: whether it resumed a session, its protocol, the name that it asked for, the protocol that was chosen,
    /// and whether the client's certificate is good.
    pub(crate) fn nginx(issued: &Issued, directives: &str) -> Self {
        Self::nginx_in(folder_with(issued), directives)
    }

    /// nginx in a folder with its files.
    pub(crate) fn nginx_in(folder: TempDir, directives: &str) -> Self {
        let endpoint = format!("unix://{}", folder.path().join("socket").display());
        let path = folder.path().display();
        let configuration = format!(
            "daemon off; master_process off; pid {path}/pid; error_log stderr notice; events {{}}
             http {{
                 access_log off; client_body_temp_path {path}/body; proxy_temp_path {path}/proxy;
                 fastcgi_temp_path {path}/fastcgi; uwsgi_temp_path {path}/uwsgi; scgi_temp_path {path}/scgi;
                 server {{
                     listen unix:{path}/plain;
                     return 200 'plain';
                 }}
                 server {{
                     listen unix:{path}/socket ssl http2;
                     ssl_certificate chain.pem; ssl_certificate_key key.pem; ssl_protocols TLSv1.2 TLSv1.3;
                     {directives}
                     location / {{
                         return 200 '[$ssl_session_reused] [$ssl_protocol] [$ssl_server_name] [$ssl_alpn_protocol] \
             [$ssl_client_verify]';
                     }}
                 }}
             }}"
        );
        fs::write(folder.path().join("nginx.conf"), configuration).unwrap();
        let mut child = Command::new("nginx")
            .args(["-p", folder.path().to_str().unwrap(), "-c", "nginx.conf", "-e", "stderr"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("nginx {MISSING} ({error})"));
        let lines = lines(child.stderr.take().unwrap());
        // Its last words before it serves.
        wait_for(&lines, "getrlimit");
        Self { child, endpoint, folder, lines }
    }

    /// The endpoint of nginx without TLS.
    pub(crate) fn plain(&self) -> String {
        format!("unix://{}", self.folder.path().join("plain").display())
    }

    /// Stops the server, so that it takes no bytes.
    pub(crate) fn pause(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// Lets it run again.
    pub(crate) fn resume(&self) {
        self.signal(Signal::SIGCONT);
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), signal).unwrap();
    }

    /// Waits until the server says this.
    pub(crate) fn wait_for(&self, words: &str) -> String {
        wait_for(&self.lines, words)
    }

    pub(crate) async fn tcp(&self) -> Stream {
        connect(&self.endpoint).await
    }

    /// A TLS connection for [`NAME`].
    pub(crate) async fn tls(&self, connector: &TlsConnector) -> Result<TlsStream<Stream>, TlsError> {
        handshake(connector, NAME, self.tcp().await).await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have exited already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) async fn connect(endpoint: &str) -> Stream {
    Stream::connect(endpoint, PATIENCE).await.unwrap()
}

pub(crate) async fn handshake(
    connector: &TlsConnector,
    name: &str,
    stream: Stream,
) -> Result<TlsStream<Stream>, TlsError> {
    timeout(PATIENCE, connector.connect(name, stream)).await.expect("the handshake took too long")
}

/// The body of the answer to a request. The server closes after it.
pub(crate) async fn get(stream: &mut TlsStream<impl AsyncRead + AsyncWrite + Unpin>) -> String {
    let exchange = async {
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
        stream.flush().await.unwrap();
        let mut answer = Vec::new();
        // `s_server` sends no end of TLS.
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8(answer).unwrap()
    };
    let answer = timeout(PATIENCE, exchange).await.expect("the answer took too long");
    answer.split_once("\r\n\r\n").expect("an answer").1.to_owned()
}

/// A folder with `chain.pem` and `key.pem`.
pub(crate) fn folder_with(issued: &Issued) -> TempDir {
    let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    write(folder.path(), issued);
    folder
}

/// Writes `chain.pem` and `key.pem`.
pub(crate) fn write(folder: &Path, issued: &Issued) -> [PathBuf; 2] {
    let files = ["chain.pem", "key.pem"].map(|name| folder.join(name));
    fs::write(&files[0], &issued.certificate).unwrap();
    fs::write(&files[1], &issued.key).unwrap();
    files
}

fn lines(output: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    // Reads to the end, so that the server never blocks.
    thread::spawn(move || {
        BufReader::new(output).lines().map_while(Result::ok).for_each(|line| drop(sender.send(line)));
    });
    receiver
}

fn wait_for(lines: &Receiver<String>, words: &str) -> String {
    let mut said = Vec::new();
    loop {
        match lines.recv_timeout(PATIENCE) {
            Ok(line) if line.contains(words) => return line,
            Ok(line) => said.push(line),
            Err(error) => panic!("the server did not say {words:?} ({error}), but {said:#?}"),
        }
    }
}
