//! The four files of an identity.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustls::pki_types::pem;

use super::{Identity, IdentityError};

pub(super) const LEAF_CHAIN: &str = "identity.cert";
pub(super) const LEAF_KEY: &str = "identity.key";
const CA_CHAIN: &str = "ca.cert";
const CA_KEY: &str = "ca.key";

pub(super) fn save(identity: &Identity, folder: &Path) -> Result<(), IdentityError> {
    let certificates: Vec<&[u8]> = identity.chain.iter().map(AsRef::as_ref).collect();
    let mut files = vec![
        (LEAF_CHAIN, pem_text("CERTIFICATE", &certificates)),
        (LEAF_KEY, pem_text("PRIVATE KEY", &[identity.leaf_key.secret_pkcs8_der()])),
    ];
    if let (Some(key), Some(ca)) = (&identity.ca_key, certificates.get(1..)) {
        files.push((CA_CHAIN, pem_text("CERTIFICATE", ca)));
        files.push((CA_KEY, pem_text("PRIVATE KEY", &[key.secret_pkcs8_der()])));
    }
    for (name, _) in &files {
        if folder.join(name).exists() {
            return Err(IdentityError::Exists(folder.join(name).display().to_string()));
        }
    }
    files.iter().try_for_each(|(name, text)| write_private(&folder.join(name), text))
}

/// Creates a file that only its owner can access. `create_new` prevents a race between check and write.
fn write_private(path: &Path, text: &str) -> Result<(), IdentityError> {
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    write().map_err(|source| IdentityError::File { path: path.display().to_string(), source })
}

fn pem_text(label: &str, contents: &[&[u8]]) -> String {
    let config = ::pem::EncodeConfig::new().set_line_ending(::pem::LineEnding::LF);
    let blocks = contents.iter().map(|der| ::pem::Pem::new(label, der.to_vec()));
    ::pem::encode_many_config(&blocks.collect::<Vec<_>>(), config)
}

pub(super) fn pem_error(path: &Path, error: pem::Error) -> IdentityError {
    let path = path.display().to_string();
    match error {
        pem::Error::Io(source) => IdentityError::File { path, source },
        other => IdentityError::Pem { path, reason: other.to_string() },
    }
}
