//! Storing an access grant under a name, or printing it.

use serde::Serialize;
use uplink::{Access, Secret};

use crate::access_store::AccessName;
use crate::context::Context;
use crate::failure::{Exit, Failure, Outcome};

/// An access grant that a command has created.
pub(super) struct NewAccess<'a> {
    pub(super) access: &'a Access,
    /// The name to store it under; printed without one.
    pub(super) name: Option<&'a AccessName>,
    /// Whether another one of this name is replaced.
    pub(super) replace: bool,
}

/// An access grant as JSON.
#[derive(Serialize)]
struct Report<'a> {
    access: &'a str,
}

impl NewAccess<'_> {
    /// Stores the grant under its name, or prints it. A stored one is not printed: it is a secret.
    pub(super) fn save_or_print(&self, context: &Context) -> Outcome {
        if let Some(name) = self.name {
            return save(name, self.access, self.replace, context);
        }
        let text = Secret::new(self.access.serialize()?);
        context.out.object(&Report { access: text.expose() })?;
        context.out.line(text.expose())
    }
}

/// Stores a grant. Fails if the name is taken and `replace` is not set.
pub(super) fn save(
    name: &AccessName,
    access: &Access,
    replace: bool,
    context: &Context,
) -> Outcome {
    if !replace {
        require_unused(name, context)?;
    }
    context.store.put(name, access, false)?;
    let is_current = context.store.read()?.current.as_deref() == Some(name.as_str());
    let suffix = if is_current { " and made it current" } else { "" };
    context.out.line(format_args!("Stored access {:?}{suffix}.", name.as_str()))
}

/// Fails if an access of this name is stored.
pub(super) fn require_unused(name: &AccessName, context: &Context) -> Outcome {
    if context.store.read()?.accesses.contains_key(name.as_str()) {
        let text = format!("access {:?} already exists; use --force to replace it", name.as_str());
        return Err(Failure::new(Exit::Conflict, text));
    }
    Ok(())
}
