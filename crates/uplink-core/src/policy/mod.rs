//! State machines of transfers: functions of (state, event, now), without clock or socket.

pub mod order_step;
