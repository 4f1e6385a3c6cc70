//! Selection of storage nodes for new segments and for downloads.
//!
//! Pure functions of the known nodes, the rules and random numbers.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use uplink_core::erasure::{MAX_TOTAL, Scheme};
use uplink_core::id::NodeId;
use uplink_rpc::time::{describe_skew, is_skewed, seconds_ahead};

use crate::config::{DistinctNetworks, DownloadOffer};
use crate::metabase::{NodeRow, NodeState};
use crate::random::Numbers;
use crate::registry::Contact;
use crate::time::Time;

/// Rules for selecting nodes.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    pub(crate) now: Time,
    /// The same time on the monotonic clock.
    pub(crate) steady: Duration,
    /// Nodes without contact for this long are offline.
    pub(crate) online_window: Duration,
    /// Contacts of this process; contacts of other processes are in the nodes' rows.
    pub(crate) contacts: Arc<HashMap<NodeId, Contact>>,
    pub(crate) min_free_space: i64,
    pub(crate) distinct_networks: DistinctNetworks,
}

/// Too few nodes for the redundancy scheme.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not enough storage nodes: have {have}, need {need}")]
pub(crate) struct TooFewNodes {
    pub(crate) have: usize,
    pub(crate) need: usize,
}

/// Maximum clock difference between processes of one satellite.
const MAX_CLOCK_DRIFT: Duration = Duration::from_secs(60);

impl Rules {
    /// Whether a node is reachable and its clock is close enough to accept order limits.
    pub(crate) fn is_online(&self, node: &NodeRow) -> bool {
        let last_reached = self.contacts.get(&node.id).and_then(|contact| contact.reached);
        let reached =
            last_reached.is_some_and(|at| self.steady.saturating_sub(at) <= self.online_window);
        node.state == NodeState::Normal
            && (reached || is_recent(node.last_contact, self.now, self.online_window))
            && !self.seconds_ahead(&node.id).is_some_and(is_skewed)
    }

    /// Returns the seconds by which a node's clock is ahead of the satellite's, if known.
    ///
    /// If the satellite's clock stepped since the check-in, this is the smaller of the differences
    /// before and after the step. Clocks on one machine step together; otherwise the node rejects
    /// limits and checks in again.
    fn seconds_ahead(&self, node: &NodeId) -> Option<i64> {
        let reading = self.contacts.get(node)?.clock?;
        let passed = self.steady.saturating_sub(reading.steady);
        let then = seconds_ahead(reading.theirs.to_system(), reading.ours.to_system());
        let now = seconds_ahead(reading.theirs.plus(passed).to_system(), self.now.to_system());
        Some(if now.unsigned_abs() < then.unsigned_abs() { now } else { then })
    }

    /// Describes which clocks are skewed if nodes are excluded for that. It is the satellite's clock
    /// if that differs from the clocks of two or more nodes, which all agree with each other.
    pub(crate) fn skew(&self, nodes: &[NodeRow]) -> Option<String> {
        let known = nodes.iter().filter_map(|node| Some((node.id, self.seconds_ahead(&node.id)?)));
        let known: Vec<(NodeId, i64)> = known.collect();
        let skewed = known.iter().filter(|(_, ahead)| is_skewed(*ahead)).count();
        let (first, ahead) = *known.iter().find(|(_, ahead)| is_skewed(*ahead))?;
        let agree = known.iter().all(|(_, other)| !is_skewed(other.saturating_sub(ahead)));
        if skewed > 1 && skewed == known.len() && agree {
            let skew = describe_skew(ahead.saturating_neg());
            return Some(format!(
                "the clock of this satellite is {skew} the clocks of all its {skewed} storage nodes"
            ));
        }
        let skew = describe_skew(ahead);
        Some(format!(
            "{skewed} excluded because of clock skew: the clock of storage node {first} is {skew} \
             the satellite's"
        ))
    }

    fn is_eligible(&self, node: &NodeRow) -> bool {
        self.is_online(node) && node.free_disk >= self.min_free_space
    }

    /// Whether pieces of a segment must be in distinct networks.
    pub(crate) fn distinct(&self, nodes: &[NodeRow], scheme: &Scheme) -> bool {
        match self.distinct_networks {
            DistinctNetworks::Off => false,
            DistinctNetworks::On => true,
            DistinctNetworks::Auto => {
                let online = nodes.iter().filter(|node| self.is_online(node));
                by_network(online).len() >= usize::from(scheme.total())
            }
        }
    }
}

/// Whether a node was reachable within `window`. A contact in the future is from before the clock
/// was set back and does not count.
pub(crate) fn is_recent(contact: Option<Time>, now: Time, window: Duration) -> bool {
    contact
        .is_some_and(|contact| contact >= now.minus(window) && contact <= now.plus(MAX_CLOCK_DRIFT))
}

/// Chooses nodes for the pieces of a new segment, and the scheme for their number.
///
/// With fewer than `total` nodes, the scheme's total shrinks to their number.
///
/// # Errors
/// Fewer than `optimal` nodes are eligible.
pub(crate) fn choose<'a>(
    nodes: &'a [NodeRow],
    rules: &Rules,
    scheme: &Scheme,
    numbers: &mut Numbers,
) -> Result<(Scheme, Vec<&'a NodeRow>), TooFewNodes> {
    let total = usize::from(scheme.total());
    let chosen = draw(nodes, rules, scheme, total, |_| false, numbers);
    let too_few = TooFewNodes { have: chosen.len(), need: usize::from(scheme.optimal()) };
    if chosen.len() < too_few.need {
        return Err(too_few);
    }
    let total = u16::try_from(chosen.len()).unwrap_or(MAX_TOTAL);
    let shrunk = Scheme::new(
        scheme.required(),
        scheme.repair(),
        scheme.optimal(),
        total,
        scheme.share_size(),
    );
    Ok((shrunk.map_err(|_| too_few)?, chosen))
}

/// Draws up to `count` eligible nodes that are not `excluded`, uniformly and without replacement. If
/// networks must be distinct, draws networks uniformly and one node in each.
pub(crate) fn draw<'a>(
    nodes: &'a [NodeRow],
    rules: &Rules,
    scheme: &Scheme,
    count: usize,
    excluded: impl Fn(&NodeRow) -> bool,
    numbers: &mut Numbers,
) -> Vec<&'a NodeRow> {
    let distinct = rules.distinct(nodes, scheme);
    let taken: Vec<&[u8]> = nodes
        .iter()
        .filter(|node| distinct && excluded(node))
        .map(|node| node.subnet.as_slice())
        .collect();
    let eligible = nodes.iter().filter(|node| {
        rules.is_eligible(node) && !excluded(node) && !taken.contains(&node.subnet.as_slice())
    });
    if !distinct {
        return sample(eligible.collect(), count, numbers);
    }
    let networks = by_network(eligible);
    let mut networks: Vec<Vec<&NodeRow>> = networks.into_values().collect();
    // A deterministic order, so that seeded numbers give the same draw.
    networks.sort_by_key(|members| members.first().map(|node| node.id));
    let networks = sample(networks, count, numbers);
    networks.into_iter().filter_map(|members| sample(members, 1, numbers).pop()).collect()
}

/// Returns the number of nodes that a download is offered. `desired` can raise it up to `held`.
pub(crate) fn offer(scheme: &Scheme, held: usize, desired: i32, rule: DownloadOffer) -> usize {
    let [required, optimal, total] =
        [scheme.required(), scheme.optimal(), scheme.total()].map(usize::from);
    let reserve = ((total - optimal) * required / optimal.max(1)).max(1);
    let count = match rule {
        DownloadOffer::Narrow => required + reserve,
        DownloadOffer::Wide if total <= 20 => held,
        DownloadOffer::Wide => required + reserve.max(10),
    };
    count.max(usize::try_from(desired).unwrap_or(0)).min(held)
}

/// Samples `count` elements without replacement (partial Fisher–Yates shuffle).
pub(crate) fn sample<T>(mut from: Vec<T>, count: usize, numbers: &mut Numbers) -> Vec<T> {
    let count = count.min(from.len());
    for index in 0..count {
        let other = index + numbers.below(from.len() - index);
        from.swap(index, other);
    }
    from.truncate(count);
    from
}

fn by_network<'a>(nodes: impl Iterator<Item = &'a NodeRow>) -> HashMap<&'a [u8], Vec<&'a NodeRow>> {
    let mut networks: HashMap<&[u8], Vec<&NodeRow>> = HashMap::new();
    for node in nodes {
        networks.entry(node.subnet.as_slice()).or_default().push(node);
    }
    networks
}

#[cfg(test)]
mod tests;
