//! `uplink access`: access grants, made, stored, chosen and inspected.

use std::io::{IsTerminal, Read};

use clap::Subcommand;
use serde::Serialize;
use uplink::Access;
use uplink_core::secret::Secret;

use crate::Context;
use crate::access_store::{self, AccessName, Contents};
use crate::failure::{Exit, Failure, Outcome};

/// The commands on access grants, as typed.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Store an access grant under a name
    Import(Import),
    /// List the stored accesses
    List,
    /// Make a stored access the one that commands use when told nothing else
    Use {
        /// Name of a stored access
        name: String,
    },
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
        Command::Import(args) => import(args, context),
        Command::List => list(context),
        Command::Use { name } => choose(&name, context),
        Command::Remove { name } => remove(&name, context),
    }
}

fn import(args: Import, context: &Context) -> Outcome {
    let name = AccessName::parse(&args.name)?;
    let grant = match args.grant.filter(|grant| grant != "-") {
        Some(grant) => Secret::new(grant),
        None => read_secret("Access grant: ", MAX_GRANT_INPUT)?,
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

/// Reads a secret from standard input: one typed line without echo, or all of a pipe.
fn read_secret(prompt: &str, limit: u64) -> Outcome<Secret<String>> {
    let unreadable = |error: &std::io::Error| Failure::io("cannot read standard input", error);
    if std::io::stdin().is_terminal() {
        let typed = rpassword::prompt_password(prompt);
        return typed.map(Secret::new).map_err(|error| unreadable(&error));
    }
    let mut text = Secret::new(String::new());
    let input = std::io::stdin().lock();
    let read = input.take(limit + 1).read_to_string(text.expose_mut());
    match read.map_err(|error| unreadable(&error))? {
        count if count as u64 > limit => {
            Err(Failure::usage(format!("standard input holds more than {limit} bytes")))
        }
        _ => Ok(text),
    }
}

/// Bytes of standard input that may hold an access grant and white space around it.
const MAX_GRANT_INPUT: u64 = 128 << 10;
