//! Recorded traffic of the public network, read with this crate's types.
//!
//! `rpc-transcripts.json` holds what the reference client, a reference satellite and five reference
//! storage nodes said to each other: 188 scenarios in three sets, each set with a project of its
//! own. `plain` and `noise` sent plain batches, `compressed` compressed ones; in `noise` the pieces
//! travelled over another transport, with the same messages.
//!
//! | what must hold | test |
//! |---|---|
//! | every message decodes, and encodes to an equal message | `codec` |
//! | every signature verifies under the key of its signer | `signature` |
//! | every name opens with the project's grant, to a name that the scenario used | `name` |
//! | all metadata opens, to what the scenario set | `metadata` |
//! | every segment, inline or in pieces, is what the plaintext gives under its key | `content` |
//!
//! The recording has taken the bytes of pieces out of the messages and kept their hashes. `content`
//! makes the pieces anew, so that also those messages are compared whole.

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
