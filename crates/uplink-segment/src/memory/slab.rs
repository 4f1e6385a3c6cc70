//! Allocation of many buffers at once.
//!
//! The kernel allocates and zeroes memory page by page when it is first touched. With pages of 4 KiB
//! that costs more than encrypting and coding the bytes written there. A slab is large enough for huge
//! pages, and requests them where the system supports them.

use bytes::BytesMut;

/// Approximate bytes of the smallest and the largest slab.
const SMALLEST: usize = 1 << 20;
const LARGEST: usize = 4 << 20;
/// Bytes of a huge page on x86-64 and most ARM systems. With another size a slab is ordinary memory.
const HUGE_PAGE: usize = 2 << 20;

/// Allocates one to `max` zeroed buffers of `size` bytes for a pool that has `used` buffers in use:
/// about as many again, so that a pool that needs few does not allocate a huge page. The memory is
/// freed with the last of them.
pub(crate) fn buffers(size: usize, used: usize, max: usize) -> Vec<BytesMut> {
    let fit = |bytes: usize| bytes.div_ceil(size.max(1));
    let number = used.saturating_mul(2).clamp(fit(SMALLEST), fit(LARGEST)).min(max).max(1);
    let mut slab = slab(number * size);
    (0..number).map(|_| slab.split_to(size)).collect()
}

fn slab(length: usize) -> BytesMut {
    if length < HUGE_PAGE {
        return BytesMut::zeroed(length);
    }
    // The bytes before and after the slab are never touched, so the kernel does not allocate them.
    let mut memory = BytesMut::zeroed(length + HUGE_PAGE);
    let before = memory.as_ptr().align_offset(HUGE_PAGE).min(HUGE_PAGE);
    let mut slab = memory.split_off(before);
    slab.truncate(length);
    ask_for_huge_pages(&mut slab);
    slab
}

/// Requests huge pages for these bytes; best effort: the kernel may ignore it.
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
    fn slab_is_split_into_separate_zeroed_buffers() {
        for (size, used, max, expected) in [
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
            let mut buffers = buffers(size, used, max);
            assert_eq!(buffers.len(), expected, "{size} bytes, {used} used, at most {max}");
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
