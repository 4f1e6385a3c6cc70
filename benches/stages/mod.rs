//! Costs of the necessary stages of a transfer on one core, in seconds per GB of plain bytes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::{PrivatePkcs8KeyDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use uplink_core::encryption::content::ContentCipher;
use uplink_core::encryption::{EncryptionParameters, Key, Nonce};
use uplink_core::erasure::{Decoder, Encoder, Scheme};

/// Rounds of each measurement; the fastest counts.
const ROUNDS: usize = 9;
/// Minimum time of a round.
const ROUND: Duration = Duration::from_millis(20);
/// Stripes per encoding call.
const WINDOW: usize = 256;

/// Seconds per GB.
pub(crate) struct Costs {
    seal: f64,
    open: f64,
    encode: f64,
    decode: f64,
    hash: f64,
    send: f64,
    receive: f64,
}

impl Costs {
    /// Returns the client's GB per second and core, uploading `sent` bytes of pieces per plain
    /// byte.
    pub(crate) fn upload(&self, sent: f64) -> f64 {
        1.0 / (self.seal + self.encode + sent * (self.hash + self.send))
    }

    /// Returns the client's GB per second and core, downloading with the expected share of data
    /// pieces.
    pub(crate) fn download(&self) -> f64 {
        1.0 / (self.receive + self.decode + self.open)
    }

    pub(crate) fn json(&self) -> String {
        format!(
            "{{\"name\":\"stages\",\"case\":\"seconds per GB, one core\",\"seal\":{:.3},\"open\":{:.3},\
             \"encode\":{:.3},\"decode\":{:.3},\"hash\":{:.3},\"send\":{:.3},\"receive\":{:.3},\
             \"download_ceiling\":{:.3}}}",
            self.seal,
            self.open,
            self.encode,
            self.decode,
            self.hash,
            self.send,
            self.receive,
            self.download()
        )
    }
}

pub(crate) async fn measure(scheme: &Scheme) -> Costs {
    let (seal, open) = cipher();
    let (encode, decode) = code(scheme);
    let bytes = vec![7; 64 << 10];
    let mut hasher = blake3::Hasher::new();
    let hash = fastest(bytes.len(), || {
        hasher.update(&bytes);
    });
    let (send, receive) = tls().await;
    Costs { seal, open, encode, decode, hash, send, receive }
}

/// Returns the CPU seconds per GB of the fastest round.
fn fastest(bytes: usize, mut work: impl FnMut()) -> f64 {
    let mut best = f64::INFINITY;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let cpu = thread_time();
        let mut times = 0_u32;
        while start.elapsed() < ROUND {
            work();
            times += 1;
        }
        let spent = thread_time().saturating_sub(cpu);
        best = best.min(spent.as_secs_f64() / f64::from(times));
    }
    best / (bytes as f64 / 1e9)
}

fn cipher() -> (f64, f64) {
    let EncryptionParameters { suite, block_size, .. } = EncryptionParameters::DEFAULT;
    let cipher = ContentCipher::new(suite, &Key::new([1; 32])).expect("a cipher");
    let block = block_size as usize;
    let plain = vec![3; 32 * cipher.plain_block_size(block).expect("a block")];
    let mut sealed = vec![0; 32 * block];
    let mut opened = plain.clone();
    let seal = fastest(plain.len(), || {
        cipher.seal_blocks(&Nonce::ZERO, 0, block, &plain, &mut sealed).expect("sealed");
    });
    let open = fastest(plain.len(), || {
        cipher.open_blocks(&Nonce::ZERO, 0, block, &sealed, &mut opened).expect("opened");
    });
    assert_eq!(plain, opened);
    (seal, open)
}

fn code(scheme: &Scheme) -> (f64, f64) {
    let required = scheme.required();
    let total = scheme.total();
    let stripes: Vec<u8> = (0..WINDOW * scheme.stripe_size() as usize).map(|i| i as u8).collect();
    let pieces: Vec<u16> = (0..total).collect();
    let mut shares = vec![vec![0; stripes.len() / usize::from(required)]; pieces.len()];
    let encoder = Encoder::new(scheme);
    encoder.encode(&stripes, &pieces, &mut shares).expect("encoded");
    // As many pieces as an undisturbed upload sends.
    let sent = usize::from(scheme.optimal());
    let mut made = vec![vec![0; stripes.len() / usize::from(required)]; sent];
    let encode = fastest(stripes.len(), || {
        encoder.encode(&stripes, &pieces[..sent], &mut made).expect("encoded");
    });
    assert_eq!(made, shares[..sent]);
    // As many data shares missing as in k random pieces of n.
    let missing = (required * (total - required) + total / 2) / total;
    let held: Vec<u16> = (missing..missing + required).collect();
    let decoder = Decoder::new(scheme, &held).expect("a decoder");
    let held: Vec<&[u8]> = held
        .iter()
        .filter_map(|piece| shares.get(usize::from(*piece)))
        .map(Vec::as_slice)
        .collect();
    let mut decoded = vec![0; stripes.len()];
    let decode = fastest(stripes.len(), || decoder.decode(&held, &mut decoded).expect("decoded"));
    assert_eq!(stripes, decoded);
    (encode, decode)
}

/// Sends and receives through TLS on loopback, each end on a separate thread. Only their CPU time
/// counts, not the time they wait for each other.
async fn tls() -> (f64, f64) {
    const BYTES: usize = 512 << 20;
    const WRITE: usize = 64 << 10;
    let made = rcgen::generate_simple_self_signed(vec!["node".to_owned()]).expect("a certificate");
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()).into();
    let server = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .expect("a server");
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).expect("a root");
    let client =
        rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("its address");

    let receiving = on_thread(async move {
        let (socket, _) = listener.accept().await.expect("accepted");
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(server));
        let mut stream = acceptor.accept(socket).await.expect("a handshake");
        let mut buffer = vec![0; WRITE];
        let mut received = 0;
        while received < BYTES {
            received += stream.read(&mut buffer).await.expect("read");
        }
        stream.shutdown().await.expect("closed");
    });
    let sending = on_thread(async move {
        let socket = tokio::net::TcpStream::connect(address).await.expect("connected");
        let connector = tokio_rustls::TlsConnector::from(Arc::new(client));
        let name = ServerName::try_from("node").expect("a name");
        let mut stream = connector.connect(name, socket).await.expect("a handshake");
        let buffer = vec![9; WRITE];
        for _ in 0..BYTES / WRITE {
            stream.write_all(&buffer).await.expect("written");
        }
        // The receiver closes after the last byte; closing first could truncate the stream.
        stream.flush().await.expect("flushed");
        let _ = stream.read_to_end(&mut Vec::new()).await;
    });
    let per_gb = |cpu: Duration| cpu.as_secs_f64() / (BYTES as f64 / 1e9);
    (per_gb(sending.join().expect("sent")), per_gb(receiving.join().expect("received")))
}

/// Runs a future on a separate thread and returns the thread's CPU time.
fn on_thread(work: impl Future<Output = ()> + Send + 'static) -> std::thread::JoinHandle<Duration> {
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(work);
        thread_time()
    })
}

/// Returns the CPU time of this thread, which is independent of other programs.
fn thread_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = text.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or(0);
    Duration::from_nanos(nanos)
}
