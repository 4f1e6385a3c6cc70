//! Running a sequence up to the first step whose outcomes differ.

use futures_util::TryStreamExt;
use uplink::{ErrorKind, ListUploadsOptions, Project, UploadItem};

use super::differences;
use super::operation::{Operation, STEP_OF_CLOCK, Step};
use super::parties::{Outcomes, Parties, Services};

/// A step whose outcomes differ.
#[derive(Debug)]
pub(crate) struct Mismatch {
    /// Its index in the sequence.
    pub(crate) index: usize,
    pub(crate) outcomes: Outcomes,
}

/// Runs a sequence in new projects.
///
/// # Errors
/// The first mismatch that is not a documented difference.
pub(crate) async fn run(services: &Services, name: &str, steps: &[Step]) -> Result<(), Mismatch> {
    let mut parties = Parties::new(services, name).await;
    for (index, step) in steps.iter().enumerate() {
        if matches!(step.operation, Operation::AdvanceClock) {
            services.clock.advance(STEP_OF_CLOCK);
        }
        let outcomes = parties.run(step, &services.clock).await;
        if !differences::agree(step, &outcomes, &parties.owners).await {
            return Err(Mismatch { index, outcomes });
        }
        if step.operation.may_leave_pending() {
            abort_unknown(&parties, step).await;
        }
    }
    Ok(())
}

/// Aborts pending uploads that no step began: those of failed and aborted uploads of whole objects.
///
/// Clients abort these by best effort, some after they have returned, and some grants do not permit it.
async fn abort_unknown(parties: &Parties, step: &Step) {
    for bucket in step.operation.buckets() {
        for (index, owner) in parties.owners.iter().enumerate() {
            for (key, id) in pending(owner, bucket).await {
                if parties.upload_number(index, &id).is_none() {
                    abort(owner, bucket, &key, &id).await;
                }
            }
        }
    }
}

async fn pending(owner: &Project, bucket: &str) -> Vec<(Vec<u8>, String)> {
    let options = ListUploadsOptions::new().recursive(true);
    let Ok(mut list) = owner.list_uploads_with(bucket, &options) else { return Vec::new() };
    let mut pending = Vec::new();
    loop {
        match list.try_next().await {
            Ok(None) => return pending,
            Ok(Some(UploadItem::Upload(upload))) => {
                pending.push((upload.key.into_bytes(), upload.upload_id));
            }
            Ok(Some(other)) => panic!("{other:?} in {bucket}"),
            // The bucket does not exist, or its name is invalid.
            Err(_) => return pending,
        }
    }
}

async fn abort(owner: &Project, bucket: &str, key: &[u8], id: &str) {
    match owner.abort_upload(bucket, key, id).await {
        // The client has aborted it meanwhile.
        Err(error) if error.kind() == ErrorKind::ObjectNotFound => {}
        aborted => aborted.expect("aborted"),
    }
}
