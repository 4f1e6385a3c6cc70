//! Messages, transports, peer identity and the piece client of uplink.
//!
//! ```text
//!   client, satellite, storage node
//!        │ typed calls        │ pieces                serves typed calls ▲      pieces ▲
//!        ▼                    ▼                                          │             │
//!   client (metainfo, …)    piece                  gen (service traits)       piece::serve
//!        │                    │                                          │             │
//!        ├────────────────────┘                                          ├─────────────┘
//!   pool ── channel ─┬─ gRPC, of tonic ─┐         ┌─ gRPC, of tonic ─┬─ server
//!                    └─ drpc, client ───┤         ├─ drpc, server ───┘
//!                                dial ── tls ═══ tls ── one TCP port
//! ```
//!
//! Both transports carry the same calls. The handshake selects the transport of a connection: gRPC
//! between peers of this project, DRPC with peers of the public network.
//!
//! | module | content |
//! |---|---|
//! | [`gen`](mod@gen) | generated messages and services of `proto/` |
//! | [`raw`] | signed messages that keep their received bytes |
//! | [`tls`] | identities: certificate chains that prove a node id |
//! | [`dial`], [`pool`] | address → authenticated connection within a timeout; connection reuse |
//! | [`channel`] | calls to one peer over the transport that it selects |
//! | [`drpc`] | the public network's transport, both sides |
//! | [`codec`] | decoding with a bound on the memory that a message takes |
//! | [`client`] | generated clients with the network's message limits |
//! | [`runtime`] | the seam to the wall clock, tasks, threads and randomness |
//! | [`server`] | one listening port for all services of a process |
//! | [`descriptors`] | the file descriptor budget of a process |
//! | [`status`] | status codes ↔ typed failures |
//! | [`time`] | timestamps on the wire, clock skew and clock steps |
//! | [`peer`] | the other end of a connection |
//! | [`piece`] | upload and download of one piece |
//! | [`edge`] | calls to the authentication service of edge services |

#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

mod bytes_queue;
pub mod channel;
pub mod client;
pub mod codec;
pub mod descriptors;
pub mod dial;
pub mod drpc;
pub mod edge;
#[path = "gen/mod.rs"]
pub mod r#gen;
pub mod peer;
pub mod piece;
pub mod pool;
pub mod raw;
mod redacted;
pub mod runtime;
pub mod server;
pub mod status;
pub mod time;
pub mod tls;
