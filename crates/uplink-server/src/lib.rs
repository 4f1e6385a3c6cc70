//! What the servers of the network share.
//!
//! ```text
//!   satellite, storage node
//!        │
//!        ├─ clock     wall time and steady time, injected
//!        ├─ config    file < environment < flags; unknown keys are errors
//!        ├─ units     sizes and durations as text
//!        ├─ workers   background loops with a visible state
//!        ├─ service   listening port and workers, stopped together
//!        └─ signal    signals that request a graceful stop
//! ```

#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

mod clock;
pub mod config;
mod service;
mod signal;
pub mod units;
pub mod workers;

pub use clock::Clock;
pub use service::Service;
pub use signal::StopSignal;
