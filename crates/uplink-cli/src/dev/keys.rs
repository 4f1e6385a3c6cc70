//! The keys of a kept network's first project, so that a later start opens it again.

use std::fmt;
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use serde::{Deserialize, Serialize};
use uplink_core::secret::Secret;
use uplink_testnet::Network;

use crate::failure::{Exit, Failure, Outcome};

/// What opens a project. Does not show in `Debug`.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Keys {
    /// Node id of the satellite: the keys of a network that was deleted may still lie there.
    satellite: String,
    project: String,
    pub(super) api_key: String,
    pub(super) passphrase: String,
}

const FILE: &str = "keys.json";
const MAX_FILE_SIZE: u64 = 64 << 10;
/// Project names tried before giving up.
const MAX_NAMES: u32 = 10_000;

impl Keys {
    /// Those that were kept, else those of a new project, which are kept then.
    pub(super) async fn of(network: &Network) -> Outcome<Self> {
        let kept = read(network.directory())?;
        if let Some(keys) = kept.filter(|keys| keys.satellite == satellite(network)) {
            return Ok(keys);
        }
        let keys = Self::make(network, None, "dev").await?;
        keys.write(network.directory())?;
        Ok(keys)
    }

    /// Makes a project, named as said or `prefix` with the first number that is free.
    pub(super) async fn make(network: &Network, name: Option<&str>, prefix: &str) -> Outcome<Self> {
        let name = match name {
            Some(name) => name.to_owned(),
            None => free_name(network, prefix).await?,
        };
        let credentials = network.project(&name).await?;
        let (satellite, api_key) = (satellite(network), credentials.api_key);
        Ok(Self { satellite, project: name, api_key, passphrase: passphrase()? })
    }

    fn write(&self, folder: &Path) -> Outcome {
        let path = folder.join(FILE);
        let written = || {
            // Files made this way are readable by their owner only.
            let mut file = tempfile::NamedTempFile::new_in(folder)?;
            let mut text = Secret::new(serde_json::to_vec(self)?);
            text.expose_mut().push(b'\n');
            file.write_all(text.expose())?;
            file.as_file().sync_all()?;
            file.persist(&path)?;
            fs::File::open(folder)?.sync_all()
        };
        written().map_err(|error| Failure::io(format_args!("cannot write {path:?}"), &error))
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("project", &self.project).finish_non_exhaustive()
    }
}

fn read(folder: &Path) -> Outcome<Option<Keys>> {
    let path = folder.join(FILE);
    let mut text = Secret::new(Vec::new());
    match fs::File::open(&path) {
        Ok(file) => file.take(MAX_FILE_SIZE).read_to_end(text.expose_mut()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => Err(error),
    }
    .map_err(|error| Failure::io(format_args!("cannot read {path:?}"), &error))?;
    serde_json::from_slice(text.expose()).map(Some).map_err(|error| {
        // The parser's own words may quote a key.
        let text =
            format!("{path:?} is damaged at line {}, column {}", error.line(), error.column());
        Failure::new(Exit::Other, text)
    })
}

fn satellite(network: &Network) -> String {
    let url = network.satellite_url();
    url.split_once('@').map_or_else(|| url.clone(), |(id, _)| id.to_owned())
}

async fn free_name(network: &Network, prefix: &str) -> Outcome<String> {
    let failure = |error| Failure::from(uplink_testnet::NetworkError::Admin(error));
    let projects = network.admin().await?.projects().await.map_err(failure)?;
    let names = std::iter::once(prefix.to_owned())
        .chain((2..MAX_NAMES).map(|number| format!("{prefix}-{number}")));
    let mut free = names.filter(|name| projects.iter().all(|project| project.name != *name));
    free.next().ok_or_else(|| Failure::new(Exit::Conflict, "there are too many projects: name one"))
}

/// 32 random characters: nobody has to remember them, the access grant does.
fn passphrase() -> Outcome<String> {
    let mut bytes = [0; 24];
    getrandom::fill(&mut bytes).map_err(|error| {
        Failure::new(Exit::Other, format!("the system gives no random bytes: {error}"))
    })?;
    Ok(base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, bytes))
}
