//! The dialer of an open project.

use uplink_rpc::dial::Dialer;
use uplink_rpc::tls::Identity;

use crate::config::Config;
use crate::error::{Error, ErrorKind, Result};

/// Returns a dialer with a new identity, which lives as long as the dialer.
///
/// # Errors
/// [`ErrorKind::Internal`]: no identity can be generated.
pub(crate) fn dialer(config: &Config) -> Result<Dialer> {
    let dialer = Identity::generate().and_then(|identity| Dialer::new(&identity));
    let dialer = dialer.map_err(|error| Error::new(ErrorKind::Internal, error.to_string()))?;
    Ok(dialer.with_timeout(config.dial_timeout).with_transport(config.transport))
}
