//! Arguments of `uplink access`.

use std::fmt;

use clap::{Args, Subcommand};

use super::grant::AccessArgs;

/// The subcommands of `uplink access`.
#[derive(Subcommand)]
pub(crate) enum AccessCommand {
    /// Create an access grant from an API key and a passphrase
    ///
    /// All data is encrypted with the passphrase. It never leaves this computer and cannot be
    /// recovered. A different passphrase opens a different, empty view of the same project.
    Request(Request),
    /// Store an access grant under a name
    Import(Import),
    /// List stored accesses
    List,
    /// Make a stored access the current one, used by default
    Use {
        /// Name of a stored access
        name: String,
    },
    /// Show the contents and permissions of an access grant
    Inspect(Inspect),
    /// Make the satellite reject a shared access grant, and all that were shared from it
    ///
    /// Needs an access grant that it descends from. Takes effect within minutes.
    Revoke(Revoke),
    /// Remove a stored access; the grant itself stays valid
    Remove {
        /// Name of a stored access
        name: String,
    },
}

/// Hides access grants and API keys.
impl fmt::Debug for AccessCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessCommand").finish_non_exhaustive()
    }
}

#[derive(Args)]
pub(crate) struct Request {
    /// Address of the satellite, NODEID@HOST:PORT
    #[arg(long, value_name = "ADDRESS", env = "UPLINK_SATELLITE")]
    pub(crate) satellite: String,
    /// API key issued by the satellite
    #[arg(long, value_name = "KEY", env = "UPLINK_API_KEY", hide_env_values = true)]
    pub(crate) api_key: String,
    /// Read the passphrase from standard input; line breaks at its end are removed
    #[arg(long)]
    pub(crate) passphrase_stdin: bool,
    /// Store the access grant under this name instead of printing it
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Replace a stored access of this name
    #[arg(long, requires = "name")]
    pub(crate) force: bool,
}

#[derive(Args)]
pub(crate) struct Import {
    /// Name to store the access grant under
    pub(crate) name: String,
    /// Access grant; `-` or omitted: read from standard input, hidden from other users
    pub(crate) grant: Option<String>,
    /// Replace a stored access of this name
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Args)]
pub(crate) struct Revoke {
    #[command(flatten)]
    pub(crate) access: AccessArgs,
    /// Name of a stored access, or an access grant, to revoke; `-` reads it from standard input
    #[arg(value_name = "NAME|GRANT")]
    pub(crate) shared: String,
}

#[derive(Args)]
pub(crate) struct Inspect {
    /// Name of a stored access, or an access grant; `-` reads a grant from standard input; the
    /// current stored access if omitted
    #[arg(value_name = "NAME|GRANT")]
    pub(crate) access: Option<String>,
    /// Also show keys, which give access to the data
    #[arg(long)]
    pub(crate) show_secrets: bool,
}
