use uplink_core::id::NodeId;
use uplink_core::node_url::NodeUrl;

/// Uses the input as a node URL and as a node id.
pub fn node_url(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(url) = text.parse::<NodeUrl>() {
        let parsed: NodeUrl = url.to_string().parse().expect("a formatted URL");
        // Negative numbers have no meaning and are not formatted.
        let debounce = url.debounce.max(0);
        let noise_protocol = url.noise_protocol.max(0);
        assert_eq!(parsed, NodeUrl { debounce, noise_protocol, ..url.clone() });
        if let Some((name, port)) = url.host_port() {
            assert!(!name.is_empty() && port > 0 && url.address.contains(name));
        }
        if let Ok(known) = url.clone().with_known_id() {
            assert!(known.id.is_some() && url.id.is_none_or(|id| Some(id) == known.id));
        }
    }
    if let Ok(id) = text.parse::<NodeId>() {
        assert_eq!(id.to_string().parse(), Ok(id));
    }
}
