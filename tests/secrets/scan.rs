//! Searches the writable memory of this process for secrets that it only has in masked form.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::FileExt;

use serde_json::{Value, json};
use zeroize::Zeroize;

/// Bytes of a secret that must be found next to each other. Allocators overwrite the first 16 bytes
/// of what is freed, so a whole secret would be missed.
const FRAGMENT: usize = 8;
const CHUNK: usize = 1 << 20;

/// A secret that is XORed with random bytes, so that it is not itself found in memory.
#[derive(Clone)]
pub(crate) struct Masked {
    pub(crate) name: String,
    mask: Vec<u8>,
    masked: Vec<u8>,
}

impl Masked {
    pub(crate) fn new(name: &str, secret: &[u8]) -> Self {
        let mut mask = vec![0; secret.len()];
        mask.chunks_mut(32).for_each(|chunk| {
            let random = uplink_rpc::runtime::random::<32>().expect("random bytes");
            chunk.copy_from_slice(&random[..chunk.len()]);
        });
        let masked = secret.iter().zip(&mask).map(|(byte, mask)| byte ^ mask).collect();
        Self { name: name.to_owned(), mask, masked }
    }

    /// Writes the secret into a buffer that the caller must wipe.
    pub(crate) fn unmask_into(&self, buffer: &mut Vec<u8>) {
        assert!(buffer.capacity() >= self.masked.len(), "a reallocation would leave a copy");
        buffer.extend(self.masked.iter().zip(&self.mask).map(|(byte, mask)| byte ^ mask));
    }

    pub(crate) fn to_json(&self) -> Value {
        json!([self.name, hex::encode(&self.mask), hex::encode(&self.masked)])
    }

    pub(crate) fn from_json(value: &Value) -> Self {
        let bytes = |index: usize| hex::decode(value[index].as_str().expect("text")).expect("hex");
        let name = value[0].as_str().expect("a name").to_owned();
        Self { name, mask: bytes(1), masked: bytes(2) }
    }

    pub(crate) fn len(&self) -> usize {
        self.masked.len()
    }
}

/// A part of a secret.
struct Fragment {
    owner: usize,
    mask: u64,
    masked: u64,
}

/// Finds fragments of many secrets in one pass.
pub(crate) struct Scanner<'a> {
    secrets: &'a [Masked],
    /// By the first two bytes.
    fragments: HashMap<u16, Vec<Fragment>>,
}

/// Number of places by name of the secret and kind of memory.
pub(crate) type Findings = BTreeMap<String, usize>;

impl<'a> Scanner<'a> {
    pub(crate) fn new(secrets: &'a [Masked]) -> Self {
        let mut fragments: HashMap<u16, Vec<Fragment>> = HashMap::new();
        for (owner, secret) in secrets.iter().enumerate() {
            let pairs =
                secret.mask.chunks_exact(FRAGMENT).zip(secret.masked.chunks_exact(FRAGMENT));
            for (mask, masked) in pairs {
                let fragment = Fragment { owner, mask: number(mask), masked: number(masked) };
                let first = u16::from_le_bytes([mask[0] ^ masked[0], mask[1] ^ masked[1]]);
                fragments.entry(first).or_default().push(fragment);
            }
        }
        Self { secrets, fragments }
    }

    /// Searches all writable memory of this process.
    pub(crate) fn run(&self) -> Findings {
        let mut findings = Findings::new();
        let memory = File::open("/proc/self/mem").expect("this process's memory");
        let maps = BufReader::new(File::open("/proc/self/maps").expect("the mappings"));
        let mappings: Vec<String> = maps.lines().map(|line| line.expect("text")).collect();
        let mut buffer = vec![0; CHUNK + FRAGMENT];
        let mut total = 0;
        for mapping in mappings.iter().filter_map(|line| Mapping::parse(line)) {
            total += self.search(&memory, &mapping, &mut buffer, &mut findings);
        }
        assert!(total > 1 << 20, "only {total} bytes were searched");
        findings
    }

    /// Searches one mapping and returns the number of bytes read.
    fn search(
        &self,
        memory: &File,
        mapping: &Mapping,
        buffer: &mut [u8],
        findings: &mut Findings,
    ) -> usize {
        let mut at = mapping.start;
        let mut total = 0;
        while at < mapping.end {
            let left = usize::try_from(mapping.end - at).unwrap_or(usize::MAX).min(buffer.len());
            // Guard pages and mappings that are gone by now cannot be read.
            let Ok(read) = memory.read_at(&mut buffer[..left], at) else { break };
            self.search_chunk(&buffer[..read], &mapping.kind, findings);
            buffer[..read].zeroize();
            total += read.min(CHUNK);
            at += CHUNK as u64;
        }
        total
    }

    fn search_chunk(&self, chunk: &[u8], kind: &str, findings: &mut Findings) {
        for window in chunk.windows(FRAGMENT) {
            let value = number(window);
            // Most of memory is empty.
            if value == 0 {
                continue;
            }
            let Some(fragments) = self.fragments.get(&(value as u16)) else { continue };
            for found in fragments.iter().filter(|each| each.masked ^ each.mask == value) {
                let name = format!("{} in {kind}", self.secrets[found.owner].name);
                *findings.entry(name).or_default() += 1;
            }
        }
    }
}

/// A mapping of memory that this process can write.
struct Mapping {
    start: u64,
    end: u64,
    kind: String,
}

impl Mapping {
    fn parse(line: &str) -> Option<Self> {
        let mut parts = line.split_whitespace();
        let range = parts.next()?;
        let rights = parts.next()?;
        let kind = parts.nth(3).unwrap_or("anonymous memory").to_owned();
        if !rights.starts_with("rw") || kind.starts_with("[v") {
            return None;
        }
        let (start, end) = range.split_once('-')?;
        let number = |text| u64::from_str_radix(text, 16).ok();
        Some(Self { start: number(start)?, end: number(end)?, kind })
    }
}

fn number(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes.try_into().expect("eight bytes"))
}
