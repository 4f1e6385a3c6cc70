//! `uplink share`: makes a narrower access grant, offline.

use std::time::SystemTime;

use uplink::{Permission, SharePrefix};

use super::save::{NewAccess, require_unused};
use crate::access_store::AccessName;
use crate::args::expiry;
use crate::args::location::Url;
use crate::args::share::{Operations, Share};
use crate::context::Context;
use crate::failure::{Failure, Outcome};

/// Runs the command.
pub(crate) fn run(args: &Share, context: &Context) -> Outcome {
    let name = args.name.as_deref().map(AccessName::parse).transpose()?;
    if let Some(name) = name.as_ref().filter(|_| !args.force) {
        require_unused(name, context)?;
    }
    let permission = permission(args, SystemTime::now())?;
    let prefixes = args.urls.iter().map(|url| {
        let url = Url::parse(url)?;
        Ok(SharePrefix::new(url.bucket, url.key))
    });
    let prefixes = prefixes.collect::<Outcome<Vec<_>>>()?;
    let access = context.store.access(args.access.access.as_deref())?;
    if let Some(name) = &name
        && context.store.holds(name, &access)?
    {
        return Err(Failure::usage(format!(
            "the shared access grant would replace the one that it is shared from, {:?}: choose \
             another name",
            name.as_str()
        )));
    }
    let shared = access.share(&permission, &prefixes)?;
    NewAccess { access: &shared, name: name.as_ref(), replace: args.force }.save_or_print(context)
}

fn permission(args: &Share, now: SystemTime) -> Outcome<Permission> {
    let mut permission = operations(&args.operations);
    if let Some(text) = &args.not_before {
        permission = permission.not_before(expiry::parse_time("--not-before", text, now)?);
    }
    if let Some(text) = &args.not_after {
        permission = permission.not_after(expiry::parse_future("--not-after", text, now)?);
    }
    if let Some(text) = &args.max_object_ttl {
        permission = permission.max_object_ttl(expiry::parse_lifetime("--max-object-ttl", text)?);
    }
    Ok(permission)
}

fn operations(selected: &Operations) -> Permission {
    let choices = [
        (selected.readonly, Permission::read_only()),
        (selected.writeonly, Permission::write_only()),
        (selected.list_only, Permission::new().list(true)),
        (selected.upload_only, Permission::new().upload(true)),
        (selected.full, Permission::full()),
    ];
    let selected = choices.into_iter().find(|(is_selected, _)| *is_selected);
    selected.map_or_else(Permission::read_only, |(_, permission)| permission)
}
