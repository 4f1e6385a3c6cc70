//! Memory of transfers: one budget, buffer pools within it, and slabs that back the pools.

mod budget;
pub(crate) mod pool;
mod slab;

pub use self::budget::{Budget, Reservation};
