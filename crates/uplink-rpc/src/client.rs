//! Generated clients with the network's message size limits.

use crate::channel::Channel;
use crate::codec::MESSAGE_LIMIT;
use crate::r#gen::contact::contact_client::ContactClient;
use crate::r#gen::contact::node_client::NodeClient;
use crate::r#gen::metainfo::metainfo_client::MetainfoClient;
use crate::r#gen::orders::orders_client::OrdersClient;
use crate::r#gen::piecestore::piecestore_client::PiecestoreClient;

/// Returns a client of a satellite's metadata service.
#[must_use]
pub fn metainfo(channel: Channel) -> MetainfoClient<Channel> {
    MetainfoClient::new(channel)
        .max_decoding_message_size(MESSAGE_LIMIT)
        .max_encoding_message_size(MESSAGE_LIMIT)
}

/// Returns a client of a storage node's piece store.
#[must_use]
pub fn piecestore(channel: Channel) -> PiecestoreClient<Channel> {
    PiecestoreClient::new(channel)
        .max_decoding_message_size(MESSAGE_LIMIT)
        .max_encoding_message_size(MESSAGE_LIMIT)
}

/// Returns a client of a storage node's contact service, which satellites call.
#[must_use]
pub fn contact(channel: Channel) -> ContactClient<Channel> {
    ContactClient::new(channel)
        .max_decoding_message_size(MESSAGE_LIMIT)
        .max_encoding_message_size(MESSAGE_LIMIT)
}

/// Returns a client of a satellite's contact service, which storage nodes call.
#[must_use]
pub fn node(channel: Channel) -> NodeClient<Channel> {
    NodeClient::new(channel)
        .max_decoding_message_size(MESSAGE_LIMIT)
        .max_encoding_message_size(MESSAGE_LIMIT)
}

/// Returns a client of a satellite's settlement service, which storage nodes call.
#[must_use]
pub fn orders(channel: Channel) -> OrdersClient<Channel> {
    OrdersClient::new(channel)
        .max_decoding_message_size(MESSAGE_LIMIT)
        .max_encoding_message_size(MESSAGE_LIMIT)
}
