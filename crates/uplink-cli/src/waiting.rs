//! Notes about long waits for a satellite, which the client reports as events.

use std::fmt::Debug;

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

use crate::output::Output;

/// Target of the events.
pub(crate) const TARGET: &str = "uplink::waiting";

/// Prints a note for each event.
pub(crate) struct Waiting(pub(crate) Output);

impl<S: Subscriber> Layer<S> for Waiting {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut peer = Peer::default();
        event.record(&mut peer);
        self.0.note(format_args!("waiting for the satellite at {}", peer.0));
    }
}

/// The address in an event.
#[derive(Default)]
struct Peer(String);

impl Visit for Peer {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "peer" {
            value.clone_into(&mut self.0);
        }
    }

    /// All other fields; the address is text.
    fn record_debug(&mut self, _: &Field, _: &dyn Debug) {}
}
