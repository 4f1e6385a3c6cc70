//! `uplink access request`: an access grant from an API key and a passphrase.

use std::io::IsTerminal;

use serde::Serialize;
use uplink::{Access, Config};
use uplink_core::secret::Secret;

use super::{store, vacant};
use crate::Context;
use crate::access_store::AccessName;
use crate::failure::{Failure, Outcome};
use crate::secret_input;

#[derive(clap::Args)]
pub(crate) struct Request {
    /// The satellite's address, NODEID@HOST:PORT
    #[arg(long, value_name = "ADDRESS", env = "UPLINK_SATELLITE")]
    satellite: String,
    /// The API key, as the satellite gave it out
    #[arg(long, value_name = "KEY", env = "UPLINK_API_KEY", hide_env_values = true)]
    api_key: String,
    /// Read the passphrase from standard input; line breaks at its end do not count
    #[arg(long)]
    passphrase_stdin: bool,
    /// Store the access grant under this name instead of printing it
    #[arg(long)]
    name: Option<String>,
    /// Replace an access of this name
    #[arg(long, requires = "name")]
    force: bool,
}

/// The result for scripts.
#[derive(Serialize)]
struct Requested<'a> {
    access: &'a str,
}

/// Runs the command.
pub(crate) async fn run(args: Request, context: &Context) -> Outcome {
    let name = args.name.as_deref().map(AccessName::parse).transpose()?;
    if let Some(name) = name.as_ref().filter(|_| !args.force) {
        vacant(&context.store.read()?, name)?;
    }
    let passphrase = passphrase(args.passphrase_stdin).await?;
    let access = Access::request_with_passphrase(
        &args.satellite,
        args.api_key.trim(),
        passphrase.expose(),
        &Config::new(),
    )
    .await?;
    let text = Secret::new(access.serialize()?);
    context.out.object(&Requested { access: text.expose() })?;
    match name {
        Some(name) => store(&name, &access, args.force, context),
        None => context.out.line(text.expose()),
    }
}

async fn passphrase(from_pipe: bool) -> Outcome<Secret<String>> {
    let terminal = std::io::stdin().is_terminal();
    if !terminal && !from_pipe {
        return Err(Failure::usage(
            "there is no terminal to ask for a passphrase; pipe it in with --passphrase-stdin",
        ));
    }
    let mut passphrase = secret_input::read("Passphrase: ", MAX_PASSPHRASE).await?;
    let end = passphrase.expose().trim_end_matches(['\r', '\n']).len();
    passphrase.expose_mut().truncate(end);
    if passphrase.expose().is_empty() {
        return Err(Failure::usage("the passphrase is empty"));
    }
    if terminal {
        let again = secret_input::read("The same again: ", MAX_PASSPHRASE).await?;
        if again.expose().trim_end_matches(['\r', '\n']).as_bytes()
            != passphrase.expose().as_bytes()
        {
            return Err(Failure::usage("the two passphrases differ"));
        }
    }
    Ok(passphrase)
}

/// Bytes of the longest passphrase that is read.
const MAX_PASSPHRASE: u64 = 64 << 10;
