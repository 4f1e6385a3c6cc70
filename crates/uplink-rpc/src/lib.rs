//! Messages, transports, peer identity and the piece client of uplink.
//!
//! ```text
//!   client, satellite, storage node
//!        │ typed calls                            serves typed calls ▲
//!        ▼                                                           │
//!   client (metainfo, contact, piecestore)              gen (service traits)
//!        │                                                           │
//!   pool ── channel ─┬─ gRPC, of tonic ─┐         ┌─ gRPC, of tonic ─┬─ server
//!                    └─ drpc, client ───┤         ├─ drpc, server ───┘
//!                                dial ── tls ═══ tls ── one TCP port
//! ```
//!
//! Both transports carry the same calls. The handshake decides which one a connection speaks: gRPC
//! between peers of this project, DRPC with peers of the public network.
//!
//! | module | what it holds |
//! |---|---|
//! | [`gen`](mod@gen) | messages and services of `proto/`, generated |
//! | [`raw`] | signed messages whose received bytes survive |
//! | [`tls`] | identities: certificates whose owner is a node id |
//! | [`dial`], [`pool`] | address → authenticated connection within a deadline; connections kept |
//! | [`channel`] | calls to one peer, over whichever transport it speaks |
//! | [`drpc`] | the public network's transport, both sides |
//! | [`codec`] | decoding of messages whose size in memory is bounded first |
//! | [`client`] | generated clients with the network's message limits |
//! | [`runtime`] | the seam to randomness and to threads for computation |
//! | [`server`] | one listening port for all services of a process |
//! | [`descriptors`] | what the open files of a process are shared out for |
//! | [`status`] | status codes ↔ typed failures |
//! | [`peer`] | who is at the other end of a connection |
//! | [`piece`] | one piece up, one piece down |

pub mod channel;
pub mod client;
pub mod codec;
pub mod descriptors;
pub mod dial;
pub mod drpc;
#[path = "gen/mod.rs"]
pub mod r#gen;
pub mod peer;
pub mod piece;
pub mod pool;
pub mod raw;
pub mod runtime;
pub mod server;
pub mod status;
pub mod time;
pub mod tls;
