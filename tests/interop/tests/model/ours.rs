//! Our client as an executor of operations.

use std::collections::BTreeMap;
use std::time::SystemTime;

use uplink::{Access, Config, Error, PartReceipt, Project, Transport};

use super::grant::Grant;
use super::operation::{Operation, SEGMENT, Step};
use super::outcome::Outcome;
use super::slots::Slots;

mod buckets;
mod multipart;
mod objects;

/// One client of ours with all grants.
pub(crate) struct Ours {
    projects: BTreeMap<Grant, Project>,
    slots: Slots,
    /// Receipts of the parts of each upload, by upload id.
    receipts: BTreeMap<String, BTreeMap<u32, PartReceipt>>,
}

/// What an operation of our client returns.
type Result<T = Outcome> = std::result::Result<T, Error>;

/// A grant to use and the time of the network.
struct Call<'a> {
    project: &'a Project,
    grant: Grant,
    now: SystemTime,
}

/// Opens a grant.
pub(crate) fn open(access: &Access, transport: Transport) -> Project {
    let config = Config::new().segment_size(SEGMENT).transport(transport);
    Project::open_with(access, &config).expect("a project")
}

impl Ours {
    pub(crate) fn new(root: &Access, transport: Transport) -> Self {
        let grants = Grant::ALL.into_iter();
        let projects = grants.map(|grant| (grant, open(&grant.share(root), transport)));
        Self { projects: projects.collect(), slots: Slots::default(), receipts: BTreeMap::new() }
    }

    pub(crate) fn slots(&self) -> &Slots {
        &self.slots
    }

    /// Runs an operation at a time of the network.
    pub(crate) async fn run(&mut self, step: &Step, now: SystemTime) -> Outcome {
        if self.slots.skips(step) {
            return Outcome::Done;
        }
        let project = self.projects[&step.grant].clone();
        let call = Call { project: &project, grant: step.grant, now };
        let outcome = match &step.operation {
            Operation::AbortUpload { .. }
            | Operation::BeginUpload { .. }
            | Operation::CommitUpload { .. }
            | Operation::ListParts { .. }
            | Operation::ListUploads { .. }
            | Operation::UploadPart { .. }
            | Operation::UploadPartAborted { .. } => {
                Box::pin(self.pending(&call, &step.operation)).await
            }
            Operation::CreateBucket { .. }
            | Operation::DeleteBucket { .. }
            | Operation::EnsureBucket { .. }
            | Operation::ListBuckets { .. }
            | Operation::StatBucket { .. } => Box::pin(call.bucket(&step.operation)).await,
            operation => Box::pin(call.object(operation)).await,
        };
        outcome.unwrap_or_else(|error| Outcome::failed(Some(error.kind()), format!("{error}")))
    }
}
