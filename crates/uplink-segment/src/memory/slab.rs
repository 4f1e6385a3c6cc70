//! Memory for many buffers at once.
//!
//! The system gives fresh memory a page at a time, when it is first touched: with pages of 4 KiB that
//! costs more than sealing and coding what is put there. A slab is large enough for huge pages, and
//! asks for them where the system has them.

use bytes::BytesMut;

/// About the bytes of the smallest and the largest slab.
const SMALLEST: usize = 1 << 20;
const LARGEST: usize = 4 << 20;
/// Bytes of a huge page on the processors that most machines have. Where it is another size a slab
/// is as good as any memory.
const HUGE_PAGE: usize = 2 << 20;

/// One to `most` buffers of `size` zero bytes, for a user of buffers that has `used` of them already:
/// about twice as many, so that who needs few does not take a huge page. Their memory goes back
/// with the last of them.
pub(crate) fn buffers(size: usize, used: usize, most: usize) -> Vec<BytesMut> {
    let fit = |bytes: usize| bytes.div_ceil(size.max(1));
    let number = used.saturating_mul(2).clamp(fit(SMALLEST), fit(LARGEST)).min(most).max(1);
    let mut slab = slab(number * size);
    (0..number).map(|_| slab.split_to(size)).collect()
}

fn slab(length: usize) -> BytesMut {
    if length < HUGE_PAGE {
        return BytesMut::zeroed(length);
    }
    // What is before and behind the slab is not used: the system need not give it.
    let mut memory = BytesMut::zeroed(length + HUGE_PAGE);
    let before = memory.as_ptr().align_offset(HUGE_PAGE).min(HUGE_PAGE);
    let mut slab = memory.split_off(before);
    slab.truncate(length);
    ask_for_huge_pages(&mut slab);
    slab
}

/// Tells the system that these bytes are best held in huge pages; it may do as it likes.
#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
fn ask_for_huge_pages(bytes: &mut [u8]) {
    use rustix::mm::{Advice, madvise};
    // SAFETY: the bytes are ours, and this advice leaves the content of all pages that it touches as
    // it is. A refusal changes nothing.
    let _ = unsafe { madvise(bytes.as_mut_ptr().cast(), bytes.len(), Advice::LinuxHugepage) };
}

#[cfg(not(target_os = "linux"))]
fn ask_for_huge_pages(_: &mut [u8]) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slab_gives_as_many_separate_buffers_of_zeros_as_fit_and_are_wanted() {
        for (size, used, most, expected) in [
            (64 << 10, 0, 100, 16),
            (64 << 10, 16, 100, 32),
            (64 << 10, 48, 100, 64),
            (64 << 10, 48, 7, 7),
            (475_136, 100, 100, 9),
            (5 << 20, 0, 100, 1),
            (3, 0, 2, 2),
            (256 << 10, 40, 0, 1),
            (0, 0, 4, 4),
        ] {
            let mut buffers = buffers(size, used, most);
            assert_eq!(buffers.len(), expected, "{size} bytes, {used} used, at most {most}");
            for (number, buffer) in (1..).zip(&mut buffers) {
                assert!(buffer.iter().all(|byte| *byte == 0), "{size} bytes, number {number}");
                buffer.fill(number);
            }
            for (number, buffer) in (1..).zip(&buffers) {
                assert_eq!(buffer.len(), size);
                assert!(buffer.iter().all(|byte| *byte == number), "{size} bytes, number {number}");
            }
        }
    }

    #[test]
    fn large_slab_begins_with_a_huge_page() {
        let buffers = buffers(256 << 10, 12, 100);
        assert_eq!(buffers[0].as_ptr().align_offset(HUGE_PAGE), 0);
        assert_eq!(buffers[1].as_ptr(), buffers[0].as_ptr_range().end);
    }
}
