//! Decisions of transfers, apart from the transfers.
//!
//! Each module is a state machine without clock, socket or randomness: it takes what happened, with
//! the time where that matters, and answers what to do. The asynchronous code around it carries
//! events in and actions out, and decides nothing.
//!
//! | module | decides |
//! |---|---|
//! | [`correction`] | how many pieces a download decodes from, and when it gives up |
//! | [`hedge`] | which pieces a download opens, and when another |
//! | [`long_tail`] | when an upload has stored enough pieces |
//! | [`order_step`] | how many bytes the next order grants |
//! | [`pieces`] | which piece an upload sends next, and when it asks for other nodes |
//! | [`retry`] | how long to wait before the next attempt, and when to stop |
//! | [`spare`] | when an upload sends spare pieces |
//! | [`subsets`] | which subsets of pieces a corrupt block is decoded from |
//! | [`suspicion`] | which pieces a download prefers |
//!
//! Times are durations since one origin of the caller's choice that never runs backwards.

pub mod correction;
pub mod hedge;
pub mod long_tail;
pub mod order_step;
pub mod pieces;
pub mod retry;
pub mod spare;
pub mod subsets;
pub mod suspicion;
