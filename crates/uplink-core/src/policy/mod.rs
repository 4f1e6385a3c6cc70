//! Transfer policies, separate from the code that performs transfers.
//!
//! Each module is a state machine without clock, socket or randomness: it takes events, with the
//! time where it matters, and returns actions. The asynchronous code around it only passes events in
//! and carries actions out.
//!
//! | module | decides |
//! |---|---|
//! | [`correction`] | how many pieces a download decodes from, and when it aborts |
//! | [`hedge`] | which pieces a download opens, and when to open another |
//! | [`memory`] | when an upload may take memory for its next segment |
//! | [`order_step`] | how many bytes the next order grants |
//! | [`pieces`] | which pieces an upload sends, how many concurrently, and when enough are stored |
//! | [`retry`] | how long to back off before the next attempt, and when to stop |
//! | [`subsets`] | which subsets of pieces a corrupt block is decoded from |
//! | [`suspicion`] | which pieces a download prefers |
//!
//! Times are durations since an origin chosen by the caller; they must be monotonic.

pub mod correction;
pub mod hedge;
pub mod memory;
pub mod order_step;
pub mod pieces;
pub mod retry;
pub mod subsets;
pub mod suspicion;
