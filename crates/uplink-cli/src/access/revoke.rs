//! `uplink access revoke`: makes the satellite reject a shared access grant.

use crate::args::access::Revoke;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::{grant_text, secret_input};

/// Runs the command.
pub(crate) async fn run(args: Revoke, context: &Context) -> Outcome {
    let shared = match args.shared.trim() {
        // An empty variable must not revoke the current access.
        "" => return Err(Failure::usage("the access grant to revoke is empty")),
        "-" => grant_text::parse(secret_input::read_grant().await?.expose())?,
        selection => context.store.access(Some(selection))?,
    };
    let access = context.store.access(args.access.access.as_deref())?;
    if access == shared {
        return Err(Failure::usage(
            "an access grant cannot revoke itself: select the one that it was shared from with \
             --access",
        ));
    }
    uplink::Project::open_with(&access, &context.config)?.revoke_access(&shared).await?;
    context.out.line(
        "Revoked the access grant and all that were shared from it. It may work for some minutes more.",
    )
}
