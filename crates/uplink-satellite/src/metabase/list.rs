//! Listing objects of a bucket: a skip scan.
//!
//! A page starts at a cursor and reads rows in key order. In a listing that collapses keys at a
//! delimiter, the first row below a prefix yields the prefix, and the scan *seeks* to the first key
//! after it (the prefix with its last byte + 1). The other rows below the prefix are never read.

use super::rows::{ENTRY_BYTES, Object, object_of, select_object, version_number};
use super::{Metabase, Result, Transaction, buckets};
use crate::time::Time;

/// One page to read.
#[derive(Clone, Debug)]
pub(crate) struct ListQuery<'a> {
    pub(crate) project: &'a [u8; 16],
    pub(crate) bucket: &'a [u8],
    /// Lists only keys with this prefix, delimiter included. Listed keys do not contain it.
    pub(crate) prefix: &'a [u8],
    /// Key to start after, without the prefix.
    pub(crate) cursor: &'a [u8],
    /// Lists also versions of the cursor's key after this one.
    pub(crate) version_cursor: Option<[u8; 16]>,
    /// Where keys are collapsed; `None` lists all keys.
    pub(crate) delimiter: Option<&'a [u8]>,
    pub(crate) status: ListStatus,
    /// Maximum number of entries, 1 to [`MAX_PAGE`].
    pub(crate) limit: usize,
    pub(crate) now: Time,
}

/// Which objects a listing shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ListStatus {
    Committed,
    Pending,
}

/// A page: entries in key order, and whether more follow.
#[derive(Debug)]
pub(crate) struct Listed {
    pub(crate) entries: Vec<ListedEntry>,
    pub(crate) more: bool,
    /// Rows read for the page.
    #[cfg(test)]
    pub(crate) rows: usize,
}

/// An object or a collapsed prefix.
#[derive(Debug)]
pub(crate) enum ListedEntry {
    /// The key without the listing's prefix, and the object.
    Object(Vec<u8>, Box<Object>),
    /// The prefix without the listing's prefix, with the delimiter.
    Prefix(Vec<u8>),
}

/// Maximum number of entries per page.
pub(crate) const MAX_PAGE: usize = 1_000;
/// Maximum bytes of keys and metadata per page, well below the message limit.
const MAX_PAGE_BYTES: usize = 2 << 20;
/// Maximum length of an object key.
pub(crate) const MAX_KEY: usize = 4_000;
/// Rows per read after a seek; grows until the next seek.
const FIRST_READ: usize = 16;

pub(super) const COMMITTED_AFTER: &str = select_object!(
    "WHERE project = $1 AND bucket = $2 AND (object_key, version) > ($3, $4) AND object_key < $5
         AND status IN (3, 4) AND (expires_at IS NULL OR expires_at > $6)
     ORDER BY object_key, version LIMIT $7"
);
pub(super) const PENDING_AFTER: &str = select_object!(
    "WHERE project = $1 AND bucket = $2 AND (object_key, version) > ($3, $4) AND object_key < $5
         AND status = 1 AND (expires_at IS NULL OR expires_at > $6)
     ORDER BY object_key, version LIMIT $7"
);

impl Metabase {
    /// Reads one page. The bucket must exist.
    pub(crate) async fn list_objects(&self, query: &ListQuery<'_>) -> Result<Listed> {
        let mut tx = self.snapshot().await?.tx;
        if buckets::find(&mut tx, query.project, query.bucket).await?.is_none() {
            return Err(buckets::missing(query.bucket));
        }
        Scan::new(query).run(&mut tx).await
    }
}

/// Progress of a scan: every row up to this key and version has been read.
#[derive(Clone)]
struct ScanPosition {
    key: Vec<u8>,
    version: i64,
}

struct Scan<'a> {
    query: &'a ListQuery<'a>,
    position: ScanPosition,
    /// First key after the prefix.
    end: Vec<u8>,
    entries: Vec<ListedEntry>,
    bytes: usize,
    #[cfg(test)]
    rows: usize,
}

impl<'a> Scan<'a> {
    fn new(query: &'a ListQuery<'a>) -> Self {
        let end = successor(query.prefix).unwrap_or_else(|| vec![0xff; MAX_KEY + 1]);
        let mut scan = Self {
            query,
            position: start(query),
            end,
            entries: Vec::new(),
            bytes: 0,
            #[cfg(test)]
            rows: 0,
        };
        // A cursor below a collapsed prefix means the whole prefix.
        if let Some(prefix) = scan.collapsed(query.cursor) {
            scan.skip(&prefix);
        }
        scan
    }

    async fn run(mut self, tx: &mut Transaction) -> Result<Listed> {
        let mut read = FIRST_READ;
        loop {
            let wanted =
                self.query.limit.saturating_sub(self.entries.len()).saturating_add(1).min(read);
            let rows = self.read(tx, wanted).await?;
            #[cfg(test)]
            {
                self.rows += rows.len();
            }
            let last = rows.len() < wanted;
            let mut seeked = false;
            for object in rows {
                if self.is_read(&object) {
                    continue;
                }
                if self.is_full() {
                    return Ok(self.page(true));
                }
                seeked |= self.take(object);
            }
            if last {
                return Ok(self.page(false));
            }
            read = if seeked { FIRST_READ } else { (read * 4).min(MAX_PAGE + 1) };
        }
    }

    fn page(self, more: bool) -> Listed {
        Listed {
            entries: self.entries,
            more,
            #[cfg(test)]
            rows: self.rows,
        }
    }

    async fn read(&self, tx: &mut Transaction, limit: usize) -> Result<Vec<Object>> {
        let sql = match self.query.status {
            ListStatus::Committed => COMMITTED_AFTER,
            ListStatus::Pending => PENDING_AFTER,
        };
        let rows = sqlx::query(sql)
            .bind(&self.query.project[..])
            .bind(self.query.bucket)
            .bind(&self.position.key)
            .bind(self.position.version)
            .bind(&self.end)
            .bind(self.query.now.0)
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .fetch_all(&mut **tx)
            .await?;
        rows.iter().map(object_of).collect()
    }

    /// Adds the entry of a row. Returns true when the scan must seek past a prefix.
    fn take(&mut self, object: Object) -> bool {
        let key = object.key.get(self.query.prefix.len()..).unwrap_or_default().to_vec();
        if let Some(prefix) = self.collapsed(&key) {
            self.skip(&prefix);
            self.bytes = self.bytes.saturating_add(prefix.len() + ENTRY_BYTES);
            self.entries.push(ListedEntry::Prefix(prefix));
            return true;
        }
        self.position = ScanPosition { key: object.key.clone(), version: object.version };
        self.bytes = self.bytes.saturating_add(object.encoded_size());
        self.entries.push(ListedEntry::Object(key, Box::new(object)));
        false
    }

    /// Returns the part of `key`, which lacks the listing's prefix, up to the first delimiter.
    fn collapsed(&self, key: &[u8]) -> Option<Vec<u8>> {
        let delimiter = self.query.delimiter.filter(|delimiter| !delimiter.is_empty())?;
        let at = key.windows(delimiter.len()).position(|window| window == delimiter)?;
        key.get(..at + delimiter.len()).map(<[u8]>::to_vec)
    }

    fn skip(&mut self, prefix: &[u8]) {
        let whole = [self.query.prefix, prefix].concat();
        // Continues at the successor with all its versions. Without a successor, no key follows.
        let key = successor(&whole).unwrap_or_else(|| self.end.clone());
        self.position = ScanPosition { key, version: i64::MIN };
    }

    fn is_read(&self, object: &Object) -> bool {
        (&object.key, object.version) <= (&self.position.key, self.position.version)
    }

    fn is_full(&self) -> bool {
        // An object whose key is the prefix has an empty key here. As the cursor of the next page it
        // would repeat this page, so the page takes one more entry. Pending uploads continue by
        // version.
        let has_empty_key =
            |entry: &ListedEntry| matches!(entry, ListedEntry::Object(key, _) if key.is_empty());
        let enough = self.entries.len() >= self.query.limit || self.bytes >= MAX_PAGE_BYTES;
        let pending = self.query.status == ListStatus::Pending;
        enough && (pending || !self.entries.last().is_some_and(has_empty_key))
    }
}

/// Returns the position at which the page starts.
fn start(query: &ListQuery<'_>) -> ScanPosition {
    if query.cursor.is_empty() && query.version_cursor.is_none() {
        return ScanPosition { key: query.prefix.to_vec(), version: i64::MIN };
    }
    let key = [query.prefix, query.cursor].concat();
    ScanPosition { key, version: query.version_cursor.map_or(i64::MAX, version_number) }
}

/// Returns the first key after all keys with `prefix`; `None` if there is no such key.
pub(crate) fn successor(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut key = prefix.to_vec();
    while let Some(last) = key.pop() {
        if let Some(next) = last.checked_add(1) {
            key.push(next);
            return Some(key);
        }
    }
    None
}
