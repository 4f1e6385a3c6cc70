//! A segment without a network: `cargo xtask bench pipeline [-- CASE …]`.
//!
//! Upload: plain bytes in memory → seal → encode window by window → hash every piece → discard.
//! Download: k pieces in memory, with the expected share of parity → decode → open → discard. Each
//! stage is also measured alone, and `ceiling = 1 / Σ 1 / stage` is the rate of a pipeline without
//! overhead between stages. Rates are of plain bytes on one core; `2 threads` is the rate of two
//! concurrent pipelines over twice that of one.

use measure::{Candidate, Figure, Table, bytes, measure, report};
use uplink_core::encryption::content::ContentCipher;
use uplink_core::encryption::{CipherSuite, Key, Nonce};
use uplink_core::erasure::{Decoder, Encoder, Kernel, Scheme};

mod measure;

const SCHEMES: [&str; 6] =
    ["29/35/80/80", "29/35/80/110", "29/29/35/35", "16/16/37/37", "10/10/14/14", "4/6/8/10"];
/// Plain bytes, about one segment.
const PLAIN: usize = 64 << 20;
const BLOCK: usize = 7424;
/// Maximum bytes of stripes and of one piece in a window, as in the client.
const STRIPES_WINDOW: usize = 512 << 10;
const PIECE_WINDOW: usize = 64 << 10;

fn main() {
    let only: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    println!("kernel of this processor: {}", Kernel::fastest());
    let mut table = Table::new(&["case", "GB/s", "ceiling", "of ceiling", "2 threads"]);
    let aes = CipherSuite::AesGcm;
    let chacha = CipherSuite::ChaCha20Poly1305;
    let mut cases: Vec<_> = SCHEMES.iter().map(|scheme| (*scheme, aes, Hash::Blake3)).collect();
    cases.extend([(SCHEMES[0], chacha, Hash::Blake3), (SCHEMES[0], aes, Hash::Sha256)]);
    for (scheme, suite, hash) in cases {
        let line = Line::new(scheme, suite, hash);
        let case = format!("{scheme} {suite} {hash:?}");
        if only.is_empty() || only.iter().any(|part| case.contains(part)) {
            line.upload(&format!("upload {case}"), &mut table);
            line.download(&format!("download {case}"), &mut table);
        }
    }
    table.print();
}

#[derive(Clone, Copy, Debug)]
enum Hash {
    Blake3,
    Sha256,
}

/// A pipeline of one scheme, suite and hash.
struct Line {
    scheme: Scheme,
    cipher: ContentCipher,
    hash: Hash,
    encoder: Encoder,
    wanted: Vec<u16>,
    /// Bytes of stripes in a window.
    window: usize,
    plain: Vec<u8>,
}

impl Line {
    fn new(scheme: &str, suite: CipherSuite, hash: Hash) -> Self {
        let scheme: Scheme = format!("{scheme}-256").parse().expect("a scheme");
        let cipher = ContentCipher::new(suite, &Key::new([1; 32])).expect("a cipher");
        let stripe = scheme.stripe_size() as usize;
        let stripes = (STRIPES_WINDOW / stripe).min(PIECE_WINDOW / 256);
        let blocks = PLAIN / (BLOCK - 16);
        Self {
            encoder: Encoder::new(&scheme),
            wanted: (0..scheme.total()).collect(),
            window: stripes * stripe,
            plain: bytes(blocks * (BLOCK - 16)),
            scheme,
            cipher,
            hash,
        }
    }

    fn piece_window(&self) -> usize {
        self.window / usize::from(self.scheme.required())
    }

    fn buffers(&self) -> Vec<Vec<u8>> {
        vec![vec![0; self.piece_window()]; self.wanted.len()]
    }

    /// Seals the content; `take` receives the sealed bytes in windows, the last one shorter.
    fn seal(&self, window: &mut Vec<u8>, mut take: impl FnMut(&[u8])) {
        window.clear();
        for (index, block) in (0..).zip(self.plain.chunks_exact(BLOCK - 16)) {
            let begin = window.len();
            window.resize(begin + BLOCK, 0);
            let out = &mut window[begin..];
            self.cipher.seal_block(&Nonce::ZERO, index, block, out).expect("sealed");
            while window.len() >= self.window {
                take(&window[..self.window]);
                window.drain(..self.window);
            }
        }
        let stripe = self.scheme.stripe_size() as usize;
        window.resize(window.len().next_multiple_of(stripe), 0);
        take(window);
    }

    fn encode(&self, stripes: &[u8], pieces: &mut [Vec<u8>]) {
        let run = stripes.len() / usize::from(self.scheme.required());
        let mut outputs: Vec<&mut [u8]> =
            pieces.iter_mut().map(|piece| &mut piece[..run]).collect();
        self.encoder.encode(stripes, &self.wanted, &mut outputs).expect("encoded");
    }

    fn hashers(&self) -> Vec<Hasher> {
        self.wanted.iter().map(|_| Hasher::new(self.hash)).collect()
    }

    /// Runs the whole pipeline. Returns the hashes of all pieces.
    fn run_upload(&self, window: &mut Vec<u8>, pieces: &mut [Vec<u8>]) -> Vec<Vec<u8>> {
        let mut hashers = self.hashers();
        self.seal(window, |stripes| {
            self.encode(stripes, pieces);
            let run = stripes.len() / usize::from(self.scheme.required());
            for (hasher, piece) in hashers.iter_mut().zip(&*pieces) {
                hasher.update(&piece[..run]);
            }
        });
        hashers.into_iter().map(Hasher::finish).collect()
    }

    fn upload(&self, case: &str, table: &mut Table) {
        let whole = self.pieces();
        let expected: Vec<Vec<u8>> = whole
            .iter()
            .map(|piece| {
                let mut hasher = Hasher::new(self.hash);
                hasher.update(piece);
                hasher.finish()
            })
            .collect();
        let windows = self.plain.len() / (BLOCK - 16) * BLOCK / self.window;
        let mut window = Vec::new();
        let mut pieces = self.buffers();
        let mut hashes = Vec::new();
        let mut sealed = Vec::new();
        let stripes = bytes(self.window);
        let mut coded = self.buffers();
        let hashed = self.buffers();
        let figures = measure(vec![
            Candidate::new("line", || hashes = self.run_upload(&mut window, &mut pieces)),
            Candidate::new("seal", || {
                self.seal(&mut sealed, |window| {
                    std::hint::black_box(window);
                })
            }),
            Candidate::new("encode", || {
                (0..windows).for_each(|_| self.encode(&stripes, &mut coded))
            }),
            Candidate::new("hash", || {
                let mut hashers = self.hashers();
                for _ in 0..windows {
                    hashers
                        .iter_mut()
                        .zip(&hashed)
                        .for_each(|(hasher, piece)| hasher.update(piece));
                }
                std::hint::black_box(hashers.into_iter().map(Hasher::finish).count());
            }),
        ]);
        assert_eq!(hashes, expected, "hashes of the line");
        let line = || {
            let mut window = Vec::new();
            let mut pieces = self.buffers();
            move || drop(std::hint::black_box(self.run_upload(&mut window, &mut pieces)))
        };
        self.row(case, &figures, two_threads(&figures[0], line), table);
    }

    /// Returns all pieces, encoded in one pass.
    fn pieces(&self) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        self.seal(&mut Vec::new(), |window| all.extend_from_slice(window));
        let run = all.len() / usize::from(self.scheme.required());
        let mut pieces = vec![vec![0; run]; self.wanted.len()];
        self.encoder.encode(&all, &self.wanted, &mut pieces).expect("encoded");
        pieces
    }

    /// Decodes window by window; `take` receives the stripes.
    fn decode(
        &self,
        decoder: &Decoder,
        shares: &[&[u8]],
        stripes: &mut [u8],
        mut take: impl FnMut(&[u8]),
    ) {
        let size = self.piece_window();
        for from in (0..shares[0].len()).step_by(size) {
            let size = size.min(shares[0].len() - from);
            let window: Vec<&[u8]> = shares.iter().map(|share| &share[from..from + size]).collect();
            let stripes = &mut stripes[..size * usize::from(self.scheme.required())];
            decoder.decode(&window, stripes).expect("decoded");
            take(stripes);
        }
    }

    /// Opens blocks as their bytes arrive; `partial` buffers the block that a window ends in.
    fn open(&self, mut sealed: &[u8], partial: &mut Vec<u8>, index: &mut u64, plain: &mut [u8]) {
        let mut open = |block: &[u8]| {
            let out = &mut plain[..BLOCK - 16];
            self.cipher.open_block(&Nonce::ZERO, *index, block, out).expect("opened");
            std::hint::black_box(out);
            *index += 1;
        };
        if !partial.is_empty() {
            let (head, rest) = sealed.split_at((BLOCK - partial.len()).min(sealed.len()));
            partial.extend_from_slice(head);
            sealed = rest;
            if partial.len() == BLOCK {
                open(partial);
                partial.clear();
            }
        }
        let blocks = sealed.chunks_exact(BLOCK);
        partial.extend_from_slice(blocks.remainder());
        blocks.for_each(open);
    }

    fn run_download(&self, decoder: &Decoder, shares: &[&[u8]], stripes: &mut [u8]) -> u64 {
        let mut partial = Vec::new();
        let mut index = 0;
        let mut plain = vec![0; BLOCK];
        let mut left = self.plain.len() / (BLOCK - 16) * BLOCK;
        self.decode(decoder, shares, stripes, |stripes| {
            let sealed = &stripes[..left.min(stripes.len())];
            left -= sealed.len();
            self.open(sealed, &mut partial, &mut index, &mut plain);
        });
        index
    }

    fn download(&self, case: &str, table: &mut Table) {
        let k = self.scheme.required();
        let n = self.scheme.total();
        let missing = (k * (n - k) + n / 2) / n;
        let held: Vec<u16> = (missing..missing + k).collect();
        let pieces = self.pieces();
        let shares: Vec<&[u8]> =
            held.iter().map(|&piece| &pieces[usize::from(piece)][..]).collect();
        let decoder = Decoder::new(&self.scheme, &held).expect("a decoder");
        let mut stripes = [(); 2].map(|()| vec![0; self.window]);
        let [in_line, alone] = &mut stripes;
        let mut opened = 0;
        let sealed = {
            let mut sealed = Vec::new();
            self.seal(&mut Vec::new(), |window| sealed.extend_from_slice(window));
            sealed.truncate(self.plain.len() / (BLOCK - 16) * BLOCK);
            sealed
        };
        let figures = measure(vec![
            Candidate::new("line", || opened = self.run_download(&decoder, &shares, in_line)),
            Candidate::new("decode", || {
                self.decode(&decoder, &shares, alone, |stripes| {
                    std::hint::black_box(stripes);
                })
            }),
            Candidate::new("open", || {
                self.open(&sealed, &mut Vec::new(), &mut 0, &mut vec![0; BLOCK]);
            }),
        ]);
        assert_eq!(opened as usize, self.plain.len() / (BLOCK - 16), "all blocks opened");
        let line = || {
            let mut stripes = vec![0; self.window];
            let decoder = &decoder;
            let shares = &shares;
            move || {
                std::hint::black_box(self.run_download(decoder, shares, &mut stripes));
            }
        };
        self.row(case, &figures, two_threads(&figures[0], line), table);
    }

    fn row(&self, case: &str, figures: &[Figure], threads: f64, table: &mut Table) {
        report("pipeline", case, self.plain.len(), figures);
        let ceiling: f64 = figures[1..].iter().map(|stage| stage.best).sum();
        let rate = |seconds: f64| format!("{:.2}", self.plain.len() as f64 / 1e9 / seconds);
        table.row(vec![
            case.to_owned(),
            rate(figures[0].best),
            rate(ceiling),
            format!("{:.2}", ceiling / figures[0].best),
            format!("{threads:.2}"),
        ]);
    }
}

/// Returns the rate of two threads over twice that of one, best of several tries. `line` prepares a
/// pipeline for each thread.
fn two_threads<F: FnMut()>(one: &Figure, line: impl Fn() -> F + Sync) -> f64 {
    const TRIES: usize = 9;
    let barrier = std::sync::Barrier::new(2);
    let thread = || {
        let mut line = line();
        line();
        let mut best = f64::INFINITY;
        for _ in 0..TRIES {
            barrier.wait();
            let started = std::time::Instant::now();
            line();
            barrier.wait();
            best = best.min(started.elapsed().as_secs_f64());
        }
        best
    };
    let best = std::thread::scope(|scope| {
        let two = [scope.spawn(thread), scope.spawn(thread)];
        two.map(|thread| thread.join().expect("a line")).into_iter().fold(0.0, f64::max)
    });
    one.best / best
}

/// The hash of one piece.
enum Hasher {
    Blake3(Box<blake3::Hasher>),
    Sha256(Box<sha2::Sha256>),
}

impl Hasher {
    fn new(hash: Hash) -> Self {
        match hash {
            Hash::Blake3 => Self::Blake3(Box::default()),
            Hash::Sha256 => Self::Sha256(Box::default()),
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Blake3(hasher) => {
                hasher.update(bytes);
            }
            Self::Sha256(hasher) => sha2::Digest::update(&mut **hasher, bytes),
        }
    }

    fn finish(self) -> Vec<u8> {
        match self {
            Self::Blake3(hasher) => hasher.finalize().as_bytes().to_vec(),
            Self::Sha256(hasher) => sha2::Digest::finalize(*hasher).to_vec(),
        }
    }
}
