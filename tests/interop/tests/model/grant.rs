//! Access grants of different permissions.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use uplink::{Access, Permission, SharePrefix};

use super::world::b64;

/// The bucket and prefix of grants that are restricted to a prefix.
pub(crate) const SHARED: (&str, &str) = ("alpha", "a/");
/// Lifetime of objects written with [`Grant::Lifetime`].
pub(crate) const OBJECT_LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// What the grant of an operation permits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Grant {
    DeleteOnly,
    DownloadOnly,
    Expired,
    Full,
    Lifetime,
    ListAndUpload,
    ListOnly,
    NotYetValid,
    Prefix,
    PrefixReadOnly,
    ReadOnly,
    UploadOnly,
    WithoutDelete,
    WriteOnly,
}

impl Grant {
    pub(crate) const ALL: [Self; 14] = [
        Self::DeleteOnly,
        Self::DownloadOnly,
        Self::Expired,
        Self::Full,
        Self::Lifetime,
        Self::ListAndUpload,
        Self::ListOnly,
        Self::NotYetValid,
        Self::Prefix,
        Self::PrefixReadOnly,
        Self::ReadOnly,
        Self::UploadOnly,
        Self::WithoutDelete,
        Self::WriteOnly,
    ];

    /// Returns what is permitted: download, upload, list, delete.
    fn operations(self) -> [bool; 4] {
        match self {
            Self::DeleteOnly => [false, false, false, true],
            Self::DownloadOnly => [true, false, false, false],
            Self::ListAndUpload => [false, true, true, false],
            Self::ListOnly => [false, false, true, false],
            Self::PrefixReadOnly | Self::ReadOnly => [true, false, true, false],
            Self::UploadOnly => [false, true, false, false],
            Self::WithoutDelete => [true, true, true, false],
            Self::WriteOnly => [false, true, false, true],
            Self::Expired | Self::Full | Self::Lifetime | Self::NotYetValid | Self::Prefix => {
                [true; 4]
            }
        }
    }

    pub(crate) fn can_download(self) -> bool {
        self.operations()[0]
    }

    pub(crate) fn can_upload(self) -> bool {
        self.operations()[1]
    }

    /// Returns whether the satellite tells about objects and uploads that exist.
    pub(crate) fn can_stat(self) -> bool {
        let [download, _, list, _] = self.operations();
        download || list
    }

    fn is_restricted_to_prefix(self) -> bool {
        matches!(self, Self::Prefix | Self::PrefixReadOnly)
    }

    /// Shares a grant with our client.
    pub(crate) fn share(self, root: &Access) -> Access {
        let [download, upload, list, delete] = self.operations();
        let permission = Permission::new().download(download).upload(upload);
        let permission = permission.list(list).delete(delete);
        let permission = match self {
            Self::Expired => permission.not_after(long_ago()),
            Self::Lifetime => permission.max_object_ttl(OBJECT_LIFETIME),
            Self::NotYetValid => permission.not_before(far_ahead()),
            _ => permission,
        };
        let prefixes: &[SharePrefix] = match self.is_restricted_to_prefix() {
            true => &[SharePrefix::new(SHARED.0, SHARED.1)],
            false => &[],
        };
        root.share(&permission, prefixes).expect("shared")
    }

    /// Returns the command that shares a grant with the reference client.
    pub(crate) fn share_command(self, root: &str) -> Value {
        let [download, upload, list, delete] = self.operations();
        let mut permission =
            json!({"download": download, "upload": upload, "list": list, "delete": delete});
        match self {
            Self::Expired => permission["not_after"] = "2001-01-01T00:00:00Z".into(),
            Self::Lifetime => permission["ttl_seconds"] = OBJECT_LIFETIME.as_secs().into(),
            Self::NotYetValid => permission["not_before"] = "2100-01-01T00:00:00Z".into(),
            _ => {}
        }
        let prefixes = match self.is_restricted_to_prefix() {
            true => json!([{"bucket": SHARED.0, "prefix": b64(SHARED.1)}]),
            false => json!([]),
        };
        json!({"op": "share", "access": root, "permission": permission, "prefixes": prefixes})
    }
}

/// The first second of 2001.
pub(crate) fn long_ago() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(978_307_200)
}

/// The first second of 2100.
pub(crate) fn far_ahead() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(4_102_444_800)
}
