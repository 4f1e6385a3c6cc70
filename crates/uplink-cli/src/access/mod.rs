//! `uplink access`: access grants, made, stored, chosen and inspected.

mod inspect;
mod request;

use clap::Subcommand;
use serde::Serialize;
use uplink::Access;
use uplink_core::secret::Secret;

use crate::Context;
use crate::access_store::{self, AccessName, Contents};
use crate::failure::{Exit, Failure, Outcome};
use crate::secret_input;

/// The commands on access grants, as typed.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Make an access grant from an API key and a passphrase
    ///
    /// The passphrase is the key to all data. It never leaves this computer, and nobody can
    /// recover it. Another passphrase opens another, empty view of the same project.
    Request(request::Request),
    /// Store an access grant under a name
    Import(Import),
    /// List the stored accesses
    List,
    /// Make a stored access the one that commands use when told nothing else
    Use {
        /// Name of a stored access
        name: String,
    },
    /// Show what an access grant holds and allows
    Inspect(inspect::Inspect),
    /// Remove a stored access; the grant itself stays valid
    Remove {
        /// Name of a stored access
        name: String,
    },
}

impl std::fmt::Debug for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("access::Command").finish_non_exhaustive()
    }
}

#[derive(clap::Args)]
pub(crate) struct Import {
    /// Name to store it under
    name: String,
    /// The access grant; `-` or nothing reads it from standard input, out of sight of others
    grant: Option<String>,
    /// Replace an access of this name
    #[arg(long)]
    force: bool,
}

/// Runs one of the commands.
pub(crate) async fn run(command: Command, context: &Context) -> Outcome {
    match command {
        Command::Request(args) => request::run(args, context).await,
        Command::Import(args) => import(args, context).await,
        Command::List => list(context),
        Command::Use { name } => choose(&name, context),
        Command::Inspect(args) => inspect::run(&args, context).await,
        Command::Remove { name } => remove(&name, context),
    }
}

async fn import(args: Import, context: &Context) -> Outcome {
    let name = AccessName::parse(&args.name)?;
    let grant = match args.grant.filter(|grant| grant != "-") {
        Some(grant) => Secret::new(grant),
        None => secret_input::read("Access grant: ", MAX_GRANT_INPUT).await?,
    };
    let access = Access::parse(grant.expose().trim())?;
    store(&name, &access, args.force, context)
}

/// Stores a grant under a name that is free, unless it may be replaced.
fn store(name: &AccessName, access: &Access, replace: bool, context: &Context) -> Outcome {
    if !replace {
        vacant(&context.store.read()?, name)?;
    }
    context.store.put(name, access, false)?;
    let is_current = context.store.read()?.current.as_deref() == Some(name.as_str());
    let suffix = if is_current { " and used from now on" } else { "" };
    context.out.line(format_args!("Access {:?} is stored{suffix}.", name.as_str()))
}

/// Refuses a name that is taken.
fn vacant(contents: &Contents, name: &AccessName) -> Outcome {
    if contents.accesses.contains_key(name.as_str()) {
        let text =
            format!("an access named {:?} is stored already; --force replaces it", name.as_str());
        return Err(Failure::new(Exit::Conflict, text));
    }
    Ok(())
}

/// One stored access for scripts.
#[derive(Serialize)]
struct Listed<'a> {
    name: &'a str,
    satellite: &'a str,
    current: bool,
}

fn list(context: &Context) -> Outcome {
    let contents = context.store.read()?;
    let width = contents.accesses.keys().map(String::len).max().unwrap_or_default();
    for (name, grant) in &contents.accesses {
        let satellite = Access::parse(grant).map(|access| access.satellite_address());
        let satellite = satellite.unwrap_or_else(|_| "(unreadable)".to_owned());
        let current = contents.current.as_ref() == Some(name);
        context.out.object(&Listed { name, satellite: &satellite, current })?;
        let mark = if current { "*" } else { " " };
        let satellite = context.out.dim(&satellite);
        context.out.line(format_args!("{mark} {name:width$}  {satellite}"))?;
    }
    if contents.accesses.is_empty() {
        context.out.note("No accesses are stored.");
    }
    Ok(())
}

fn choose(name: &str, context: &Context) -> Outcome {
    context.store.update(|contents| {
        if !contents.accesses.contains_key(name) {
            return Err(access_store::missing(name));
        }
        contents.current = Some(name.to_owned());
        Ok(())
    })?;
    context.out.line(format_args!("Access {name:?} is used from now on."))
}

fn remove(name: &str, context: &Context) -> Outcome {
    context.store.update(|contents| {
        if contents.accesses.remove(name).is_none() {
            return Err(access_store::missing(name));
        }
        if contents.current.as_deref() == Some(name) {
            contents.current = None;
        }
        Ok(())
    })?;
    context.out.line(format_args!("Access {name:?} is removed."))
}

/// Bytes of standard input that may hold an access grant and white space around it.
const MAX_GRANT_INPUT: u64 = 128 << 10;
