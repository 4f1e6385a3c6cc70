//! `uplink access request`: creates an access grant from an API key and a passphrase.

use std::io::{self, IsTerminal};

use uplink::{Access, AccessOptions, Secret};

use super::save::{NewAccess, require_unused};
use crate::access_store::AccessName;
use crate::args::access::Request;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::secret_input;

/// Runs the command.
pub(crate) async fn run(args: Request, context: &Context) -> Outcome {
    let name = args.name.as_deref().map(AccessName::parse).transpose()?;
    if let Some(name) = name.as_ref().filter(|_| !args.force) {
        require_unused(name, context)?;
    }
    let passphrase = read_passphrase(args.passphrase_stdin).await?;
    let options = AccessOptions::new().config(context.config.clone());
    let api_key = args.api_key.trim();
    let access =
        Access::request_with(&args.satellite, api_key, passphrase.expose(), &options).await?;
    NewAccess { access: &access, name: name.as_ref(), replace: args.force }.save_or_print(context)
}

async fn read_passphrase(allow_pipe: bool) -> Outcome<Secret<String>> {
    let is_terminal = io::stdin().is_terminal();
    if !is_terminal && !allow_pipe {
        return Err(Failure::usage(
            "cannot prompt for a passphrase: standard input is not a terminal; use \
             --passphrase-stdin to read it from a pipe",
        ));
    }
    let mut passphrase = secret_input::read("Passphrase: ", MAX_PASSPHRASE_SIZE).await?;
    let end = without_line_breaks(passphrase.expose()).len();
    passphrase.expose_mut().truncate(end);
    if passphrase.expose().is_empty() {
        return Err(Failure::usage("passphrase is empty"));
    }
    if is_terminal {
        let repeated = secret_input::read("Repeat passphrase: ", MAX_PASSPHRASE_SIZE).await?;
        if without_line_breaks(repeated.expose()).as_bytes() != passphrase.expose().as_bytes() {
            return Err(Failure::usage("passphrases do not match"));
        }
    }
    Ok(passphrase)
}

fn without_line_breaks(text: &str) -> &str {
    text.trim_end_matches(['\r', '\n'])
}

/// Maximum size of a passphrase in bytes.
const MAX_PASSPHRASE_SIZE: u64 = 64 << 10;
