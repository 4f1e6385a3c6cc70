//! Objects.

pub(crate) mod attributes;
mod copy;
mod delete;
mod delete_many;
mod key;
pub(crate) mod list;
mod metadata;
pub(crate) mod missing;
mod stat;
#[cfg(test)]
mod tests;

pub use self::attributes::Object;
pub(crate) use self::attributes::{check_custom_metadata, open};
pub use self::copy::CopyOptions;
pub use self::delete_many::Deletion;
pub use self::key::ObjectKey;
pub use self::list::{ListItem, ListOptions, ObjectList};
