//! Selection of an access grant.

use std::fmt;

use clap::Args;

/// The access grant that a command uses.
#[derive(Args)]
pub(crate) struct AccessArgs {
    /// Name of a stored access, or an access grant; the current stored access if omitted
    #[arg(long, value_name = "NAME|GRANT", env = "UPLINK_ACCESS", hide_env_values = true)]
    pub(crate) access: Option<String>,
}

impl fmt::Debug for AccessArgs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessArgs").finish_non_exhaustive()
    }
}
