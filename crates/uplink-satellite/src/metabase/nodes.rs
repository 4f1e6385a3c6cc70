//! Storage nodes as of their last check-in.

use sqlx::Row;
use uplink_core::id::NodeId;

use super::{Connection, DatabaseRow, Metabase, Result, exact};
use crate::time::Time;

/// A storage node, without its certificates.
#[derive(Clone, Debug)]
pub(crate) struct NodeRow {
    pub(crate) id: NodeId,
    /// `host:port` as announced by the node.
    pub(crate) address: String,
    /// `ip:port` that the address resolved to.
    pub(crate) last_address: String,
    /// Subnet for the distinct-networks rule.
    pub(crate) subnet: Vec<u8>,
    pub(crate) free_disk: i64,
    pub(crate) version: String,
    pub(crate) state: NodeState,
    pub(crate) created: Time,
    /// When the operator disqualified it.
    pub(crate) disqualified: Option<Time>,
    /// Last check-in after which the node was reachable at its address.
    pub(crate) last_contact: Option<Time>,
}

/// Status of a node, set by the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NodeState {
    Normal,
    /// Receives no pieces; its pieces count as lost.
    Disqualified,
}

/// One check-in to record.
#[derive(Debug)]
pub(crate) struct CheckIn<'a> {
    pub(crate) id: NodeId,
    pub(crate) chain: &'a [u8],
    pub(crate) address: &'a str,
    pub(crate) last_address: &'a str,
    pub(crate) subnet: &'a [u8],
    pub(crate) free_disk: i64,
    pub(crate) version: &'a str,
    pub(crate) now: Time,
    /// Whether the node was reachable at its address.
    pub(crate) reached: bool,
}

/// Number of [`NodeState::Disqualified`] in the table; a normal node has 0.
const DISQUALIFIED: i64 = 1;

macro_rules! select_node {
    ($rest:literal) => {
        concat!(
            "SELECT id, address, last_address, subnet, free_disk, version, state, created_at,
                 last_contact, disqualified_at
             FROM nodes ",
            $rest
        )
    };
}

const ALL: &str = select_node!("ORDER BY id");
const ONE: &str = select_node!("WHERE id = $1");

impl Metabase {
    /// Records a check-in. The caller must have verified that the certificate chain may replace the
    /// previous one.
    pub(crate) async fn check_in(&self, node: &CheckIn<'_>) -> Result<()> {
        self.write(|| async {
            let mut tx = self.begin().await?;
            upsert(&mut tx, node).await?;
            Ok(tx.commit().await?)
        })
        .await
    }

    pub(crate) async fn nodes(&self) -> Result<Vec<NodeRow>> {
        let rows = sqlx::query(ALL).fetch_all(&self.readers).await?;
        rows.iter().map(node_of).collect()
    }

    /// Returns a node as of its last check-in; `None` if it never checked in.
    pub(crate) async fn node(&self, id: &NodeId) -> Result<Option<NodeRow>> {
        let query = sqlx::query(ONE).bind(&id.as_bytes()[..]);
        query.fetch_optional(&self.readers).await?.as_ref().map(node_of).transpose()
    }

    /// Returns the certificate chain of a node: concatenated DER certificates, leaf first.
    pub(crate) async fn node_chain(&self, id: &NodeId) -> Result<Option<Vec<u8>>> {
        let row = sqlx::query("SELECT chain FROM nodes WHERE id = $1")
            .bind(&id.as_bytes()[..])
            .fetch_optional(&self.readers)
            .await?;
        row.map(|row| Ok(row.try_get(0)?)).transpose()
    }

    /// Disqualifies a node permanently. An earlier time of disqualification is kept. Returns false if
    /// the node is unknown.
    pub(crate) async fn disqualify_node(&self, id: &NodeId, now: Time) -> Result<bool> {
        self.write(|| async {
            let mut tx = self.begin().await?;
            let done = sqlx::query(
                "UPDATE nodes SET state = $2, disqualified_at = COALESCE(disqualified_at, $3)
                 WHERE id = $1",
            )
            .bind(&id.as_bytes()[..])
            .bind(DISQUALIFIED)
            .bind(now.0)
            .execute(&mut *tx)
            .await?;
            tx.commit().await?;
            Ok(done.rows_affected() > 0)
        })
        .await
    }
}

async fn upsert(tx: &mut Connection, node: &CheckIn<'_>) -> Result<()> {
    let contact = node.reached.then_some(node.now.0);
    let failure = (!node.reached).then_some(node.now.0);
    sqlx::query(
        "INSERT INTO nodes (
             id, chain, address, last_address, subnet, free_disk, version, state, created_at,
             last_contact, last_failure
         ) VALUES ($1, $2, $3, $4, $5, $6, $7, 0, $8, $9, $10)
         ON CONFLICT (id) DO UPDATE SET
             chain = excluded.chain,
             address = excluded.address,
             last_address = excluded.last_address,
             subnet = excluded.subnet,
             free_disk = excluded.free_disk,
             version = excluded.version,
             last_contact = COALESCE(excluded.last_contact, nodes.last_contact),
             last_failure = COALESCE(excluded.last_failure, nodes.last_failure)",
    )
    .bind(&node.id.as_bytes()[..])
    .bind(node.chain)
    .bind(node.address.as_bytes())
    .bind(node.last_address.as_bytes())
    .bind(node.subnet)
    .bind(node.free_disk)
    .bind(node.version.as_bytes())
    .bind(node.now.0)
    .bind(contact)
    .bind(failure)
    .execute(tx)
    .await?;
    Ok(())
}

fn node_of(row: &DatabaseRow) -> Result<NodeRow> {
    let text = |index: usize| -> Result<String> {
        Ok(String::from_utf8_lossy(row.try_get(index)?).into_owned())
    };
    Ok(NodeRow {
        id: NodeId::new(exact(row.try_get(0)?, "node id")?),
        address: text(1)?,
        last_address: text(2)?,
        subnet: row.try_get(3)?,
        free_disk: row.try_get(4)?,
        version: text(5)?,
        state: if row.try_get::<i64, _>(6)? == 0 {
            NodeState::Normal
        } else {
            NodeState::Disqualified
        },
        created: Time(row.try_get(7)?),
        last_contact: row.try_get::<Option<i64>, _>(8)?.map(Time),
        disqualified: row.try_get::<Option<i64>, _>(9)?.map(Time),
    })
}
