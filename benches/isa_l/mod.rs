//! Intel ISA-L, loaded at run time, the reference of `benches/erasure.rs`.
//!
//! `UPLINK_ISA_L` sets the path of the shared library; the default is the system's. Versions before
//! 2.31 do not use GFNI instructions and are several times slower on processors that have them.
#![allow(unsafe_code)]

use std::ffi::c_int;
use std::path::{Path, PathBuf};

use libloading::Library;

/// Maximum rows and columns of a code over bytes.
const MAX_DIMENSION: usize = 256;
/// Bytes of a factor in the library's tables.
const TABLE_BYTES: usize = 32;

type InitTables = unsafe extern "C" fn(c_int, c_int, *const u8, *mut u8);
type EncodeData =
    unsafe extern "C" fn(c_int, c_int, c_int, *const u8, *const *const u8, *const *mut u8);

/// The loaded library.
pub(crate) struct IsaL {
    init_tables: InitTables,
    encode_data: EncodeData,
    name: String,
    /// Keeps the functions in memory.
    _library: Library,
}

/// Factors in the library's format.
pub(crate) struct Tables {
    rows: usize,
    columns: usize,
    bytes: Vec<u8>,
    /// Pointers to inputs and outputs of a call; reused, because a call is short.
    from: Vec<*const u8>,
    to: Vec<*mut u8>,
}

impl IsaL {
    /// Loads the library, or returns why it is not available.
    pub(crate) fn load() -> Result<Self, String> {
        let given = std::env::var_os("UPLINK_ISA_L").map(PathBuf::from);
        let path = given.unwrap_or_else(|| PathBuf::from("libisal.so.2"));
        // SAFETY: the library runs no code when it is loaded; its functions have the types that its
        // header erasure_code.h declares, and stay loaded as long as `Self`.
        unsafe {
            let library = Library::new(&path).map_err(|error| error.to_string())?;
            let init_tables: InitTables =
                *library.get(b"ec_init_tables\0").map_err(|error| error.to_string())?;
            let encode_data: EncodeData =
                *library.get(b"ec_encode_data\0").map_err(|error| error.to_string())?;
            Ok(Self { init_tables, encode_data, name: name(&path), _library: library })
        }
    }

    /// Returns the name of the library's file, which contains its version.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Prepares factors, row by row.
    pub(crate) fn tables(&self, columns: usize, factors: &[u8]) -> Tables {
        let rows = factors.len() / columns;
        assert!(
            rows > 0
                && rows <= MAX_DIMENSION
                && columns <= MAX_DIMENSION
                && factors.len() == rows * columns
        );
        let mut bytes = vec![0; rows * columns * TABLE_BYTES];
        // SAFETY: the library reads rows · columns bytes and writes 32 for each, or 8.
        unsafe {
            (self.init_tables)(
                columns as c_int,
                rows as c_int,
                factors.as_ptr(),
                bytes.as_mut_ptr(),
            );
        }
        Tables { rows, columns, bytes, from: Vec::new(), to: Vec::new() }
    }

    /// Sets every output to its row's product with the inputs, all of `length` bytes.
    pub(crate) fn multiply<'a>(
        &self,
        tables: &mut Tables,
        length: usize,
        inputs: impl Iterator<Item = &'a [u8]>,
        outputs: impl Iterator<Item = &'a mut [u8]>,
    ) {
        let Tables { rows, columns, bytes, from, to } = tables;
        from.clear();
        from.extend(inputs.map(|input| {
            assert!(input.len() == length);
            input.as_ptr()
        }));
        to.clear();
        to.extend(outputs.map(|output| {
            assert!(output.len() == length);
            output.as_mut_ptr()
        }));
        assert!(from.len() == *columns && to.len() == *rows);
        // SAFETY: so many pointers to `length` bytes each were just written; the outputs are
        // distinct, being mutable references.
        unsafe {
            (self.encode_data)(
                length as c_int,
                *columns as c_int,
                *rows as c_int,
                bytes.as_ptr(),
                from.as_ptr(),
                to.as_ptr(),
            );
        }
    }
}

/// Looks up the mapped file; names like `libisal.so.2.0.32` contain the version.
fn name(path: &Path) -> String {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let mapped = maps.lines().filter_map(|line| line.split_whitespace().nth(5));
    let file = mapped
        .map(Path::new)
        .find(|file| file.file_name().is_some_and(|name| name.to_string_lossy().contains("isal")));
    file.unwrap_or(path).file_name().unwrap_or_default().to_string_lossy().into_owned()
}
