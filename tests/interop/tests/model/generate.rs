//! Random operations over few names, so that objects exist, are replaced and are missing often.

use super::grant::Grant;
use super::operation::{
    Content, Custom, Expiry, INVALID_PART, Listing, Operation, Place, Range, SEGMENT, Step,
};
use super::random::Random;
use super::slots::{MALFORMED, SLOTS};

const BUCKETS: [&str; 2] = ["alpha", "beta"];
/// Names of buckets that do not exist, or only for a moment, or cannot.
const RARE_BUCKETS: [&str; 5] = ["gamma", "missing", "", "ab", "Not_Valid"];
const KEYS: [&str; 8] = ["a", "a/b", "a/c", "a/b/d", "a//e", "top", "/lead", "größe/ключ"];
/// The last one is longer than the satellite accepts.
const RARE_KEYS: [&str; 3] = ["", "never written", LONG_KEY];
const LONG_KEY: &str = match std::str::from_utf8(&[b'k'; 4100]) {
    Ok(key) => key,
    Err(_) => panic!("ASCII"),
};
const PREFIXES: [&str; 7] = ["", "a/", "a/b/", "a//", "/", "none/", "größe/"];
/// Inline contents: empty, short, and as long as possible.
const INLINE_SIZES: [u64; 5] = [0, 1, 100, 3000, 4096];
/// One remote segment, a full one, one with an inline tail, and several.
const REMOTE_SIZES: [u64; 6] =
    [4097, 12_000, SEGMENT, SEGMENT + 1, 2 * SEGMENT + 5000, 3 * SEGMENT];
/// Numbers of parts.
const PARTS: [u32; 4] = [0, 1, 2, 7];

/// Draws operations from a seed.
pub(crate) struct Generator {
    random: Random,
    grant: Grant,
}

type Draw = fn(&mut Generator) -> Operation;

/// How often each operation occurs.
const DRAWS: [(usize, Draw); 20] = [
    (4, |draw| Operation::CreateBucket { bucket: draw.bucket() }),
    (4, |draw| Operation::EnsureBucket { bucket: draw.bucket() }),
    (2, |draw| Operation::StatBucket { bucket: draw.bucket() }),
    (2, Generator::delete_bucket),
    (2, |draw| Operation::ListBuckets { cursor: draw.pick(&["", "alpha", "b", "zeta"]) }),
    (16, Generator::upload),
    (1, Generator::upload_aborted),
    (14, Generator::download),
    (8, |draw| Operation::Stat { at: draw.place() }),
    (9, Generator::list),
    (6, |draw| Operation::Delete { at: draw.place() }),
    (7, Generator::copy),
    (5, |draw| Operation::Move { from: draw.place(), to: draw.place() }),
    (4, Generator::update_metadata),
    (6, Generator::begin_upload),
    (11, Generator::upload_part),
    (6, Generator::commit_upload),
    (2, |draw| Operation::AbortUpload { slot: draw.slot(), is_elsewhere: draw.one_in(4) }),
    (7, Generator::list_pending),
    (1, |_| Operation::AdvanceClock),
];

impl Generator {
    pub(crate) fn new(seed: u64) -> Self {
        Self { random: Random::new(seed), grant: Grant::Full }
    }

    /// Draws a sequence of operations. Its first one creates a bucket.
    pub(crate) fn sequence(seed: u64, length: usize) -> Vec<Step> {
        let mut generator = Self::new(seed);
        let operation = Operation::CreateBucket { bucket: BUCKETS[0] };
        let first = Step { grant: Grant::Full, operation };
        std::iter::once(first)
            .chain(std::iter::repeat_with(|| generator.step()))
            .take(length)
            .collect()
    }

    fn step(&mut self) -> Step {
        self.grant = match self.one_in(3) {
            true => self.pick(&Grant::ALL),
            false => Grant::Full,
        };
        let total = DRAWS.iter().map(|(weight, _)| weight).sum();
        let mut left = self.random.below(total);
        let mut chosen = DRAWS[0].1;
        for (weight, draw) in DRAWS {
            if left < weight {
                chosen = draw;
                break;
            }
            left -= weight;
        }
        let operation = chosen(self);
        Step { grant: self.grant, operation }
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.random.below(count) == 0
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        *self.random.pick(from)
    }

    fn bucket(&mut self) -> &'static str {
        if self.one_in(12) { self.pick(&RARE_BUCKETS) } else { self.pick(&BUCKETS) }
    }

    fn place(&mut self) -> Place {
        let bucket = self.bucket();
        let key = if self.one_in(25) { self.pick(&RARE_KEYS) } else { self.pick(&KEYS) };
        Place { bucket, key }
    }

    fn slot(&mut self) -> usize {
        if self.one_in(20) { MALFORMED } else { self.random.below(SLOTS) }
    }

    fn content(&mut self) -> Content {
        let size = if self.one_in(3) { self.pick(&REMOTE_SIZES) } else { self.pick(&INLINE_SIZES) };
        Content { seed: self.random.next() as u8, size }
    }

    fn custom(&mut self) -> Custom {
        match self.random.below(20) {
            0 => Custom::TooLarge,
            1..4 => Custom::BeyondAscii,
            4..10 => Custom::Number(self.random.next() as u8),
            _ => Custom::Absent,
        }
    }

    fn expiry(&mut self) -> Expiry {
        match self.random.below(30) {
            0 => Expiry::Past,
            1..3 => Expiry::Soon,
            3..6 => Expiry::Late,
            _ => Expiry::Never,
        }
    }

    fn delete_bucket(&mut self) -> Operation {
        Operation::DeleteBucket { bucket: self.bucket(), with_objects: self.one_in(3) }
    }

    fn upload(&mut self) -> Operation {
        let at = self.place();
        let is_valid = !at.bucket.is_empty() && !at.key.is_empty() && self.grant == Grant::Full;
        // Clients check names and metadata in different orders; here only one of them is invalid.
        let custom = match is_valid && self.one_in(20) {
            true => Custom::EmptyKey,
            false => self.custom(),
        };
        let content = self.content();
        let expiry = self.expiry();
        Operation::Upload { at, content, custom, expiry, if_absent: self.one_in(5) }
    }

    fn upload_aborted(&mut self) -> Operation {
        Operation::UploadAborted { at: self.place(), content: self.content() }
    }

    fn download(&mut self) -> Operation {
        let offset = |draw: &mut Self| match draw.one_in(2) {
            true => draw.pick(&[0, 1, 100, 4096, 7424, SEGMENT, 2 * SEGMENT + 4999]),
            false => draw.random.next() % (3 * SEGMENT),
        };
        let range = match self.random.below(6) {
            0 => Range::From(offset(self)),
            1 => Range::Slice { start: offset(self), length: offset(self) },
            // The reference client has no suffix of 0 bytes.
            2 => Range::Suffix(offset(self).max(1)),
            _ => Range::Whole,
        };
        Operation::Download { at: self.place(), range }
    }

    fn list(&mut self) -> Operation {
        let cursors = ["", "", "", "a", "b", "b/d", "a/b", "top", "z"];
        // A prefix of encrypted names must end with a slash.
        let prefix = if self.one_in(20) { "a" } else { self.pick(&PREFIXES) };
        Operation::List(Listing {
            bucket: self.bucket(),
            prefix,
            cursor: self.pick(&cursors),
            recursive: self.one_in(2),
            custom: self.one_in(2),
            page: self.pick(&[0, 0, 2]),
        })
    }

    fn copy(&mut self) -> Operation {
        Operation::Copy { from: self.place(), to: self.place(), if_absent: self.one_in(3) }
    }

    fn update_metadata(&mut self) -> Operation {
        Operation::UpdateMetadata { at: self.place(), custom: self.custom() }
    }

    fn begin_upload(&mut self) -> Operation {
        let slot = self.random.below(SLOTS);
        let at = self.place();
        let custom = self.custom();
        Operation::BeginUpload { slot, at, custom, expiry: self.expiry() }
    }

    fn upload_part(&mut self) -> Operation {
        let slot = self.slot();
        let number = if self.one_in(40) { INVALID_PART } else { self.pick(&PARTS) };
        let content = self.content();
        if self.one_in(12) {
            // One segment: of several, some may be stored before the abort.
            let content = Content { size: content.size.min(12_000), ..content };
            return Operation::UploadPartAborted { slot, number, content };
        }
        Operation::UploadPart { slot, number, content, has_etag: self.one_in(2) }
    }

    fn commit_upload(&mut self) -> Operation {
        let slot = self.slot();
        let custom = match self.custom() {
            // Our client does not see the metadata of the beginning then, and it must be passed again.
            Custom::Absent if !self.grant.can_stat() => Custom::Number(0),
            custom => custom,
        };
        let if_absent = self.one_in(4);
        Operation::CommitUpload { slot, custom, if_absent, with_receipts: self.one_in(2) }
    }

    fn list_pending(&mut self) -> Operation {
        if self.one_in(2) {
            let after = self.pick(&[None, None, Some(1), Some(2)]);
            return Operation::ListParts { slot: self.slot(), after };
        }
        // Here a prefix without a slash is a whole key.
        let prefix = if self.one_in(3) { self.pick(&KEYS) } else { self.pick(&PREFIXES) };
        let bucket = self.bucket();
        Operation::ListUploads { bucket, prefix, recursive: self.one_in(2) }
    }
}
