//! A network's folder: its persistent settings and its lock.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use uplink_core::erasure::Scheme;
use uplink_core::id::NodeId;
use uplink_rpc::tls::Identity;

use crate::error::{NetworkError, Result};
use crate::options::MAX_NODES;

/// Name of the file in a network's folder that holds its ports and scheme.
pub const NETWORK_FILE: &str = "network.toml";

/// The folder of a running network, locked against other processes.
#[derive(Debug)]
pub(crate) struct Home {
    path: PathBuf,
    _lock: File,
    _temporary: Option<TempDir>,
}

/// The persistent settings of a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) scheme: Scheme,
    pub(crate) satellite: SocketAddr,
    pub(crate) nodes: Vec<SocketAddr>,
    /// Ids of the satellite and of each node. Format 1 does not store them.
    pub(crate) satellite_id: Option<NodeId>,
    pub(crate) node_ids: Vec<NodeId>,
}

/// The TOML form of a [`Record`].
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    format: i64,
    scheme: String,
    satellite: SocketAddr,
    nodes: Vec<SocketAddr>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    satellite_id: Option<String>,
    #[serde(default)]
    node_ids: Vec<String>,
}

/// Current format version. Format 1 has no ids.
const FORMAT: i64 = 2;
const HEADER: &str = "# An uplink network on this machine. Ports are chosen once: access grants hold the satellite's.\n\n";
const SATELLITE: &str = "satellite";
const LOCK_FILE: &str = "lock";
/// Maximum bytes read from the network file.
const MAX_FILE_SIZE: u64 = 1 << 20;

impl Home {
    /// Opens and locks a folder, or a temporary one that is removed on drop.
    pub(crate) fn open(directory: Option<&Path>) -> Result<Self> {
        let (path, temporary) = match directory {
            Some(path) => {
                create_directory(path)?;
                (fs::canonicalize(path).map_err(file_error(path))?, None)
            }
            None => {
                let temporary = tempfile::Builder::new()
                    .prefix("uplink-")
                    .tempdir()
                    .map_err(file_error(&std::env::temp_dir()))?;
                (temporary.path().to_owned(), Some(temporary))
            }
        };
        let lock = lock(&path)?;
        Ok(Self { path, _lock: lock, _temporary: temporary })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn network_file(&self) -> PathBuf {
        self.path.join(NETWORK_FILE)
    }

    /// Deletes the network's files. Unrelated files in the folder are kept.
    pub(crate) fn clear(&self) -> Result<()> {
        let entries = fs::read_dir(&self.path).map_err(file_error(&self.path))?;
        for entry in entries {
            let entry = entry.map_err(file_error(&self.path))?;
            let path = entry.path();
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let is_node =
                name.strip_prefix("node-").is_some_and(|number| number.parse::<u16>().is_ok());
            if name == SATELLITE || is_node {
                fs::remove_dir_all(&path).map_err(file_error(&path))?;
            } else if name == NETWORK_FILE {
                fs::remove_file(&path).map_err(file_error(&path))?;
            }
        }
        Ok(())
    }

    /// Returns the path of the satellite's folder, which may not exist yet.
    pub(crate) fn satellite_path(&self) -> PathBuf {
        self.path.join(SATELLITE)
    }

    /// Returns the path of a node's folder, which may not exist yet.
    pub(crate) fn node_path(&self, index: usize) -> PathBuf {
        self.path.join(node_name(index))
    }

    /// Reads the stored record, or returns `None` for a new network.
    pub(crate) fn read(&self) -> Result<Option<Record>> {
        let path = self.network_file();
        let mut text = String::new();
        match File::open(&path) {
            Ok(file) => {
                file.take(MAX_FILE_SIZE).read_to_string(&mut text).map_err(file_error(&path))?
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(file_error(&path)(error)),
        };
        parse(&text, &path).map(Some)
    }

    /// Writes a record atomically: after a crash the file holds either the old or the new one.
    pub(crate) fn write(&self, record: &Record) -> Result<()> {
        let text = Text {
            format: FORMAT,
            scheme: record.scheme.to_string(),
            satellite: record.satellite,
            nodes: record.nodes.clone(),
            satellite_id: record.satellite_id.map(|id| id.to_string()),
            node_ids: record.node_ids.iter().map(NodeId::to_string).collect(),
        };
        let path = self.network_file();
        let text = toml::to_string(&text).map_err(|error| malformed(&path, error.to_string()))?;
        let temporary = self.path.join("network.toml.new");
        let write = || {
            let mut file = File::create(&temporary)?;
            file.write_all(HEADER.as_bytes())?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&temporary, &path)?;
            File::open(&self.path)?.sync_all()
        };
        write().map_err(file_error(&path))
    }
}

/// Loads the identity in a folder, or generates and saves one if there is none.
pub(crate) fn identity(folder: &Path, service: &str) -> Result<Identity> {
    create_directory(folder)?;
    let load_or_generate = || {
        if folder.join("identity.cert").exists() {
            return Identity::load(folder);
        }
        let identity = Identity::generate()?;
        identity.save(folder)?;
        Ok(identity)
    };
    load_or_generate()
        .map_err(|source| NetworkError::Identity { service: service.to_owned(), source })
}

/// Requires that the folder of an existing service still holds its identity.
pub(crate) fn require(
    folder: &Path,
    identity: &Path,
    expected: NodeId,
    service: &str,
) -> Result<()> {
    let service = service.to_owned();
    if !identity.join("identity.cert").exists() {
        return Err(NetworkError::FolderMissing { service, path: folder.to_owned() });
    }
    match Identity::load(identity) {
        Ok(identity) if identity.node_id() == expected => Ok(()),
        Ok(identity) => Err(NetworkError::IdentityMismatch {
            service,
            path: folder.to_owned(),
            found: identity.node_id(),
            expected,
        }),
        Err(source) => Err(NetworkError::Identity { service, source }),
    }
}

fn node_name(index: usize) -> String {
    format!("node-{index:02}")
}

/// Creates a folder that only its owner can access, and its parents.
pub(crate) fn create_directory(path: &Path) -> Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(file_error(path))
}

fn parse(text: &str, path: &Path) -> Result<Record> {
    let corrupt = |reason: String| malformed(path, reason);
    let table: toml::Table =
        text.parse().map_err(|error: toml::de::Error| corrupt(error.to_string()))?;
    let found = table.get("format").and_then(toml::Value::as_integer);
    match found {
        Some(1 | FORMAT) => {}
        Some(found) if found > FORMAT => {
            let path = path.to_owned();
            return Err(NetworkError::NewerFormat { path, found, max: FORMAT });
        }
        _ => return Err(corrupt("missing or invalid format number".to_owned())),
    }
    let text: Text = table.try_into().map_err(|error| corrupt(error.to_string()))?;
    let scheme: Scheme =
        text.scheme.parse().map_err(|error| corrupt(format!("scheme: {error}")))?;
    if text.nodes.is_empty() || text.nodes.len() > MAX_NODES {
        return Err(corrupt(format!("{} storage nodes listed", text.nodes.len())));
    }
    for address in std::iter::once(&text.satellite).chain(&text.nodes) {
        if !address.ip().is_loopback() || address.port() == 0 {
            return Err(corrupt(format!("\"{address}\" is not a loopback address with a port")));
        }
    }

    let parse_id =
        |id: &String| id.parse::<NodeId>().map_err(|error| corrupt(format!("id {id:?}: {error}")));
    let node_ids = text.node_ids.iter().map(parse_id).collect::<Result<Vec<_>>>()?;
    let satellite_id = text.satellite_id.as_ref().map(parse_id).transpose()?;
    Ok(Record { scheme, satellite: text.satellite, nodes: text.nodes, satellite_id, node_ids })
}

fn malformed(path: &Path, reason: String) -> NetworkError {
    NetworkError::Malformed { path: path.to_owned(), reason: reason.trim_end().to_owned() }
}

fn file_error(path: &Path) -> impl Fn(io::Error) -> NetworkError {
    |source| NetworkError::File { path: path.to_owned(), source }
}

/// Locks the folder for this process. The system releases the lock when the process exits.
fn lock(folder: &Path) -> Result<File> {
    let path = folder.join(LOCK_FILE);
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let mut file = options.open(&path).map_err(file_error(&path))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let process = fs::read_to_string(&path).ok().and_then(|text| text.trim().parse().ok());
            return Err(NetworkError::InUse { path: folder.to_owned(), process });
        }
        Err(error) => return Err(file_error(&path)(error.into())),
    }
    file.set_len(0)
        .and_then(|()| writeln!(file, "{}", std::process::id()))
        .map_err(file_error(&path))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATH: &str = "network.toml";

    fn text(format: i64, scheme: &str, satellite: &str, nodes: &str) -> String {
        format!(
            "format = {format}\nscheme = {scheme:?}\nsatellite = {satellite:?}\nnodes = {nodes}"
        )
    }

    /// Returns an id with a valid text form: its last byte is the version.
    fn id(number: u8) -> NodeId {
        let mut bytes = [number; 32];
        bytes[31] = 0;
        NodeId::new(bytes)
    }

    #[test]
    fn record_round_trips_through_the_file() {
        let folder = TempDir::new().unwrap();
        let home = Home::open(Some(folder.path())).unwrap();
        assert_eq!(home.read().unwrap(), None);
        let record = Record {
            scheme: "2/3/4/5-64".parse().unwrap(),
            satellite: "127.0.0.1:7777".parse().unwrap(),
            nodes: vec!["127.0.0.1:7778".parse().unwrap(), "127.0.0.1:7779".parse().unwrap()],
            satellite_id: Some(id(1)),
            node_ids: vec![id(2), id(3)],
        };
        home.write(&record).unwrap();
        assert_eq!(home.read().unwrap(), Some(record));
    }

    #[test]
    fn error_of_corrupt_file_names_path_and_reason() {
        let address = "127.0.0.1:7777";
        let nodes = "[\"127.0.0.1:7778\"]";
        assert!(parse(&text(1, "2/3/4/5-64", address, nodes), Path::new(PATH)).is_ok());
        for (corrupt, reason) in [
            ("format = ".to_owned(), "line 1"),
            (String::new(), "format number"),
            (text(0, "2/3/4/5-64", address, nodes), "format number"),
            (text(1, "9/3/4/5-64", address, nodes), "scheme"),
            (text(1, "2/3/4/5-64", "somewhere", nodes), "satellite"),
            (text(1, "2/3/4/5-64", "127.0.0.1:0", nodes), "127.0.0.1:0"),
            (text(1, "2/3/4/5-64", "10.0.0.1:7777", nodes), "10.0.0.1:7777"),
            (text(1, "2/3/4/5-64", address, "[]"), "0 storage nodes"),
            (text(1, "2/3/4/5-64", address, nodes) + "\nport = 3", "port"),
            (text(2, "2/3/4/5-64", address, nodes) + "\nnode_ids = [\"x\"]", "id \"x\""),
        ] {
            let error = parse(&corrupt, Path::new(PATH)).unwrap_err();
            assert!(matches!(error, NetworkError::Malformed { .. }), "{error}");
            let error = error.to_string();
            assert!(error.starts_with(PATH) && error.contains(reason), "{error}");
        }
    }

    #[test]
    fn newer_format_is_rejected_with_both_versions() {
        let error = parse("format = 3\nwonders = true", Path::new(PATH)).unwrap_err();
        assert!(matches!(error, NetworkError::NewerFormat { found: 3, max: 2, .. }), "{error}");
        assert_eq!(
            error.to_string(),
            "network.toml has unsupported format 3: this version reads formats up to 2"
        );
    }

    #[test]
    fn folder_in_use_is_rejected_with_the_process_id() {
        let folder = TempDir::new().unwrap();
        let home = Home::open(Some(folder.path())).unwrap();
        let error = Home::open(Some(folder.path())).unwrap_err();
        let own = std::process::id();
        assert!(matches!(error, NetworkError::InUse { process: Some(id), .. } if id == own));
        drop(home);
        Home::open(Some(folder.path())).unwrap();
    }

    #[test]
    fn clear_keeps_unrelated_files() {
        let folder = TempDir::new().unwrap();
        let home = Home::open(Some(folder.path())).unwrap();
        for (folder, file) in [(home.satellite_path(), "satellite.db"), (home.node_path(3), "x")] {
            create_directory(&folder).unwrap();
            fs::write(folder.join(file), "x").unwrap();
        }
        fs::write(home.network_file(), "corrupt").unwrap();
        for kept in ["node-x", "photo.jpg", "network.toml.mine"] {
            fs::write(folder.path().join(kept), "x").unwrap();
        }
        home.clear().unwrap();
        let entries = fs::read_dir(folder.path()).unwrap();
        let mut left: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["lock", "network.toml.mine", "node-x", "photo.jpg"]);
    }

    #[test]
    fn temporary_folder_is_removed_on_drop() {
        let home = Home::open(None).unwrap();
        let path = home.path().to_owned();
        assert!(path.is_dir());
        drop(home);
        assert!(!path.exists());
    }
}
