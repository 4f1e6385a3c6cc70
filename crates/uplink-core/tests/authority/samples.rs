//! Twenty access grants of all kinds, and what each of them permits.

use std::sync::LazyLock;

use uplink_core::access_grant::{AccessGrant, SharePrefix};
use uplink_core::base58;
use uplink_core::encryption::path::{content_key, encrypt_path};
use uplink_core::encryption::{CipherSuite, EncryptionStore, Key};
use uplink_core::macaroon::{
    Action, ApiKey, ApiKeyVersion, Operation, OperationSet, Permission, Timestamp,
};

/// The secret of the API key of all samples, which only the satellite knows.
pub(crate) const SECRET: [u8; 32] = [0x51; 32];
pub(crate) const VERSION: ApiKeyVersion = ApiKeyVersion(7);
/// The satellite's time in all probes.
pub(crate) const NOW: Timestamp = Timestamp::new(1_750_000_000, 0);
/// Maximum length of the text of a sample.
pub(crate) const MAX_TEXT: usize = 4096;

const ADDRESS: &str = "1SYXsAycDPUu4z2ZksJD5fh5nTDcH3vCFHnpcVye5XuL1NrYV@s:7777";
const ROOT_KEY: [u8; 32] = [0x52; 32];
/// Buckets and object keys whose access is probed.
const PROBES: [(&str, &str); 12] = [
    ("", ""),
    ("photos", ""),
    ("photos", "trips"),
    ("photos", "trips/rome"),
    ("photos", "trips/rome/cat.jpg"),
    ("photos", "trips/romeo"),
    ("photos", "other"),
    ("photos", "/"),
    ("videos", ""),
    ("videos", "größe/ä"),
    ("videos", "trips/rome"),
    ("backup", "x"),
];

/// A grant, its text forms, and what it permits.
pub(crate) struct Sample {
    pub(crate) grant: AccessGrant,
    pub(crate) text: String,
    pub(crate) payload: Vec<u8>,
    authority: Authority,
}

/// What a grant permits: operations on the probes, and keys of the probes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Authority {
    allowed: Vec<Vec<Operation>>,
    keys: Vec<Option<Key>>,
}

/// The keys of the probes, as the owner of the project has them.
static ROOT_KEYS: LazyLock<Vec<Option<Key>>> = LazyLock::new(|| Authority::of(&root()).keys);
/// The probes as the satellite sees them.
static ENCRYPTED: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let root = root();
    let encrypted = |(bucket, key): &(&str, &str)| {
        encrypt_path(root.encryption(), bucket.as_bytes(), key.as_bytes())
    };
    PROBES.iter().map(|probe| encrypted(probe).expect("a key")).collect()
});
pub(crate) static SAMPLES: LazyLock<Vec<Sample>> =
    LazyLock::new(|| grants().into_iter().map(Sample::new).collect());

impl Sample {
    fn new(grant: AccessGrant) -> Self {
        let text = grant.serialize().expect("a text");
        let (_, payload) = base58::decode_check(&text, MAX_TEXT).expect("a short text");
        let authority = Authority::of(&grant);
        Self { grant, text, payload, authority }
    }

    /// Returns what an edited grant permits and this one does not.
    pub(crate) fn gained_by(&self, edited: &AccessGrant) -> Vec<String> {
        let mut gained = self.authority.gained_by(&Authority::of(edited));
        let tail = edited.api_key().tail();
        if edited.api_key().is_authentic(&SECRET) && tail != self.grant.api_key().tail() {
            gained.push("an authentic API key that is not its own".to_owned());
        }
        gained
    }
}

impl Authority {
    pub(crate) fn of(grant: &AccessGrant) -> Self {
        let api_key = grant.api_key();
        let allowed = |index: usize| -> Vec<Operation> {
            let action = |operation| Action {
                operation,
                bucket: PROBES[index].0.as_bytes(),
                encrypted_path: &ENCRYPTED[index],
                time: NOW,
            };
            let is_allowed = |operation: &Operation| {
                api_key.check(&SECRET, VERSION, &action(*operation)).is_ok()
            };
            Operation::ALL.into_iter().filter(is_allowed).collect()
        };
        // All of its calls are rejected.
        let is_authentic = api_key.is_authentic(&SECRET);
        let allowed = |index| if is_authentic { allowed(index) } else { Vec::new() };
        let key = |(bucket, key): &(&str, &str)| {
            content_key(grant.encryption(), bucket.as_bytes(), key.as_bytes()).ok()
        };
        Self {
            allowed: (0..PROBES.len()).map(allowed).collect(),
            keys: PROBES.iter().map(key).collect(),
        }
    }

    fn gained_by(&self, other: &Self) -> Vec<String> {
        let mut gained = Vec::new();
        for (index, probe) in PROBES.iter().enumerate() {
            let is_new = |operation: &&Operation| !self.allowed[index].contains(operation);
            let operations = other.allowed[index].iter().filter(is_new);
            gained.extend(operations.map(|operation| format!("{operation:?} of {probe:?}")));
            // A key that decrypts nothing is worthless.
            let is_real = other.keys[index].is_some() && other.keys[index] == ROOT_KEYS[index];
            if is_real && self.keys[index].is_none() {
                gained.push(format!("the key of {probe:?}"));
            }
        }
        gained
    }
}

pub(crate) fn root() -> AccessGrant {
    let store = EncryptionStore::with_default_key(Key::new(ROOT_KEY), CipherSuite::AesGcm);
    AccessGrant::new(ADDRESS.into(), ApiKey::new(&SECRET, vec![0x53; 32]), &store).expect("a grant")
}

/// Returns twenty grants: whole projects, prefixes, chains, times, and keys of tenants.
fn grants() -> Vec<AccessGrant> {
    let prefixes: [&[(&str, &str)]; 8] = [
        &[],
        &[("photos", "")],
        &[("photos", "trips")],
        &[("photos", "trips/rome/")],
        &[("photos", "trips/"), ("videos", "")],
        &[("videos", "größe")],
        &[("photos", "/")],
        &[("photos", "trips/rome"), ("photos", "other"), ("backup", "x")],
    ];
    let mut grants = vec![root()];
    for (index, prefixes) in prefixes.into_iter().enumerate() {
        let shared = share(&root(), &Permission::full(), prefixes);
        grants.push(share(&shared, &permission(index), prefixes));
        grants.push(shared);
    }
    let mut tenant = share(&root(), &Permission::full(), &[("photos", "trips/")]);
    tenant.override_encryption_key("photos", b"trips/", Key::new([9; 32])).expect("overridden");
    grants.push(tenant);
    let chain = (0..8).fold(root(), |grant, index| share(&grant, &permission(index), &[]));
    grants.push(share(&chain, &Permission::read_only(), &[("photos", "trips")]));
    grants.push(share(&root(), &Permission::write_only(), &[("backup", "")]));
    assert_eq!(grants.len(), 20);
    grants
}

/// Returns one of several permissions, some of which permit nothing now.
fn permission(index: usize) -> Permission {
    let after = |seconds: i64| Some(Timestamp::new(NOW.seconds() + seconds, 0));
    let base = match index % 4 {
        0 => Permission::read_only(),
        1 => Permission::write_only(),
        2 => Permission::of([Operation::List]),
        _ => Permission { allowed: OperationSet::ALL, ..Permission::default() },
    };
    match index {
        5 => Permission { not_after: after(-1), ..base },
        6 => Permission { not_before: after(-10), not_after: after(10), ..base },
        7 => Permission { max_object_ttl_nanos: Some(1_000), ..base },
        _ => base,
    }
}

fn share(grant: &AccessGrant, permission: &Permission, prefixes: &[(&str, &str)]) -> AccessGrant {
    let prefix = |(bucket, prefix): &(&str, &str)| SharePrefix {
        bucket: (*bucket).to_owned(),
        prefix: prefix.as_bytes().to_vec(),
    };
    let prefixes: Vec<_> = prefixes.iter().map(prefix).collect();
    grant.restrict(permission, &prefixes, [1, 2, 3, 4]).expect("shared")
}
