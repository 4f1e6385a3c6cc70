//! Memory of transfers: one budget, pools of buffers within it, and slabs behind the pools.

mod budget;
pub(crate) mod pool;
mod slab;

pub use self::budget::{Budget, Reservation};
