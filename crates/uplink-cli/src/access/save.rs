//! Storing an access grant under a name.

use uplink::Access;

use crate::access_store::AccessName;
use crate::context::Context;
use crate::failure::{Exit, Failure, Outcome};

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
