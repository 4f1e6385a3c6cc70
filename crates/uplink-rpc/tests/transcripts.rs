//! Recorded traffic of the public network, read with this crate's types.
//!
//! `rpc-transcripts.json` holds the traffic of the reference client, a reference satellite and five
//! reference storage nodes: 188 scenarios in three sets, each with its own project. `plain` and
//! `noise` sent plain batches, `compressed` compressed ones. In `noise`, pieces used another transport
//! with the same messages.
//!
//! | requirement | test |
//! |---|---|
//! | every message decodes, and re-encodes to an equal message | `codec` |
//! | every signature verifies under the key of its signer | `signature` |
//! | every name decrypts with the project's grant to a name that the scenario used | `name` |
//! | all metadata decrypts to what the scenario set | `metadata` |
//! | every segment, inline or in pieces, equals its encrypted plaintext | `content` |
//!
//! The recording replaces the bytes of pieces in messages with their hashes. `content` encodes the
//! pieces again, so that those messages are compared completely too.

mod transcripts {
    mod codec;
    mod content;
    mod message;
    mod metadata;
    mod name;
    mod project;
    mod recording;
    mod signature;
}
