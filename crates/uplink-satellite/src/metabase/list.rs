//! Listing objects of a bucket: a skip scan.
//!
//! A page begins at a cursor and reads rows in order of their keys. In a listing that collapses
//! keys at a delimiter, the first row below a prefix yields the prefix and the scan *seeks* to the
//! first key behind it (the prefix with its last byte + 1); the rows below are never read, however
//! many they are.

use super::objects::{ENTRY_BYTES, Object, object_of, select_object, version_number};
use super::{Metabase, Result, Transaction, buckets};
use crate::time::Time;

/// One page to read.
#[derive(Clone, Debug)]
pub(crate) struct ListQuery<'a> {
    pub(crate) project: &'a [u8; 16],
    pub(crate) bucket: &'a [u8],
    /// Only keys that begin so, delimiter included; the keys of the page are without it.
    pub(crate) prefix: &'a [u8],
    /// Key to begin after, without the prefix.
    pub(crate) cursor: &'a [u8],
    /// With it, versions of the cursor's key after this one belong to the page.
    pub(crate) version_cursor: Option<[u8; 16]>,
    /// Where keys are collapsed; `None` lists all keys.
    pub(crate) delimiter: Option<&'a [u8]>,
    pub(crate) status: ListStatus,
    /// Most entries, 1 to [`MAX_PAGE`].
    pub(crate) limit: usize,
    pub(crate) now: Time,
}

/// Which objects a listing shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ListStatus {
    Committed,
    Pending,
}

/// A page: entries in order of their keys, and whether there are more.
#[derive(Debug)]
pub(crate) struct Listed {
    pub(crate) entries: Vec<ListedEntry>,
    pub(crate) more: bool,
    /// Rows that had to be read for the page.
    #[cfg(test)]
    pub(crate) rows: usize,
}

/// An object or a collapsed prefix.
#[derive(Debug)]
pub(crate) enum ListedEntry {
    /// Its key without the listing's prefix, and the object.
    Object(Vec<u8>, Box<Object>),
    /// Without the listing's prefix, with the delimiter.
    Prefix(Vec<u8>),
}

/// Most entries of a page.
pub(crate) const MAX_PAGE: usize = 1_000;
/// Most bytes of keys and metadata in a page, well below the largest message.
const MAX_PAGE_BYTES: usize = 2 << 20;
/// Longest object key.
pub(crate) const MAX_KEY: usize = 4_000;
/// Rows read at once after a seek; grows while no seek is needed.
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
    /// Reads one page; the bucket must exist.
    pub(crate) async fn list_objects(&self, query: &ListQuery<'_>) -> Result<Listed> {
        let mut tx = self.snapshot().await?.tx;
        if buckets::find(&mut tx, query.project, query.bucket).await?.is_none() {
            return Err(buckets::missing(query.bucket));
        }
        Scan::new(query).run(&mut tx).await
    }
}

/// A place between two rows: everything up to this key and version has been read.
#[derive(Clone)]
struct Place {
    key: Vec<u8>,
    version: i64,
}

struct Scan<'a> {
    query: &'a ListQuery<'a>,
    place: Place,
    /// First key behind the prefix.
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
            place: start(query),
            end,
            entries: Vec::new(),
            bytes: 0,
            #[cfg(test)]
            rows: 0,
        };
        // A cursor below a collapsed prefix stands for the whole prefix.
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
            let mut sought = false;
            for object in rows {
                if self.is_below_place(&object) {
                    continue;
                }
                if self.is_full() {
                    return Ok(self.page(true));
                }
                sought |= self.take(object);
            }
            if last {
                return Ok(self.page(false));
            }
            read = if sought { FIRST_READ } else { (read * 4).min(MAX_PAGE + 1) };
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
            .bind(&self.place.key)
            .bind(self.place.version)
            .bind(&self.end)
            .bind(self.query.now.0)
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .fetch_all(&mut **tx)
            .await?;
        rows.iter().map(object_of).collect()
    }

    /// Adds a row's entry; true when the scan has to seek past a prefix.
    fn take(&mut self, object: Object) -> bool {
        let key = object.key.get(self.query.prefix.len()..).unwrap_or_default().to_vec();
        if let Some(prefix) = self.collapsed(&key) {
            self.skip(&prefix);
            self.bytes = self.bytes.saturating_add(prefix.len() + ENTRY_BYTES);
            self.entries.push(ListedEntry::Prefix(prefix));
            return true;
        }
        self.place = Place { key: object.key.clone(), version: object.version };
        self.bytes = self.bytes.saturating_add(object.encoded_size());
        self.entries.push(ListedEntry::Object(key, Box::new(object)));
        false
    }

    /// The prefix of `key`, which is without the listing's prefix, up to the first delimiter.
    fn collapsed(&self, key: &[u8]) -> Option<Vec<u8>> {
        let delimiter = self.query.delimiter.filter(|delimiter| !delimiter.is_empty())?;
        let at = key.windows(delimiter.len()).position(|window| window == delimiter)?;
        key.get(..at + delimiter.len()).map(<[u8]>::to_vec)
    }

    fn skip(&mut self, prefix: &[u8]) {
        let whole = [self.query.prefix, prefix].concat();
        // All keys from the successor on, versions included. Without one, nothing is behind.
        let key = successor(&whole).unwrap_or_else(|| self.end.clone());
        self.place = Place { key, version: i64::MIN };
    }

    fn is_below_place(&self, object: &Object) -> bool {
        (&object.key, object.version) <= (&self.place.key, self.place.version)
    }

    fn is_full(&self) -> bool {
        // An object named like the prefix has an empty key here. A page that ends with it would be
        // its own next page, so it takes one entry more. Pending uploads go on by their versions.
        let nameless =
            |entry: &ListedEntry| matches!(entry, ListedEntry::Object(key, _) if key.is_empty());
        let enough = self.entries.len() >= self.query.limit || self.bytes >= MAX_PAGE_BYTES;
        let pending = self.query.status == ListStatus::Pending;
        enough && (pending || !self.entries.last().is_some_and(nameless))
    }
}

/// Where the page begins.
fn start(query: &ListQuery<'_>) -> Place {
    if query.cursor.is_empty() && query.version_cursor.is_none() {
        return Place { key: query.prefix.to_vec(), version: i64::MIN };
    }
    let key = [query.prefix, query.cursor].concat();
    Place { key, version: query.version_cursor.map_or(i64::MAX, version_number) }
}

/// The first key behind all keys that begin with `prefix`; `None` when there is no such key.
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
