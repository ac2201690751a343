//! A 100 MB file through `millpond proxy`, then a half-close: the server answers with the SHA-256 of what arrived, after
//! it has seen the end of the stream. So the answer passes a connection whose other direction is closed.

mod proxy;

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};
use std::{env, process};

use sha2::{Digest, Sha256};

use proxy::{PATIENCE, Proxy};

const FILE_BYTES: usize = 100_000_000;

#[test]
fn a_file_arrives_whole_over_tcp() {
    let file = Noise::write("bulk-tcp");
    let (server, arrived) = hashing_server();
    let proxy = Proxy::start("tcp://127.0.0.1:0", &server, &[]);
    let mut client = TcpStream::connect(proxy.address()).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.set_write_timeout(Some(PATIENCE)).unwrap();

    file.send(&mut client);
    client.shutdown(Shutdown::Write).unwrap();
    file.assert_answer(client, arrived);

    proxy.interrupt();
    proxy.wait();
}

#[test]
fn a_file_arrives_whole_over_a_unix_socket() {
    let file = Noise::write("bulk-unix");
    let (server, arrived) = hashing_server();
    // Not in the target folder, because a socket's path can have at most 107 bytes.
    let socket = env::temp_dir().join(format!("millpond-bulk-{}.sock", process::id()));
    let proxy = Proxy::start(&format!("unix://{}", socket.display()), &server, &[]);
    let mut client = UnixStream::connect(&socket).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.set_write_timeout(Some(PATIENCE)).unwrap();

    file.send(&mut client);
    client.shutdown(Shutdown::Write).unwrap();
    file.assert_answer(client, arrived);

    proxy.interrupt();
    proxy.wait();
    assert!(!socket.exists(), "the proxy left its socket file");
}

/// A file of pseudo-random bytes, the same in each run.
struct Noise {
    path: PathBuf,
    sha256: Vec<u8>,
}

impl Noise {
    fn write(name: &str) -> Self {
        let mut state = 0x6d69_6c6c_706f_6e64_u64;
        let mut bytes = vec![0; FILE_BYTES];
        for word in bytes.chunks_exact_mut(8) {
            // Xorshift64, Marsaglia 2003.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            word.copy_from_slice(&state.to_le_bytes());
        }
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::write(&path, &bytes).unwrap();
        Self { path, sha256: Sha256::digest(&bytes).to_vec() }
    }

    fn send(&self, client: &mut impl Write) {
        io::copy(&mut File::open(&self.path).unwrap(), client).unwrap();
    }

    fn assert_answer(&self, mut client: impl Read, arrived: JoinHandle<u64>) {
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).unwrap();
        assert_eq!(arrived.join().unwrap(), FILE_BYTES as u64);
        assert_eq!(answer, self.sha256, "what arrived is not what was sent");
    }
}

impl Drop for Noise {
    fn drop(&mut self) {
        // It is in the target folder, so `cargo clean` removes what is left.
        let _ = fs::remove_file(&self.path);
    }
}

/// Serves one connection. Returns the endpoint, and a thread that returns the number of bytes received.
fn hashing_server() -> (String, JoinHandle<u64>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("tcp://{}", listener.local_addr().unwrap());
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let (mut hash, mut arrived, mut chunk) = (Sha256::new(), 0, vec![0; 1 << 16]);
        loop {
            match stream.read(&mut chunk).unwrap() {
                0 => break,
                count => {
                    hash.update(&chunk[..count]);
                    arrived += count as u64;
                }
            }
        }
        stream.write_all(&hash.finalize()).unwrap();
        arrived
    });
    (endpoint, server)
}
