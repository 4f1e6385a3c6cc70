//! The API for threads: every asynchronous call as one that blocks until it is done.
//!
//! Needs the feature `blocking`. Types and functions are those of the crate's root, under the same names:
//! [`Project`] has the same operations, [`Upload`] is a [`std::io::Write`], [`Download`] a
//! [`std::io::Read`] and [`std::io::Seek`], and listings are iterators. Options and results are the
//! types of the crate's root. The asynchronous constructors of [`Access`](crate::Access) and
//! [`EncryptionKey`](crate::EncryptionKey) are functions in [`access`] and [`encryption_key`].
//!
//! ```no_run
//! use std::io::{Read, Write};
//!
//! use uplink::Access;
//! use uplink::blocking::Project;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let access = Access::parse(&std::env::var("UPLINK_ACCESS")?)?;
//! let project = Project::open(&access)?;
//! project.ensure_bucket("photos")?;
//!
//! let mut upload = project.upload_object("photos", "cat.jpg")?;
//! upload.write_all(b"a cat")?;
//! upload.commit()?;
//!
//! let mut text = String::new();
//! project.download_object("photos", "cat.jpg")?.read_to_string(&mut text)?;
//! for item in project.list_objects("photos")? {
//!     println!("{:?}", item?);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Threads
//!
//! Handles can be sent to other threads, and a [`Project`] used by many at once. Each call runs on the
//! thread that makes it. What runs in the background (transfers, connections) is on the threads of one
//! [`runtime`] per process, which the first call starts.
//!
//! A call works inside an asynchronous runtime as well. It blocks the thread there too, so the
//! asynchronous API, or the runtime's threads for blocking work, are the better choice.
//!
//! # Cancellation
//!
//! [`Project::close`] cancels the calls that wait on other threads. They, and all later calls of the
//! project and of its handles, fail with [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled). Dropping a
//! handle cancels its transfers.
//!
//! # Fork
//!
//! A process that was forked has none of its parent's threads. Handles that the parent opened fail with
//! [`ErrorKind::ProcessForked`](crate::ErrorKind::ProcessForked) there; a project that the new process
//! opens works, on a runtime of its own. Dropping an inherited handle leaks it, so that it waits for no
//! lock of a thread that does not exist, and leaves alone the connections that the parent still uses.

pub mod access;
mod bridge;
mod bucket;
mod download;
pub mod encryption_key;
mod multipart;
mod object;
mod one_shot;
mod project;
mod runtimes;
mod upload;
mod wait;

pub use self::bucket::BucketList;
pub use self::download::Download;
pub use self::multipart::{PartList, PartUpload, UploadList};
pub use self::object::ObjectList;
pub use self::project::Project;
pub use self::runtimes::runtime;
pub use self::upload::Upload;
