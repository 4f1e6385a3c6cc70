//! What the demonstration sends: a file, or generated data.

use std::path::Path;

use tokio::fs::File;
use tokio::io::AsyncReadExt;

use crate::failure::{Exit, Failure, Outcome};

/// Bytes to send, in order.
#[derive(Debug)]
pub(super) struct Source {
    name: String,
    size: Option<u64>,
    from: From,
    part: Vec<u8>,
}

#[derive(Debug)]
enum From {
    File(File),
    Generator { state: u64, left: u64 },
}

/// Bytes of generated data.
const GENERATED: u64 = 16 << 20;
/// Bytes read at a time.
const PART: usize = 256 << 10;

impl Source {
    /// Opens a file, or begins to generate.
    pub(super) async fn open(path: Option<&Path>) -> Outcome<Self> {
        let part = vec![0; PART];
        let Some(path) = path else {
            let from = From::Generator { state: 1, left: GENERATED };
            let name = "generated data".to_owned();
            return Ok(Self { name, size: Some(GENERATED), from, part });
        };
        let failure = |error| Failure::io(format_args!("cannot read {path:?}"), &error);
        let file = File::open(path).await.map_err(failure)?;
        let metadata = file.metadata().await.map_err(failure)?;
        if metadata.is_dir() {
            let text = format!("{path:?} is a directory; the demonstration takes one file");
            return Err(Failure::new(Exit::Usage, text));
        }
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        // Of a device or a pipe nobody knows the size.
        let size = metadata.is_file().then_some(metadata.len());
        Ok(Self { name, size, from: From::File(file), part })
    }

    /// What the source is called.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Bytes to come, as far as that is known.
    pub(super) fn size(&self) -> Option<u64> {
        self.size
    }

    /// The next bytes; `None` at the end.
    pub(super) async fn next(&mut self) -> Outcome<Option<&[u8]>> {
        let read = match &mut self.from {
            From::File(file) => file.read(&mut self.part).await.map_err(|error| {
                Failure::io(format_args!("cannot read {:?}", self.name), &error)
            })?,
            From::Generator { state, left } => {
                let length = usize::try_from(*left).unwrap_or(PART).min(PART);
                fill(self.part.get_mut(..length).unwrap_or_default(), state);
                *left -= length as u64;
                length
            }
        };
        Ok(self.part.get(..read).filter(|part| !part.is_empty()))
    }
}

/// Bytes without pattern, the same each time (xorshift).
fn fill(part: &mut [u8], state: &mut u64) {
    for bytes in part.chunks_mut(8) {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        let length = bytes.len();
        bytes.copy_from_slice(state.to_le_bytes().get(..length).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn generated_data_has_its_size_and_no_pattern() {
        let mut source = Source::open(None).await.unwrap();
        let (mut size, mut counts) = (0, [0_u32; 256]);
        while let Some(part) = source.next().await.unwrap() {
            size += part.len() as u64;
            part.iter().for_each(|byte| counts[usize::from(*byte)] += 1);
        }
        assert_eq!(size, GENERATED);
        let even = (GENERATED / 256) as u32;
        assert!(counts.iter().all(|count| count.abs_diff(even) < even / 50), "{counts:?}");
    }

    #[tokio::test]
    async fn missing_file_and_directory_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let missing = Source::open(Some(&folder.path().join("none"))).await.unwrap_err();
        assert_eq!(missing.exit(), Exit::NotFound);
        let directory = Source::open(Some(folder.path())).await.unwrap_err();
        assert_eq!(directory.exit(), Exit::Usage);
    }
}
