//! Client for decentralized, end-to-end encrypted, erasure-coded object storage.
//!
//! An [`Access`] (API key, encryption keys, satellite address) opens a [`Project`]. The satellite
//! keeps encrypted object keys and the locations of pieces; storage nodes keep pieces. Bytes are encrypted
//! before they leave this process, and only authenticated bytes are returned.
//!
//! ```text
//!   upload    Project::upload_object ─ Upload ─ writer ─ satellite (begin) ─ segment upload
//!               ─ core erasure::Encoder ─ rpc piece::upload ─ socket ─ commit ─ satellite (commit)
//!   download  Project::download_object ─ Download ─ satellite ─ layout ─ segment download
//!               ─ rpc piece::download ─ core erasure::Decoder ─ core encryption::content
//! ```
//!
//! # Quick start
//!
//! ```no_run
//! # async fn example() -> uplink::Result<()> {
//! use uplink::{Access, Project};
//!
//! let grant = std::env::var("UPLINK_ACCESS").expect("UPLINK_ACCESS holds an access grant");
//! let access = Access::parse(&grant)?;
//! let project = Project::open(&access)?;
//! project.ensure_bucket("photos").await?;
//!
//! project.put("photos", "note.txt", "a short text").await?;
//! assert_eq!(project.get("photos", "note.txt").await?, "a short text");
//!
//! let mut upload = project.upload_object("photos", "cat.jpg")?;
//! upload.write(b"a cat").await?;
//! upload.commit().await?;
//!
//! let mut download = project.download_object("photos", "cat.jpg").await?;
//! while let Some(chunk) = download.chunk().await? {
//!     println!("{} bytes", chunk.len());
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Runtime
//!
//! Calls need a tokio runtime with IO and time enabled, and panic without one. With several threads a transfer seals, codes
//! and sends side by side, which a fast link needs. With one thread
//! (`tokio::runtime::Builder::new_current_thread`) its bytes stay in one core's cache and cost less
//! CPU time: `docs/PERFORMANCE.md` has figures of both.
//!
//! Programs without a runtime use the module `blocking`, which the feature of the same name adds: the
//! same operations as calls that block a thread.

//! # Cancellation
//!
//! Every future and handle may be dropped at any time; later operations on the same project work.
//! A change whose future is dropped (a deletion, a copy, a commit) has taken effect completely, or not
//! at all, or does so within the moment that its call is on its way: a query tells. The handles say what
//! becomes of their data.
//!
//! # Logs
//!
//! Transfers and calls are spans of [`tracing`] at level `debug`, with counters as its metrics layers
//! read them (`monotonic_counter.…`). They contain sizes, counts, node ids and error kinds: no bucket
//! name, object key or secret.

#![cfg_attr(not(test), warn(clippy::disallowed_methods))]
#![warn(clippy::exhaustive_enums, clippy::exhaustive_structs)]

mod access;
#[cfg(feature = "blocking")]
pub mod blocking;
mod bucket;
mod config;
mod download;
mod edge;
mod error;
pub mod grant;
mod layout;
mod location;
mod multipart;
mod object;
mod one_shot;
mod pages;
mod progress;
mod project;
mod satellite;
mod session;
mod upload;

pub use access::{
    Access, AccessOptions, AllowedPrefix, EncryptionKey, Permission, Restrictions, SharePrefix,
};
pub use bucket::{Bucket, BucketList, ListBucketsOptions};
pub use config::Config;
pub use download::{Download, DownloadOptions};
pub use edge::{EdgeConfig, EdgeCredentials, PUBLIC_AUTH_SERVICE, join_share_url};
pub use error::{Error, ErrorKind, Result};
pub use layout::Authenticity;
pub use multipart::{
    BeginUploadOptions, CommitUploadOptions, ListPartsOptions, ListUploadsOptions, MAX_PART_NUMBER,
    Part, PartList, PartReceipt, PartUpload, PendingUpload, UploadItem, UploadList,
};
pub use object::{CopyOptions, Deletion, ListItem, ListOptions, Object, ObjectKey, ObjectList};
pub use project::Project;
pub use uplink_core::id::NodeId;
pub use uplink_core::secret::Secret;
pub use uplink_rpc::dial::Transport;
pub use upload::{Holder, Placement, Upload, UploadOptions, Uploaded};

/// The README's code compiles as it stands.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
