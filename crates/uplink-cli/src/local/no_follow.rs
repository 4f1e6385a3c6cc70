//! Opening files without following symbolic links.

use std::fs::OpenOptions;

/// Makes opening a symbolic link fail.
#[cfg(unix)]
pub(super) fn set(options: &mut OpenOptions) {
    use std::os::unix::fs::OpenOptionsExt as _;
    options.custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed());
}

#[cfg(not(unix))]
pub(super) fn set(_options: &mut OpenOptions) {}
