//! Content encryption, hashing and keys: `cargo xtask bench encryption`.
//!
//! Every suite seals and opens one block of 7,408 plain bytes; so does the RustCrypto crate for the
//! default suite, and the outputs are compared. Hashes and keys are the other costs of a transfer.

use aes_gcm::aead::{AeadInOut, KeyInit, Nonce as AeadNonce};
use aes_gcm::{Aes256Gcm, Key as AesKey};
use measure::{Candidate, Figure, Table, bytes, measure, report};
use uplink_core::encryption::key::{derive_key, wrap_key};
use uplink_core::encryption::{CipherSuite, ContentCipher, Key, Nonce};

mod measure;

const BLOCK: usize = 7424;
const KEY: [u8; 32] = [7; 32];

fn main() {
    let mut table = Table::new(&["case", "candidate", "µs", "GB/s"]);
    let figures = seal();
    show("seal 7408 B", BLOCK - 16, &figures, &mut table);
    show("open 7408 B", BLOCK - 16, &open(), &mut table);
    show("hash 64 KiB", 64 << 10, &hash(), &mut table);
    show("keys", 32, &keys(), &mut table);
    table.print();
}

fn show(case: &str, size: usize, figures: &[Figure], table: &mut Table) {
    report("encryption", case, size, figures);
    for figure in figures {
        table.row(vec![
            case.to_owned(),
            figure.name.clone(),
            format!("{:.2}", figure.best * 1e6),
            format!("{:.2}", figure.rate(size)),
        ]);
    }
}

fn suites() -> Vec<(String, ContentCipher)> {
    let all = [CipherSuite::AesGcm, CipherSuite::ChaCha20Poly1305, CipherSuite::SecretBox];
    let cipher = |suite| ContentCipher::new(suite, &Key::new(KEY)).expect("a cipher");
    all.map(|suite| (suite.to_string(), cipher(suite))).into()
}

fn crypto_crate() -> (Aes256Gcm, AeadNonce<Aes256Gcm>) {
    // The nonce of block 1 of a segment whose nonces start at zero.
    let mut nonce = [0; 12];
    nonce[0] = 1;
    (Aes256Gcm::new(&AesKey::<Aes256Gcm>::from(KEY)), nonce.into())
}

fn seal() -> Vec<Figure> {
    let plain = bytes(BLOCK - 16);
    let mut sealed = vec![vec![0; BLOCK]; 3];
    let mut by_crate = plain.clone();
    let (cipher, nonce) = crypto_crate();
    let mut candidates = Vec::new();
    for ((name, cipher), out) in suites().into_iter().zip(&mut sealed) {
        let plain = &plain;
        candidates.push(Candidate::new(name, move || {
            cipher.seal_block(&Nonce::ZERO, 1, plain, out).expect("sealed");
        }));
    }
    let plain = &plain;
    let by_crate_out = &mut by_crate;
    candidates.push(Candidate::new("AES-256-GCM, RustCrypto", || {
        by_crate_out.copy_from_slice(plain);
        let mut buffer = by_crate_out.as_mut_slice();
        cipher.encrypt_inout_detached(&nonce, b"", (&mut *buffer).into()).expect("sealed");
        std::hint::black_box(&mut buffer);
    }));
    let figures = measure(candidates);
    assert_eq!(sealed[0][..BLOCK - 16], by_crate, "two implementations differ");
    figures
}

fn open() -> Vec<Figure> {
    let plain = bytes(BLOCK - 16);
    let mut opened = vec![vec![0; BLOCK - 16]; 3];
    let mut by_crate = vec![0; BLOCK - 16];
    let (cipher, nonce) = crypto_crate();
    let sealed_by = |cipher: &ContentCipher| {
        let mut sealed = vec![0; BLOCK];
        cipher.seal_block(&Nonce::ZERO, 1, &plain, &mut sealed).expect("sealed");
        sealed
    };
    let first = sealed_by(&suites()[0].1);
    let mut candidates = Vec::new();
    for ((name, cipher), out) in suites().into_iter().zip(&mut opened) {
        let sealed = sealed_by(&cipher);
        candidates.push(Candidate::new(name, move || {
            cipher.open_block(&Nonce::ZERO, 1, &sealed, out).expect("opened");
        }));
    }
    let out = &mut by_crate;
    candidates.push(Candidate::new("AES-256-GCM, RustCrypto", || {
        let (content, tag) = first.split_at(BLOCK - 16);
        out.copy_from_slice(content);
        let tag = tag.try_into().expect("16 bytes");
        cipher.decrypt_inout_detached(&nonce, b"", out.as_mut_slice().into(), tag).expect("opened");
    }));
    let figures = measure(candidates);
    assert!(opened.iter().chain([&by_crate]).all(|opened| *opened == plain), "opened bytes differ");
    figures
}

fn hash() -> Vec<Figure> {
    let input = bytes(64 << 10);
    let blake3 = || {
        std::hint::black_box(blake3::hash(&input));
    };
    let sha256 = || {
        std::hint::black_box(<sha2::Sha256 as sha2::Digest>::digest(&input));
    };
    measure(vec![Candidate::new("BLAKE3", blake3), Candidate::new("SHA-256", sha256)])
}

fn keys() -> Vec<Figure> {
    let key = Key::new(KEY);
    measure(vec![
        Candidate::new("derive", || drop(std::hint::black_box(derive_key(&key, b"message")))),
        Candidate::new("wrap", || {
            let wrapped = wrap_key(CipherSuite::AesGcm, &key, &Nonce::ZERO, &key);
            std::hint::black_box(wrapped.expect("wrapped"));
        }),
        Candidate::new("prepare a content cipher", || {
            drop(std::hint::black_box(ContentCipher::new(CipherSuite::AesGcm, &key)));
        }),
    ])
}
