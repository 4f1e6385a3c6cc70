//! Rust code from `proto/`, made by a pure-Rust protobuf compiler so that nobody needs `protoc`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use protox::prost_reflect::DescriptorPool;

use crate::{Failure, root, shapes};

const FILES: [&str; 10] = [
    "encryption.proto",
    "pointerdb.proto",
    "node.proto",
    "orders.proto",
    "piecestore.proto",
    "contact.proto",
    "metainfo.proto",
    "nodestats.proto",
    "heldamount.proto",
    "userinfo.proto",
];

/// Signed messages whose received bytes must survive are hand-written types.
pub(crate) const SIGNED: [(&str, &str); 3] = [
    (".orders.OrderLimit", "crate::raw::OrderLimit"),
    (".orders.Order", "crate::raw::Order"),
    (".orders.PieceHash", "crate::raw::PieceHash"),
];

/// Generates into the source tree, or with `check` compares the source tree with a fresh result.
pub(crate) fn run(check: bool) -> Result<(), Failure> {
    let committed = root().join("crates/uplink-rpc/src/gen");
    let fresh = root().join("target/codegen");
    let _ = fs::remove_dir_all(&fresh);
    fs::create_dir_all(&fresh)?;
    generate(&fresh)?;
    let fresh_files = read(&fresh)?;
    if check {
        let committed_files = read(&committed)?;
        return match differing(&fresh_files, &committed_files) {
            None => Ok(()),
            Some(name) => {
                Err(format!("{name} differs from proto/: run `cargo xtask codegen`").into())
            }
        };
    }
    for (name, text) in fresh_files {
        fs::write(committed.join(name), text)?;
    }
    Ok(())
}

fn generate(into: &Path) -> Result<(), Failure> {
    let proto = root().join("proto");
    let descriptors = protox::compile(FILES, [proto])?;
    let pool = DescriptorPool::from_file_descriptor_set(descriptors.clone())?;
    fs::write(into.join("shapes.rs"), shapes::generate(&pool)?)?;
    let mut builder = tonic_prost_build::configure()
        .out_dir(into)
        .bytes(".")
        .generate_default_stubs(true)
        .codec_path("crate::codec::BoundedCodec");
    for (message, path) in SIGNED {
        builder = builder.extern_path(message, path);
    }
    builder.compile_fds(descriptors)?;
    Ok(())
}

fn read(folder: &Path) -> Result<BTreeMap<String, String>, Failure> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name != "mod.rs" {
            files.insert(name, fs::read_to_string(entry.path())?);
        }
    }
    Ok(files)
}

/// The first file that is in one set only or has another text.
fn differing(a: &BTreeMap<String, String>, b: &BTreeMap<String, String>) -> Option<String> {
    let names = a.keys().chain(b.keys());
    names.into_iter().find(|name| a.get(*name) != b.get(*name)).cloned()
}
