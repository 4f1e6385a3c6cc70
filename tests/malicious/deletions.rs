//! Deletions of many objects and revocations of access grants under attack.

use uplink::{Access, ErrorKind, Permission, Project, SharePrefix};

use super::checks::{Checked, wrong_unless};
use super::world::{BUCKET, World, content};

/// Returns the keys of the objects that are deleted.
fn keys(name: &str) -> [String; 3] {
    [0, 1, 2].map(|number| format!("{name}/{number}"))
}

/// Stores the objects.
pub(crate) async fn prepare(world: &World, name: &str) {
    for key in keys(name) {
        world.put(BUCKET, &key, 1, &content(&key, 1, 100)).await;
    }
}

/// Deletes them. The first failed deletion is the error.
pub(crate) async fn perform(project: &Project, name: &str) -> Checked {
    let deletions = project.delete_objects(BUCKET, keys(name)).await?;
    let found: Vec<String> = deletions.iter().map(|deletion| deletion.key.to_string()).collect();
    for deletion in deletions {
        deletion.outcome?;
    }
    Ok(wrong_unless(found == keys(name), || format!("outcomes of {found:?}")))
}

/// Checks that the objects are deleted.
pub(crate) async fn verify(world: &World, name: &str) -> Option<String> {
    for key in keys(name) {
        if world.honest.stat_object(BUCKET, &key).await.is_ok() {
            return Some(format!("{key:?} is deleted, but still present"));
        }
    }
    None
}

/// Shares the objects of [`prepare`] with a grant that differs from all earlier ones.
pub(crate) fn share(world: &World, name: &str) -> Access {
    let prefix = SharePrefix::new(BUCKET, format!("{name}/"));
    world.honest_access.share(&Permission::read_only(), &[prefix]).expect("shared")
}

/// Revokes a shared access grant.
pub(crate) async fn revoke(project: &Project, shared: &Access) -> Checked {
    project.revoke_access(shared).await.map(|()| None)
}

/// Checks that a shared access grant is revoked.
pub(crate) async fn verify_revoked(shared: &Access, name: &str) -> Option<String> {
    let project = Project::open(shared).expect("a project");
    let denied = project.stat_object(BUCKET, format!("{name}/key")).await.expect_err("no object");
    wrong_unless(denied.kind() == ErrorKind::PermissionDenied, || {
        format!("revoked, but still valid: {denied}")
    })
}
