//! Keys of a persistent network's first project, which later starts reuse.

use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::{fmt, fs};

use serde::{Deserialize, Serialize};
use uplink::Secret;
use uplink_testnet::Network;

use crate::failure::{Exit, Failure, Outcome};

/// The keys of a project. `Debug` hides them.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Keys {
    /// Node id of the satellite. The file may be left from a network that was deleted.
    satellite: String,
    project: String,
    pub(super) api_key: String,
    pub(super) passphrase: String,
}

const FILE: &str = "keys.json";
const MAX_FILE_SIZE: u64 = 64 << 10;
/// Maximum number appended to a project name.
const MAX_NAME_NUMBER: u32 = 10_000;

impl Keys {
    /// Loads the stored keys, or creates a project and stores its keys.
    pub(super) async fn load_or_create(network: &Network) -> Outcome<Self> {
        let stored = read(network.directory())?;
        if let Some(keys) = stored.filter(|keys| keys.satellite == satellite_id(network)) {
            return Ok(keys);
        }
        let keys = Self::create(network, None, "dev").await?;
        keys.write(network.directory())?;
        Ok(keys)
    }

    /// Creates a project. Without a name it is called `prefix`, followed by a number if that is
    /// taken.
    pub(super) async fn create(
        network: &Network,
        name: Option<&str>,
        prefix: &str,
    ) -> Outcome<Self> {
        let name = match name {
            Some(name) => name.to_owned(),
            None => unused_name(network, prefix).await?,
        };
        let credentials = network.project(&name).await?;
        Ok(Self {
            satellite: satellite_id(network),
            project: name,
            api_key: credentials.api_key,
            passphrase: random_passphrase()?,
        })
    }

    fn write(&self, directory: &Path) -> Outcome {
        let path = directory.join(FILE);
        let write = || {
            // Temporary files are readable only by their owner.
            let mut file = tempfile::NamedTempFile::new_in(directory)?;
            let mut text = Secret::new(serde_json::to_vec(self)?);
            text.expose_mut().push(b'\n');
            file.write_all(text.expose())?;
            file.as_file().sync_all()?;
            file.persist(&path)?;
            fs::File::open(directory)?.sync_all()
        };
        write().map_err(|error| Failure::io(format_args!("cannot write {path:?}"), &error))
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("project", &self.project).finish_non_exhaustive()
    }
}

fn read(directory: &Path) -> Outcome<Option<Keys>> {
    let path = directory.join(FILE);
    let mut text = Secret::new(Vec::new());
    match fs::File::open(&path) {
        Ok(file) => file.take(MAX_FILE_SIZE).read_to_end(text.expose_mut()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => Err(error),
    }
    .map_err(|error| Failure::io(format_args!("cannot read {path:?}"), &error))?;
    serde_json::from_slice(text.expose()).map(Some).map_err(|error| {
        // The parser's message may quote a key.
        let text =
            format!("{path:?} is corrupt at line {}, column {}", error.line(), error.column());
        Failure::new(Exit::Other, text)
    })
}

fn satellite_id(network: &Network) -> String {
    let url = network.satellite_url();
    url.split_once('@').map_or_else(|| url.clone(), |(id, _)| id.to_owned())
}

async fn unused_name(network: &Network, prefix: &str) -> Outcome<String> {
    let failure = |error| Failure::from(uplink_testnet::NetworkError::Admin(error));
    let projects = network.admin().await?.projects().await.map_err(failure)?;
    let names = std::iter::once(prefix.to_owned())
        .chain((2..MAX_NAME_NUMBER).map(|number| format!("{prefix}-{number}")));
    let mut unused = names.filter(|name| projects.iter().all(|project| project.name != *name));
    unused.next().ok_or_else(|| {
        Failure::new(Exit::Conflict, "cannot choose a project name: too many projects; pass a name")
    })
}

/// Returns 32 random characters. Users need only the access grant, not the passphrase.
fn random_passphrase() -> Outcome<String> {
    let mut bytes = [0; 24];
    getrandom::fill(&mut bytes).map_err(|error| {
        Failure::new(Exit::Other, format!("random number generator failed: {error}"))
    })?;
    Ok(base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, bytes))
}
