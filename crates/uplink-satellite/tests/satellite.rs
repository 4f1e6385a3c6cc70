//! Tests against running satellites, over their real ports.

#[path = "satellite/calls.rs"]
mod calls;
#[path = "satellite/network.rs"]
mod network;
