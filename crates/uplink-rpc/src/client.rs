//! Generated clients with the network's message limits set.

use crate::channel::Channel;
use crate::r#gen::contact::contact_client::ContactClient;
use crate::r#gen::contact::node_client::NodeClient;
use crate::r#gen::metainfo::metainfo_client::MetainfoClient;
use crate::r#gen::orders::orders_client::OrdersClient;
use crate::r#gen::piecestore::piecestore_client::PiecestoreClient;

/// Most bytes of one message in either direction.
pub const MESSAGE_LIMIT: usize = 4 << 20;

/// Calls of the satellite's metadata service.
#[must_use]
pub fn metainfo(channel: Channel) -> MetainfoClient<Channel> {
    MetainfoClient::new(channel)
        .max_decoding_message_size(MESSAGE_LIMIT)
        .max_encoding_message_size(MESSAGE_LIMIT)
}

/// Calls of a storage node's piece store.
#[must_use]
pub fn piecestore(channel: Channel) -> PiecestoreClient<Channel> {
    PiecestoreClient::new(channel)
        .max_decoding_message_size(MESSAGE_LIMIT)
        .max_encoding_message_size(MESSAGE_LIMIT)
}

/// Calls of a storage node's contact service, made by satellites.
#[must_use]
pub fn contact(channel: Channel) -> ContactClient<Channel> {
    ContactClient::new(channel)
        .max_decoding_message_size(MESSAGE_LIMIT)
        .max_encoding_message_size(MESSAGE_LIMIT)
}

/// Calls of a satellite's contact service, made by storage nodes.
#[must_use]
pub fn node(channel: Channel) -> NodeClient<Channel> {
    NodeClient::new(channel)
        .max_decoding_message_size(MESSAGE_LIMIT)
        .max_encoding_message_size(MESSAGE_LIMIT)
}

/// Calls of a satellite's settlement service, made by storage nodes.
#[must_use]
pub fn orders(channel: Channel) -> OrdersClient<Channel> {
    OrdersClient::new(channel)
        .max_decoding_message_size(MESSAGE_LIMIT)
        .max_encoding_message_size(MESSAGE_LIMIT)
}
