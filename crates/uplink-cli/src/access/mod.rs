//! `uplink access` and `uplink share`: create, store, select, inspect, narrow and revoke access grants.

mod inspect;
mod request;
mod revoke;
mod save;
pub(crate) mod share;

use serde::Serialize;
use uplink::{Access, Secret};

use self::save::save;
use crate::access_store::{self, AccessName};
use crate::args::access::{AccessCommand, Import};
use crate::context::Context;
use crate::failure::Outcome;
use crate::{grant_text, secret_input};

/// Runs a subcommand.
pub(crate) async fn run(command: AccessCommand, context: &Context) -> Outcome {
    match command {
        AccessCommand::Request(args) => request::run(args, context).await,
        AccessCommand::Import(args) => import(args, context).await,
        AccessCommand::List => list(context),
        AccessCommand::Use { name } => make_current(&name, context),
        AccessCommand::Inspect(args) => inspect::run(&args, context).await,
        AccessCommand::Revoke(args) => revoke::run(args, context).await,
        AccessCommand::Remove { name } => remove(&name, context),
    }
}

async fn import(args: Import, context: &Context) -> Outcome {
    let name = AccessName::parse(&args.name)?;
    let grant = match args.grant.filter(|grant| grant != "-") {
        Some(grant) => Secret::new(grant),
        None => secret_input::read_grant().await?,
    };
    let access = grant_text::parse(grant.expose())?;
    save(&name, &access, args.force, context)
}

/// A stored access as JSON.
#[derive(Serialize)]
struct StoredAccess<'a> {
    name: &'a str,
    satellite: &'a str,
    current: bool,
}

fn list(context: &Context) -> Outcome {
    let contents = context.store.read()?;
    let width = contents.accesses.keys().map(String::len).max().unwrap_or_default();
    for (name, grant) in &contents.accesses {
        let satellite = Access::parse(grant)
            .map_or_else(|_| "(malformed)".to_owned(), |access| access.satellite_address());
        let current = contents.current.as_ref() == Some(name);
        context.out.object(&StoredAccess { name, satellite: &satellite, current })?;
        let mark = if current { "*" } else { " " };
        let satellite = context.out.dim(&satellite);
        context.out.line(format_args!("{mark} {name:width$}  {satellite}"))?;
    }
    if contents.accesses.is_empty() {
        context.out.note("No stored accesses.");
    }
    Ok(())
}

fn make_current(name: &str, context: &Context) -> Outcome {
    context.store.update(|contents| {
        if !contents.accesses.contains_key(name) {
            return Err(access_store::not_found(name));
        }
        contents.current = Some(name.to_owned());
        Ok(())
    })?;
    context.out.line(format_args!("Access {name:?} is now current."))
}

fn remove(name: &str, context: &Context) -> Outcome {
    context.store.update(|contents| {
        if contents.accesses.remove(name).is_none() {
            return Err(access_store::not_found(name));
        }
        if contents.current.as_deref() == Some(name) {
            contents.current = None;
        }
        Ok(())
    })?;
    context.out.line(format_args!("Removed access {name:?}."))
}
